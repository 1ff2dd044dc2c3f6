"""Changes of a ruleset, one nft command each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nodeagent.state.rule import KeyType, Rule, Verdict
from nodeagent.state.ruleset import Element, Hook, Map, Set, TableId


@dataclass(frozen=True, slots=True)
class AddTable:
    table: TableId


@dataclass(frozen=True, slots=True)
class DeleteTable:
    """With all that is in it."""

    table: TableId


@dataclass(frozen=True, slots=True)
class AddSet:
    """Empty; its elements are a change of their own."""

    table: TableId
    name: str
    set: Set


@dataclass(frozen=True, slots=True)
class AddMap:
    table: TableId
    name: str
    map: Map


@dataclass(frozen=True, slots=True)
class AddChain:
    table: TableId
    name: str
    hook: Hook | None


@dataclass(frozen=True, slots=True)
class DeleteElements:
    table: TableId
    name: str
    key: tuple[KeyType, ...]
    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class AddElements:
    table: TableId
    name: str
    key: tuple[KeyType, ...]
    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class DeleteMappings:
    table: TableId
    name: str
    map: Map
    elements: Mapping[int, int | Verdict]


@dataclass(frozen=True, slots=True)
class AddMappings:
    table: TableId
    name: str
    map: Map
    elements: Mapping[int, int | Verdict]


@dataclass(frozen=True, slots=True)
class AddRule:
    """`before` is the handle of a rule that stays; None appends."""

    table: TableId
    chain: str
    rule: Rule
    before: int | None = None


@dataclass(frozen=True, slots=True)
class DeleteRule:
    table: TableId
    chain: str
    handle: int


@dataclass(frozen=True, slots=True)
class FlushChain:
    """Deletes all its rules, ours or not."""

    table: TableId
    chain: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Deletes a set, map or chain that nothing refers to any more."""

    table: TableId
    what: str
    """`set members/sg-1`: kind and name."""


Change = (
    AddTable
    | DeleteTable
    | AddSet
    | AddMap
    | AddChain
    | DeleteElements
    | AddElements
    | DeleteMappings
    | AddMappings
    | AddRule
    | DeleteRule
    | FlushChain
    | Remove
)


def count(changes: Iterable[Change]) -> int:
    """Kernel objects, elements included."""
    holders = AddElements | DeleteElements | AddMappings | DeleteMappings
    return sum(len(change.elements) if isinstance(change, holders) else 1 for change in changes)
