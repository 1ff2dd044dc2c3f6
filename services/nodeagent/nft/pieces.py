"""One transaction in several, for a process that may not send a long one (in an unprivileged user namespace nobody may
raise a socket's buffer). Whatever of them has gone in, no packet passes that neither the state before nor the one after lets
pass.

    inert    new sets, maps and chains with all that is in them, base chains apart: nothing refers to them yet
    closing  many elements less in sets that let pass
    turning  all the rest, at once: rules, base chains, mappings, what else is in sets that are in use
    opening  many elements more in sets that let pass
    removal  is part of turning

A crash between two of them leaves objects that nothing refers to, or elements missing: the next plan goes on from there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

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
    DeleteTable,
)
from nodeagent.nft.transaction import lines, transaction
from nodeagent.state.ruleset import TableId

_MANY = 500
"""Elements in a set that is in use which do not go in with the rest."""
_LONG = 40_000
"""Characters of one piece; as netlink messages some five times as much, of the 400 kB that anybody may send."""
_CLOSING = ("local4", "instances4", "elastic4")
"""Sets whose elements are judged, and not let pass: fewer of them is more open."""


def can_be_cut(changes: Iterable[Change]) -> bool:
    """A table that is made anew is open until its base chains are in: that is no place to begin."""
    return not any(isinstance(change, AddTable | DeleteTable) for change in changes)


def pieces(changes: Iterable[Change], behind: str = "") -> Iterator[str]:
    """In the order in which they are to be sent, each the text of a transaction; of changes that `can_be_cut`. The commands
    `behind` are at the end of the one that turns."""
    new: set[tuple[TableId, str, str]] = set()
    inert: list[Change] = []
    closing: list[Change] = []
    turning: list[Change] = []
    opening: list[Change] = []
    for change in changes:
        match change:
            case AddSet(table, name):
                new.add((table, "set", name))
                inert.append(change)
            case AddMap(table, name):
                new.add((table, "map", name))
                inert.append(change)
            case AddChain(table, name, None):
                new.add((table, "chain", name))
                inert.append(change)
            case AddElements(table, name) if (table, "set", name) in new:
                inert += _halved(change)
            case AddMappings(table, name) if (table, "map", name) in new:
                inert.append(change)
            case AddRule(table, chain) if (table, "chain", chain) in new:
                inert.append(change)
            case AddElements(_, name, _, elements) if len(elements) > _MANY and name not in _CLOSING:
                opening += _halved(change)
            case DeleteElements(_, name, _, elements) if len(elements) > _MANY and name not in _CLOSING:
                closing += _halved(change)
            case _:
                turning.append(change)
    yield from _sized(inert)
    yield from _sized(closing)
    yield transaction(turning) + behind
    yield from _sized(opening)


def _halved(change: AddElements | DeleteElements) -> list[Change]:
    parts = range(0, len(change.elements), _MANY)
    return [replace(change, elements=change.elements[start : start + _MANY]) for start in parts]


def _sized(changes: list[Change]) -> Iterator[str]:
    piece = ""
    for line in lines(changes):
        if piece and len(piece) + len(line) > _LONG:
            yield piece
            piece = ""
        piece += f"{line}\n"
    if piece:
        yield piece
