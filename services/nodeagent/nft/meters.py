"""The table that counts instances' packets: its text, and what a listing of it says.

A table of its own, which no update of the policy touches: an element per instance in each of four sets, with a counter that
the kernel keeps in it and each match raises. An element is never deleted and added again while its instance is here.

    postrouting 200, behind the judgement at 150: what is here has passed
      in     to the instance's address (destination translation is long done); the peer is the source
      out    from it, by the address that the flow had before source translation; the peer is the destination
    input 200    out, to this host itself

Packets between two instances of this node, which are most, end with the first rule of all; what leaves with an instance's own
address needs no look at its flow either.

*Inside* is a peer in the private ranges or among the elastic IPs of the cloud, or another instance here. A set's element carries
the instance's id as comment, so that an address that passes to another begins anew also if nobody was there to see it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from nodeagent.desired.names import token
from nodeagent.nft import text
from nodeagent.state.metered import Metered
from nodeagent.state.ownership import METERS
from nodeagent.state.rule import KeyType
from nodeagent.state.ruleset import ROOM, Span
from verge.contract.members import format_address, parse_address

Direction = Literal["in", "out"]
Scope = Literal["inside", "outside"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("in", "out")
SETS: Final[Mapping[tuple[Direction, Scope], str]] = {
    (direction, scope): f"{direction}_{scope}" for direction in DIRECTIONS for scope in ("inside", "outside")
}

_SHAPE: Final = f"""
add table {{table}}
delete table {{table}}
add table {{table}}
add set {{table}} cloud {{{{ type ipv4_addr; flags interval; }}}}
add set {{table}} in_inside {{{{ type ipv4_addr; size {ROOM}; counter; }}}}
add set {{table}} in_outside {{{{ type ipv4_addr; size {ROOM}; counter; }}}}
add set {{table}} out_inside {{{{ type ipv4_addr; size {ROOM}; counter; }}}}
add set {{table}} out_outside {{{{ type ipv4_addr; size {ROOM}; counter; }}}}
add set {{table}} here {{{{ type ipv4_addr; size {ROOM}; }}}}
add chain {{table}} postrouting {{{{ type filter hook postrouting priority 200; policy accept; }}}}
add chain {{table}} input {{{{ type filter hook input priority 200; policy accept; }}}}
add chain {{table}} untranslated
add chain {{table}} coming
add chain {{table}} original
add chain {{table}} reply
add rule {{table}} postrouting ip saddr @here ip daddr @in_inside ip saddr @out_inside return
add rule {{table}} postrouting ip saddr @here goto untranslated
add rule {{table}} postrouting ip daddr @here jump coming
add rule {{table}} postrouting ct direction original ct original ip saddr @here goto original
add rule {{table}} postrouting ct direction reply ct reply ip saddr @here goto reply
add rule {{table}} input ct direction original ct original ip saddr @here goto original
add rule {{table}} input ct direction reply ct reply ip saddr @here goto reply
add rule {{table}} untranslated ip daddr @cloud ip saddr @out_inside return
add rule {{table}} untranslated ip saddr @out_outside
add rule {{table}} coming ip saddr @cloud ip daddr @in_inside return
add rule {{table}} coming ip daddr @in_outside
add rule {{table}} original ip daddr @cloud ct original ip saddr @out_inside return
add rule {{table}} original ct original ip saddr @out_outside
add rule {{table}} reply ip daddr @cloud ct reply ip saddr @out_inside return
add rule {{table}} reply ct reply ip saddr @out_outside
"""
_RULES: Final = sum(line.startswith("add rule") for line in _SHAPE.splitlines())
_CHAINS: Final = {"postrouting": ("postrouting", 200), "input": ("input", 200)}


class Count(NamedTuple):
    packets: int
    bytes: int
    """Of IP packets, without Ethernet."""


@dataclass(frozen=True, slots=True)
class Meters:
    """As they were read."""

    names: Mapping[int, str]
    """By address: the comment of its elements."""
    cloud: frozenset[Span]
    counts: Mapping[tuple[int, Direction, Scope], Count]


def differing(seen: Meters | None, wanted: Metered) -> str:
    """The commands that make one of the other; none where they agree. None seen: the table is made anew."""
    lines: list[str] = []
    if seen is None:
        lines.append(_SHAPE.format(table=METERS).strip())
        seen = Meters({}, frozenset(), {})
    names = {address: token(name) for address, name in wanted.instances.items()}
    gone = sorted(address for address, name in seen.names.items() if names.get(address) != name)
    new = sorted(address for address, name in names.items() if seen.names.get(address) != name)
    for name in (*SETS.values(), "here"):
        lines += _elements("delete", name, map(format_address, gone))
    for name in SETS.values():
        lines += _elements("add", name, (f'{format_address(one)} comment "{names[one]}"' for one in new))
    lines += _elements("add", "here", map(format_address, new))
    lines += _elements("delete", "cloud", _spans(seen.cloud - wanted.cloud))
    lines += _elements("add", "cloud", _spans(wanted.cloud - seen.cloud))
    return "".join(f"{line}\n" for line in lines)


def _elements(verb: str, name: str, elements: Iterable[str]) -> list[str]:
    listed = ", ".join(elements)
    return [f"{verb} element {METERS} {name} {{ {listed} }}"] if listed else []


def _spans(spans: Iterable[Span]) -> Iterable[str]:
    return (text.part(KeyType.IPV4, span) for span in sorted(spans))


def read(listing: Iterable[Mapping[str, Any]]) -> Meters | None:
    """From libnftables-json(5). None: it is not there, or not as we made it."""
    sets: dict[str, list[Any]] = {}
    hooks: dict[str, tuple[str, int]] = {}
    rules = 0
    for kind, body in (next(iter(entry.items())) for entry in listing):
        rules += kind == "rule"
        if kind == "set":
            sets[body["name"]] = body.get("elem", [])
        if kind == "chain" and "hook" in body:
            hooks[body["name"]] = (body["hook"], body["prio"])
    if rules != _RULES or hooks != _CHAINS or sets.keys() != {*SETS.values(), "cloud", "here"}:
        return None
    counts: dict[tuple[int, Direction, Scope], Count] = {}
    names: dict[int, str] = {}
    complete = {parse_address(one) for one in sets["here"]}
    for (direction, scope), name in SETS.items():
        held = [one["elem"] for one in sets[name] if isinstance(one, dict) and "counter" in one.get("elem", {})]
        addresses = {parse_address(one["val"]) for one in held}
        if addresses != complete or len(held) != len(sets[name]):
            return None
        for one in held:
            address, counter = parse_address(one["val"]), one["counter"]
            names[address] = one.get("comment", "")
            counts[address, direction, scope] = Count(counter["packets"], counter["bytes"])
    return Meters(names, frozenset(_span(one) for one in sets["cloud"]), counts)


def _span(value: Any) -> Span:
    if isinstance(value, dict) and "prefix" in value:
        low = parse_address(value["prefix"]["addr"])
        return Span(low, low | (1 << 32 - value["prefix"]["len"]) - 1)
    low, high = value["range"] if isinstance(value, dict) else (value, value)
    return Span(parse_address(low), parse_address(high))
