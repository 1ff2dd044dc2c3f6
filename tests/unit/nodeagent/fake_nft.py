"""A ruleset that takes the changes of a plan, and refuses what the kernel refuses.

It is checked against the kernel by `tests/dataplane/test_kernel.py`. Stricter with boxes: overlapping ones are refused in
any order, where the kernel takes the larger behind the smaller; and so is deleting one that is not there, where the kernel
may delete another that contains its corner.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TypeVar, assert_never

from nodeagent.nft.changes import (
    AddChain,
    AddElements,
    AddMap,
    AddMappings,
    AddRule,
    AddSet,
    AddTable,
    Change,
    DeleteElements,
    DeleteMappings,
    DeleteRule,
    DeleteTable,
    FlushChain,
    Remove,
)
from nodeagent.nft.text import rule_hash
from nodeagent.state.rule import Goto, Jump, KeyType, Rule
from nodeagent.state.ruleset import (
    Element,
    Hook,
    Map,
    Observed,
    SeenChain,
    SeenRule,
    SeenTable,
    Set,
    Span,
    TableId,
)
from verge.contract.members import Members

T = TypeVar("T")


class Refused(Exception):
    pass


@dataclass
class _Chain:
    hook: Hook | None
    rules: list[tuple[int, Rule]] = field(default_factory=list)


@dataclass
class _Table:
    sets: dict[str, tuple[Set, set[Element]]] = field(default_factory=dict)
    maps: dict[str, tuple[Map, dict[int, object]]] = field(default_factory=dict)
    chains: dict[str, _Chain] = field(default_factory=dict)


class FakeNft:
    def __init__(self) -> None:
        self._tables: dict[TableId, _Table] = {}
        self._next_handle = 1
        self.redundant: list[Change] = []
        """What changed nothing: the kernel takes it, a true difference has none of it."""

    def commit(self, changes: Iterable[Change]) -> None:
        """All or nothing. Raises Refused."""
        before = deepcopy(self._tables)
        try:
            for change in changes:
                self._do(change)
        except Refused:
            self._tables = before
            raise

    def observed(self) -> Observed:
        return {name: _seen(table) for name, table in self._tables.items()}

    def _table(self, name: TableId) -> _Table:
        if name not in self._tables:
            raise Refused(f"no table {name}")
        return self._tables[name]

    def _do(self, change: Change) -> None:
        match change:
            case AddTable(table):
                if table in self._tables:
                    self.redundant.append(change)
                self._tables.setdefault(table, _Table())
            case DeleteTable(table):
                self._table(table)
                del self._tables[table]
            case AddSet(table, name, value):
                self._add_set(self._table(table), name, value, change)
            case AddMap(table, name, value):
                self._add_map(self._table(table), name, value, change)
            case AddChain(table, name, hook):
                found = self._table(table)
                if name in found.chains:
                    if hook and found.chains[name].hook != hook:
                        raise Refused(f"chain {name} exists with another hook")
                    self.redundant.append(change)
                found.chains.setdefault(name, _Chain(hook))
            case AddElements(table, name, _, elements):
                for element in elements:
                    self._add_element(self._table(table), name, element, change)
            case DeleteElements(table, name, _, elements):
                held = _of(self._table(table).sets, name)[1]
                for element in elements:
                    if element not in held:
                        raise Refused(f"{element} is not in {name}")
                    held.remove(element)
            case AddMappings(table, name, _, pairs):
                self._add_mappings(self._table(table), name, dict(pairs), change)
            case DeleteMappings(table, name, _, pairs):
                mapped = _of(self._table(table).maps, name)[1]
                for key in pairs:
                    if key not in mapped:
                        raise Refused(f"{key} is not in {name}")
                    del mapped[key]
            case AddRule(table, chain, rule, before):
                self._add_rule(self._table(table), chain, rule, before)
            case DeleteRule(table, chain, handle):
                rules = _of(self._table(table).chains, chain).rules
                del rules[_position(rules, handle)]
            case FlushChain(table, chain):
                _of(self._table(table).chains, chain).rules.clear()
            case Remove(table, what):
                _remove(self._table(table), what)
            case _:
                assert_never(change)

    def _add_set(self, table: _Table, name: str, value: Set, change: Change) -> None:
        if name in table.maps:
            raise Refused(f"{name} is a map")
        if name in table.sets:
            is_there = table.sets[name][0]
            if is_there.shape != value.shape:
                raise Refused(f"set {name} exists in another shape")
            self.redundant.append(change)
        table.sets.setdefault(name, (value, set()))

    def _add_map(self, table: _Table, name: str, value: Map, change: Change) -> None:
        if name in table.sets:
            raise Refused(f"{name} is a set")
        if name in table.maps:
            is_there = table.maps[name][0]
            if (is_there.key, is_there.data) != (value.key, value.data):
                raise Refused(f"map {name} exists in another shape")
            self.redundant.append(change)
        table.maps.setdefault(name, (value, {}))

    def _add_element(self, table: _Table, name: str, element: Element, change: Change) -> None:
        value, held = _of(table.sets, name)
        if element in held:
            self.redundant.append(change)
        elif value.interval and any(_overlap(element, other) for other in held):
            raise Refused(f"{element} overlaps another in {name}")
        held.add(element)

    def _add_mappings(self, table: _Table, name: str, pairs: dict[int, object], change: Change) -> None:
        mapped = _of(table.maps, name)[1]
        for key, data in pairs.items():
            if isinstance(data, Jump | Goto):
                _of(table.chains, data.chain)
            if key in mapped:
                if mapped[key] != data:
                    raise Refused(f"{key} has other data in {name}")
                self.redundant.append(change)
            mapped[key] = data

    def _add_rule(self, table: _Table, chain: str, rule: Rule, before: int | None) -> None:
        rules = _of(table.chains, chain).rules
        for name in rule.sets:
            _of(table.sets, name)
        match rule.action:
            case Jump(target) | Goto(target):
                if _of(table.chains, target).hook:
                    raise Refused(f"{target} is a base chain")
            case _:
                for name in rule.maps:
                    _of(table.maps, name)
        at = len(rules) if before is None else _position(rules, before)
        rules.insert(at, (self._next_handle, rule))
        self._next_handle += 1


def _of(objects: dict[str, T], name: str) -> T:
    if name not in objects:
        raise Refused(f"no {name}")
    return objects[name]


def _position(rules: list[tuple[int, Rule]], handle: int) -> int:
    for at, (number, _) in enumerate(rules):
        if number == handle:
            return at
    raise Refused(f"no rule {handle}")


def _overlap(one: Element, other: Element) -> bool:
    return all(
        isinstance(a, Span) and isinstance(b, Span) and a.low <= b.high and b.low <= a.high
        for a, b in zip(one, other, strict=True)
    )


def _remove(table: _Table, what: str) -> None:
    kind, name = what.split(" ", 1)
    objects: dict[str, object] = {"set": table.sets, "map": table.maps, "chain": table.chains}[kind]  # type: ignore[assignment]
    _of(objects, name)
    others = [
        rule for chain, held in table.chains.items() if (kind, name) != ("chain", chain) for _, rule in held.rules
    ]
    used = {f"set {one}" for rule in others for one in rule.sets}
    used |= {f"map {one}" for rule in others for one in rule.maps}
    verdicts = [data for _, mapped in table.maps.values() for data in mapped.values()]
    used |= {
        f"chain {one.chain}" for one in [*verdicts, *(rule.action for rule in others)] if isinstance(one, Jump | Goto)
    }
    if what in used:
        raise Refused(f"{what} is in use")
    del objects[name]


def _seen(table: _Table) -> SeenTable:
    return SeenTable(
        sets={name: replace(value, elements=_elements(value, held)) for name, (value, held) in table.sets.items()},
        maps={
            name: Map(value.key, value.data, dict(mapped), value.room) for name, (value, mapped) in table.maps.items()
        },  # type: ignore[arg-type]
        chains={
            name: SeenChain(tuple(SeenRule(rule_hash(rule), handle) for handle, rule in chain.rules), chain.hook)
            for name, chain in table.chains.items()
        },
    )


def _elements(value: Set, held: set[Element]) -> frozenset[Element] | Members:
    if value.key == (KeyType.IPV4,) and not value.interval and value.fills == "no":
        return Members.of(part for element in held for part in element if isinstance(part, int))
    return frozenset(held)
