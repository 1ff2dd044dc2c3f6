"""One table, observed and wanted → changes in an order that the kernel takes, and the table as it will be seen after.

    1  new sets, maps and chains, empty          what others refer to comes first
    2  elements out                              before overlapping ones come in: intervals may not overlap
    3  elements in
    4  rules out and in                          they refer to what stands since 1
    5  mappings in                               they lead to chains that are complete since 4
    6  chains emptied, then objects out          nothing refers to them since 2 and 4

All of it is one transaction, so no packet sees a state between. An element that stays is never deleted and added again:
older kernels miss it meanwhile. A table with an object of ours in another shape (key, flags, hook) is replaced as a whole;
what operators keep in it is for the caller to carry over (`operatorrules`).
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher

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
from nodeagent.state.ownership import is_operators
from nodeagent.state.rule import Drop
from nodeagent.state.ruleset import Chain, Element, Map, SeenChain, SeenRule, SeenTable, Set, Table, TableId
from verge.contract.members import Members


class HandlesUnknown(Exception):
    """A rule that must go, or mark a place, went in since the last reading: read the handles and plan again."""


@dataclass(slots=True)
class Difference:
    """The changes of one table, by the step they belong to, and what they leave behind."""

    table: TableId
    replaced: bool = False
    """The table was absent or is made anew: nothing in it can be relied upon to have been there before."""
    steps: tuple[list[Change], ...] = field(default_factory=lambda: tuple([] for _ in range(7)))
    seen: SeenTable = field(default_factory=SeenTable)
    """Before; empty if replaced."""
    after: SeenTable = field(default_factory=SeenTable)
    removed_elements: dict[str, tuple[Element, ...]] = field(default_factory=dict)
    """Per set."""
    narrowed_chains: set[str] = field(default_factory=set)
    """Chains that lost a rule, or gained one that drops."""

    @property
    def changes(self) -> list[Change]:
        return [change for step in self.steps for change in step]


def difference(
    name: TableId, seen: SeenTable | None, table: Table, *, deferred: AbstractSet[str] = frozenset()
) -> Difference:
    """Sets and maps named in `deferred` come later, by `settle`. Raises HandlesUnknown."""
    found = Difference(name)
    if seen is not None and not _same_shapes(seen, table):
        found.steps[0].append(DeleteTable(name))
        seen = None
    if seen is None:
        found.replaced = True
        found.steps[0].append(AddTable(name))
        seen = SeenTable()
    found.seen = seen
    chains = dict(_chains(found, seen, table))
    # most are the very objects that were seen: those are passed over without a call
    for set_name, wanted_set in table.sets.items():
        held_set = seen.sets.get(set_name)
        if held_set is not wanted_set and set_name not in deferred:
            _set(found, set_name, held_set, wanted_set)
    for map_name, wanted_map in table.maps.items():
        if map_name not in deferred:
            _map(found, map_name, seen.maps.get(map_name), wanted_map)
    _remove(found, seen, table)
    found.after = SeenTable(table.sets, table.maps, chains, operators=seen.operators)
    return found


def settle(found: Difference, sets: Mapping[str, Set], maps: Mapping[str, Map]) -> None:
    """Completes a difference with what it was made without."""
    for set_name, wanted_set in sets.items():
        _set(found, set_name, found.seen.sets.get(set_name), wanted_set)
    for map_name, wanted_map in maps.items():
        _map(found, map_name, found.seen.maps.get(map_name), wanted_map)
    found.after = replace(found.after, sets={**found.after.sets, **sets}, maps={**found.after.maps, **maps})


def _same_shapes(seen: SeenTable, table: Table) -> bool:
    """Objects that exist cannot change their shape, and a table that sleeps is not woken piece by piece."""
    if seen.dormant:
        return False
    for name, wanted in table.sets.items():
        is_set = seen.sets.get(name)
        if is_set is not wanted and is_set is not None and is_set.shape != wanted.shape:
            return False
    for name, mapping in table.maps.items():
        is_map = seen.maps.get(name)
        if is_map is not None and (is_map.key, is_map.data, is_map.room) != (mapping.key, mapping.data, mapping.room):
            return False
    for name, chain in table.chains.items():
        is_chain = seen.chains.get(name)
        if (
            is_chain is not None
            and is_chain.source is not chain
            and (is_chain.hook != chain.hook or not is_chain.accepting)
        ):
            return False
    # sets and maps share their names, and a chain's name may be taken by something that we cannot read
    taken = {what.split(" ", 1)[1] for what in seen.foreign}
    return not (
        taken & (table.sets.keys() | table.maps.keys() | table.chains.keys())
        or seen.sets.keys() & table.maps.keys()
        or seen.maps.keys() & table.sets.keys()
    )


def _chains(found: Difference, seen: SeenTable, table: Table) -> Iterator[tuple[str, SeenChain]]:
    for name, wanted in table.chains.items():
        held = seen.chains.get(name)
        yield name, held if held is not None and held.source is wanted else _chain(found, name, held, wanted)


def _chain(found: Difference, name: str, seen: SeenChain | None, wanted: Chain) -> SeenChain:
    if seen is not None and is_operators(name):
        return seen
    is_new = seen is None
    if seen is None:
        found.steps[1].append(AddChain(found.table, name, wanted.hook))
        seen = SeenChain((), wanted.hook)
    hashes = [rule_hash(rule) for rule in wanted.rules]
    after: list[SeenRule] = []
    matcher = SequenceMatcher(None, [rule.hash for rule in seen.rules], hashes, autojunk=False)
    for kind, old, old_end, new, new_end in matcher.get_opcodes():
        if kind == "equal":
            after += seen.rules[old:old_end]
            continue
        if old_end > old:
            found.narrowed_chains.add(name)
        for gone in seen.rules[old:old_end]:
            found.steps[4].append(DeleteRule(found.table, name, _handle(gone)))
        anchor = _handle(seen.rules[old_end]) if old_end < len(seen.rules) and new_end > new else None
        for rule in wanted.rules[new:new_end]:
            if isinstance(rule.action, Drop) and not is_new:
                found.narrowed_chains.add(name)
            found.steps[4].append(AddRule(found.table, name, rule, anchor))
            after.append(SeenRule(rule_hash(rule), None))
    return SeenChain(tuple(after), wanted.hook, source=wanted)


def _handle(rule: SeenRule) -> int:
    if rule.handle is None:
        raise HandlesUnknown
    return rule.handle


def _set(found: Difference, name: str, seen: Set | None, wanted: Set) -> None:
    if seen is None:
        found.steps[1].append(AddSet(found.table, name, wanted))
    added, removed = _elements(seen, wanted)
    if removed:
        found.steps[2].append(DeleteElements(found.table, name, wanted.key, removed))
        found.removed_elements[name] = removed
    if added:
        found.steps[3].append(AddElements(found.table, name, wanted.key, added))


def _elements(seen: Set | None, wanted: Set) -> tuple[tuple[Element, ...], tuple[Element, ...]]:
    """(added, removed), each in order."""
    if isinstance(wanted.elements, Members):
        before = seen.elements if seen is not None and isinstance(seen.elements, Members) else Members({})
        added, removed = wanted.elements.difference(before)
        return tuple((one,) for one in added), tuple((one,) for one in removed)
    was = seen.elements if seen is not None and not isinstance(seen.elements, Members) else frozenset()
    return tuple(sorted(wanted.elements - was)), tuple(sorted(was - wanted.elements))


def _map(found: Difference, name: str, seen: Map | None, wanted: Map) -> None:
    if seen is wanted:
        return
    if seen is None:
        found.steps[1].append(AddMap(found.table, name, wanted))
    was, will = (seen.elements if seen is not None else {}), wanted.elements
    removed = {key: was[key] for key in sorted(was) if will.get(key) != was[key]}
    added = {key: will[key] for key in sorted(will) if was.get(key) != will[key]}
    if removed:
        found.steps[2].append(DeleteMappings(found.table, name, wanted, removed))
    if added:
        found.steps[5].append(AddMappings(found.table, name, wanted, added))


def _remove(found: Difference, seen: SeenTable, table: Table) -> None:
    gone = sorted(seen.chains.keys() - table.chains.keys())
    found.steps[6].extend(FlushChain(found.table, name) for name in gone)
    # maps hold on to chains, so they go first
    found.steps[6].extend(Remove(found.table, f"map {name}") for name in sorted(seen.maps.keys() - table.maps.keys()))
    found.steps[6].extend(Remove(found.table, f"set {name}") for name in sorted(seen.sets.keys() - table.sets.keys()))
    found.steps[6].extend(Remove(found.table, what) for what in sorted(seen.foreign))
    found.steps[6].extend(Remove(found.table, f"chain {name}") for name in gone)
