"""Gives every judged address its policy generation (`state.generations`)."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from nodeagent.state import generations
from nodeagent.state.ruleset import Map, Observed, SeenTable, Set, Table
from verge.contract.members import Members


@dataclass(frozen=True, slots=True)
class Assigned:
    valid: Set
    valid_reversed: Set
    current: Map
    used: bool
    """Did any address get the new one?"""


def assign(table: Table, seen: SeenTable | None, again: AbstractSet[int], new: int) -> Assigned:
    """Addresses in `again`, and those without exactly one generation, get `new`; the others keep theirs."""
    keeps = _held(seen) if seen else {}
    current = {
        address: keeps[address] if address in keeps and address not in again else new
        for address in table.maps[generations.JUDGED].elements
    }
    pairs = frozenset(current.items())
    backwards = frozenset((address, mark | generations.REVERSED) for address, mark in pairs)
    return Assigned(
        replace(table.sets[generations.VALID], elements=pairs),
        replace(table.sets[generations.VALID_REVERSED], elements=backwards),
        replace(table.maps[generations.CURRENT], elements=current),
        used=new in current.values(),
    )


def _held(seen: SeenTable) -> Mapping[int, int]:
    """Addresses whose one valid generation, in both forms, is the one that is stamped. Anything else was not our doing."""
    valid: dict[int, set[int]] = {}
    for address, mark in _pairs(seen):
        valid.setdefault(address, set()).add(mark)
    stamped = seen.maps[generations.CURRENT].elements if generations.CURRENT in seen.maps else {}
    return {
        address: mark
        for address, mark in stamped.items()
        if isinstance(mark, int) and mark and valid.get(address) == {mark, mark | generations.REVERSED}
    }


def highest(observed: Observed) -> int:
    """The highest generation that the kernel holds; 0 if it holds none."""
    marks = [0]
    for seen in observed.values():
        marks += [mark & generations.LAST for _, mark in _pairs(seen)]
        if generations.CURRENT in seen.maps:
            marks += [mark for mark in seen.maps[generations.CURRENT].elements.values() if isinstance(mark, int)]
    return max(marks)


def _pairs(seen: SeenTable) -> list[tuple[int, int]]:
    pairs = []
    for name in (generations.VALID, generations.VALID_REVERSED):
        held = seen.sets.get(name)
        for element in () if held is None or isinstance(held.elements, Members) else held.elements:
            match element:
                case (int(address), int(mark)):
                    pairs.append((address, mark))
    return pairs
