"""A ruleset as values: tables of sets, maps and chains.

Two shapes of the same thing. `Ruleset` is what we want: chains hold typed rules. `Observed` is what the kernel was seen
to hold: chains hold the rules' hashes (the kernel rewrites rule text, so text is never compared) and their handles. Sets
and maps have one shape for both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from nodeagent.state.rule import KeyType, Rule, Verdict
from verge.contract.members import Members

Family = Literal["arp", "bridge", "ip"]


class TableId(NamedTuple):
    family: Family
    name: str

    def __str__(self) -> str:
        return f"{self.family} {self.name}"


class Span(NamedTuple):
    """An inclusive range of integers: addresses, ports, protocols. The form of every part of an interval element."""

    low: int
    high: int


Part = int | str | Span
"""Addresses, protocols, ports and marks are integers, as `Members` has them; names and MACs are text."""
Element = tuple[Part, ...]
"""One part for each field of the key."""


ROOM: Final = 4096
"""For what grows with the instances of one node. A view with more is refused by the kernel, and said so."""


@dataclass(frozen=True, slots=True)
class Set:
    key: tuple[KeyType, ...]
    elements: frozenset[Element] | Members
    """`Members` for a set of plain addresses, so that two versions of 20,000 are compared by what changed."""
    interval: bool = False
    """Elements are boxes of `Span`s, pairwise disjoint: overlapping ones cannot be changed safely (nft_set_pipapo
    finds an element to delete by its corner only)."""
    room: int | None = None
    """The most it can ever hold, where that is known: the kernel then looks once into a table of fixed size, at each packet
    (nft_set_hash), where one that may grow costs twice the time."""
    fills: Literal["no", "rate", "flows", "notes"] = "no"
    """Does the packet path put elements in, and what does it keep with each? What is in such a set is nobody's intent:
    `elements` is empty, and is never compared."""

    @property
    def shape(self) -> tuple[object, ...]:
        """What cannot be changed of a set that exists."""
        return self.key, self.interval, self.room, self.fills


@dataclass(frozen=True, slots=True)
class Map:
    key: KeyType
    data: Literal["ipv4_addr", "mark", "verdict"]
    elements: Mapping[int, int | Verdict]
    room: int | None = None


@dataclass(frozen=True, slots=True)
class Hook:
    """Where the kernel enters a base chain. All of ours have the policy accept: what concerns VMs is dropped by an
    explicit rule, and what does not is none of our business."""

    hook: Literal["prerouting", "input", "forward", "output", "postrouting"]
    priority: int
    type: Literal["filter", "nat"] = "filter"


@dataclass(frozen=True, slots=True)
class Chain:
    rules: tuple[Rule, ...]
    hook: Hook | None = None


@dataclass(frozen=True, slots=True)
class Table:
    sets: Mapping[str, Set] = field(default_factory=dict)
    maps: Mapping[str, Map] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)


Ruleset = Mapping[TableId, Table]


class SeenRule(NamedTuple):
    hash: str
    """Of the rule's text as we wrote it, from its comment; empty for a rule that carries none."""
    handle: int | None
    """None for a rule that went in since the last reading."""


@dataclass(frozen=True, slots=True)
class SeenChain:
    rules: tuple[SeenRule, ...]
    hook: Hook | None = None
    accepting: bool = True
    """The policy, as far as it can differ from ours."""
    source: Chain | None = field(default=None, compare=False, repr=False)
    """The chain it was made from, if we made it: the same object again needs no comparison."""


@dataclass(frozen=True, slots=True)
class SeenTable:
    sets: Mapping[str, Set] = field(default_factory=dict)
    maps: Mapping[str, Map] = field(default_factory=dict)
    chains: Mapping[str, SeenChain] = field(default_factory=dict)
    foreign: frozenset[str] = frozenset()
    """Objects in our table that we never make, as `set <name>`: kinds, key types or flags that the typed shapes do not
    have. They are removed."""
    operators: frozenset[str] = frozenset()
    """What operators keep in our table, as `chain <name>`: whatever is named so, but for the empty chains that we make for
    them."""
    dormant: bool = False
    """It is there, and no packet enters it (nft(8), `flags dormant`)."""


Observed = Mapping[TableId, SeenTable]
