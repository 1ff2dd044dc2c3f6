"""What libnftables lists as JSON (libnftables-json(5), numeric output) → the observed ruleset.

Whatever of our tables does not fit the typed shapes was not made by us, and is listed as foreign.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from nodeagent.nft.text import FILLED_SIZE, FORGOTTEN_S
from nodeagent.state import ownership
from nodeagent.state.rule import ACCEPT, DROP, Goto, Jump, KeyType, Verdict
from nodeagent.state.ruleset import (
    Element,
    Hook,
    Map,
    Observed,
    Part,
    SeenChain,
    SeenRule,
    SeenTable,
    Set,
    Span,
    TableId,
)
from verge.contract.members import Members, parse_address

_PLAIN = frozenset({"family", "name", "table", "type", "handle", "map", "elem", "flags", "size"})
"""Properties of a set or map that ours may have; any other (timeout, size, policy, …) makes it foreign."""


def observed(listing: dict[str, Any]) -> Observed:
    """From `list table` answers, one or several merged under `nftables`. Tables that are not ours are left out."""
    tables: dict[TableId, _Reading] = {}
    for kind, body in (next(iter(entry.items())) for entry in listing["nftables"]):
        table = TableId(body.get("family", ""), body.get("name" if kind == "table" else "table", ""))
        if table in ownership.TABLES:
            tables.setdefault(table, _Reading()).add(kind, body)
    return {table: reading.seen() for table, reading in tables.items()}


@dataclass(slots=True)
class _Reading:
    """One table while its objects arrive; rules come behind the chains they are in."""

    sets: dict[str, Set] = field(default_factory=dict)
    maps: dict[str, Map] = field(default_factory=dict)
    chains: dict[str, SeenChain] = field(default_factory=dict)
    rules: dict[str, list[SeenRule]] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    operators: set[str] = field(default_factory=set)

    def add(self, kind: str, body: dict[str, Any]) -> None:
        if kind == "table":
            return
        if kind == "rule" and ownership.is_operators(body["chain"]):
            self.operators.add(f"chain {body['chain']}")
            return
        if kind == "rule":
            seen = SeenRule(ownership.rule_hash(body.get("comment", "")), body["handle"])
            self.rules.setdefault(body["chain"], []).append(seen)
            return
        name = body["name"]
        if ownership.is_operators(name):
            if kind == "chain" and name in (ownership.PRE, ownership.POST):
                self.chains[name] = SeenChain(())  # what is in it is not ours to look at
            else:
                self.operators.add(f"{kind} {name}")
            return
        try:
            match kind:
                case "chain":
                    self.chains[name] = _chain(body)
                case "set":
                    self.sets[name] = _set(body)
                case "map":
                    self.maps[name] = _map(body)
                case _:
                    self.foreign.add(f"{kind} {name}")
        except (ValueError, KeyError, TypeError):
            self.foreign.add(f"{kind} {name}")

    def seen(self) -> SeenTable:
        chains = {
            name: SeenChain(tuple(self.rules.get(name, ())), chain.hook, chain.accepting)
            for name, chain in self.chains.items()
        }
        return SeenTable(self.sets, self.maps, chains, frozenset(self.foreign), frozenset(self.operators))


def _chain(body: dict[str, Any]) -> SeenChain:
    if "hook" not in body:
        return SeenChain(())
    return SeenChain((), Hook(body["hook"], body["prio"], body["type"]), accepting=body["policy"] == "accept")


def _set(body: dict[str, Any]) -> Set:
    fills = _filled(body)
    if fills:
        return fills
    flags = body.get("flags", [])
    if not body.keys() <= _PLAIN or flags not in ([], ["interval"]):
        raise ValueError("not a set of ours")
    kinds = body["type"] if isinstance(body["type"], list) else [body["type"]]
    key = tuple(KeyType(kind) for kind in kinds)
    entries = body.get("elem", [])
    if key == (KeyType.IPV4,) and not flags:
        return Set(key, Members.parse(entries), room=body.get("size"))
    elements = frozenset(_elements(key, entries, interval=bool(flags)))
    return Set(key, elements, interval=bool(flags), room=body.get("size"))


def _filled(body: dict[str, Any]) -> Set | None:
    """One that the packet path fills. (nft 1.0.6 does not print the flag that says so; no other of
    ours has this size.)"""
    if body.get("size") != FILLED_SIZE or not body.keys() <= _PLAIN | {"size", "timeout"}:
        return None
    flags = set(body.get("flags", [])) - {"dynamic"}
    kinds = body["type"] if isinstance(body["type"], list) else [body["type"]]
    key = tuple(KeyType(kind) for kind in kinds)
    if not flags:
        return Set(key, frozenset(), fills="flows")
    if body.get("timeout") == FORGOTTEN_S["rate"]:
        return Set(key, frozenset(), fills="rate")
    return Set(key, frozenset(), fills="notes") if body.get("timeout") == FORGOTTEN_S["notes"] else None


def _elements(key: tuple[KeyType, ...], entries: Iterable[Any], *, interval: bool) -> Iterable[Element]:
    for entry in entries:
        parts = entry["concat"] if isinstance(entry, dict) and "concat" in entry else [entry]
        if len(parts) != len(key):
            raise ValueError("an element of another shape")
        yield tuple(
            _span(kind, part) if interval else _value(kind, part) for kind, part in zip(key, parts, strict=True)
        )


def _value(kind: KeyType, value: Any) -> int | str:
    if kind in (KeyType.IFNAME, KeyType.ETHER):
        if not isinstance(value, str):
            raise ValueError("a name or MAC is text")
        return value
    return _number(kind, value)


def _span(kind: KeyType, value: Any) -> Part:
    if isinstance(value, dict) and "prefix" in value:
        low = parse_address(value["prefix"]["addr"])
        return Span(low, low | (1 << 32 - value["prefix"]["len"]) - 1)
    low, high = value["range"] if isinstance(value, dict) else (value, value)
    return Span(_number(kind, low), _number(kind, high))


def _number(kind: KeyType, value: Any) -> int:
    return parse_address(value) if kind is KeyType.IPV4 else int(value)


def _map(body: dict[str, Any]) -> Map:
    if not body.keys() <= _PLAIN or body.get("flags") or body["map"] not in ("ipv4_addr", "mark", "verdict"):
        raise ValueError("not a map of ours")
    kind = KeyType(body["type"])
    elements: dict[int, int | Verdict] = {}
    for left, right in body.get("elem", []):
        elements[_number(kind, left)] = _data(body["map"], right)
    return Map(kind, body["map"], elements, body.get("size"))


def _data(kind: str, value: Any) -> int | Verdict:
    match kind:
        case "mark":
            return int(value)
        case "ipv4_addr":
            return parse_address(value)
        case _:
            return _verdict(value)


def _verdict(value: dict[str, Any]) -> Verdict:
    match value:
        case {"accept": None}:
            return ACCEPT
        case {"drop": None}:
            return DROP
        case {"jump": {"target": chain}}:
            return Jump(chain)
        case {"goto": {"target": chain}}:
            return Goto(chain)
    raise ValueError("not a verdict of ours")
