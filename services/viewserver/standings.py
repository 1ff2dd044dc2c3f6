"""The standing of every node, kept as it changes, so that asking for the whole cloud's costs what is behind and not its size.

An entry is made anew when something about its node has happened: a change that affects it, a report, an instance that comes
or goes. Two things move by themselves and are left to the moment of asking: lag in seconds, which is the age of the oldest
change that a node lacks (nodes are counted by that change), and silence, which befalls only nodes without an open
connection. `model.convergence` says what all of it means; a property test compares the two.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from heapq import nsmallest
from typing import Any

from viewserver.model.convergence import LAGGARDS, Census, Cloud, Facts, State, last_known, standing


@dataclass(frozen=True, slots=True)
class Entry:
    """A node's standing as it is while the node is not silent."""

    zone: str
    state: State
    behind: int
    since: datetime | None
    """When the oldest change that it lacks was committed."""
    matters: bool
    late: bool
    """It has not applied its view. Unlike `state`, neither silence nor rejection hides it."""

    @property
    def listed(self) -> bool:
        return self.matters and self.state != "converged"

    @property
    def holds_up(self) -> bool:
        """The cloud has not converged while there is such a node."""
        return self.matters and (self.late or self.state == "degraded")


@dataclass(slots=True)
class Zone:
    census: Census = field(default_factory=Census)
    holding_up: int = 0

    def count(self, entry: Entry, sign: int) -> None:
        _count(self.census.states, entry.state, sign)
        self.holding_up += sign * entry.holds_up
        if entry.matters:
            _count(self.census.behind, entry.behind, sign)
            _count(self.census.since, entry.since, sign)


def _count(counter: Counter[Any], key: Any, sign: int) -> None:
    counter[key] += sign
    if not counter[key]:
        del counter[key]


class Standings:
    def __init__(
        self,
        facts: Callable[[Iterable[str]], Iterator[Facts]],
        silent: Callable[[str], bool],
        unseen: Callable[[str], bool],
    ) -> None:
        """`facts` of some nodes as they are now; `silent` and `unseen`, whether a node is."""
        self._is_unseen = unseen
        self._facts = facts
        self._silent = silent
        self._entries: dict[str, Entry] = {}
        self._zones: dict[str, Zone] = {}
        self._listed: dict[datetime | None, set[str]] = {}
        """Nodes that are listed as laggards, by `since`."""
        self._apart: set[str] = set()
        """Nodes without an open connection that have told something: those that may be silent."""
        self._silent_now: set[str] = set()
        self.unseen: set[str] = set()
        """Nodes that have never told anything and host no instance: they hold up nothing. Known at any time."""
        self._news: set[str] = set()
        """Nodes to which something has happened since somebody last asked."""
        self.changed: set[str] = set()
        """Nodes whose standing is another since somebody last took this set; lag in seconds apart."""

    # --- news ---

    def renew(self, nodes: Iterable[str]) -> None:
        """Something has happened to these nodes; a name that is no node (any more) is forgotten. Looked at when somebody
        asks: between two questions a node's standing may change many times."""
        names = set(nodes)
        self._news |= names
        self.changed |= names
        for node in names:
            (self.unseen.add if self._is_unseen(node) else self.unseen.discard)(node)

    def _settle(self) -> None:
        names, self._news = self._news, set()
        for node in names:
            self._remove(node)
        for facts in self._facts(names):
            self._enter(facts)

    def connected(self, node: str) -> None:
        self._apart.discard(node)
        if node in self._silent_now:
            self._silent_now.discard(node)
            self.changed.add(node)

    def disconnected(self, node: str) -> None:
        self._apart.add(node)

    def clear(self) -> None:
        """Another epoch: nothing of this holds any more, except who is connected."""
        self.changed |= self._entries.keys()
        for book in (self._entries, self._zones, self._listed, self.unseen, self._news):
            book.clear()

    def _enter(self, facts: Facts) -> None:
        state, late = last_known(facts), facts.applied < facts.version
        matters = facts.told is not None or facts.hosts_instances
        since = facts.pending[0].at if facts.pending else None
        entry = self._entries[facts.node] = Entry(facts.zone, state, len(facts.pending), since, matters, late)
        zone = self._zones.get(facts.zone)
        if zone is None:
            zone = self._zones[facts.zone] = Zone()
        zone.count(entry, 1)
        if entry.listed:
            self._listed.setdefault(since, set()).add(facts.node)

    def _remove(self, node: str) -> None:
        entry = self._entries.pop(node, None)
        if entry is None:
            return
        zone = self._zones[entry.zone]
        zone.count(entry, -1)
        if not zone.census.states:
            del self._zones[entry.zone]
        if entry.listed:
            listed = self._listed[entry.since]
            listed.discard(node)
            if not listed:
                del self._listed[entry.since]

    # --- asking ---

    def silent(self) -> frozenset[str]:
        """Nodes that have told something and of which nothing is heard now."""
        self._settle()
        self._apart -= {node for node in self._apart if node not in self._entries}
        found = {node for node in self._apart if self._entries[node].state != "never-seen" and self._silent(node)}
        self.changed |= found ^ self._silent_now
        self._silent_now = found
        return frozenset(found)

    def cloud(self, now: datetime, most: int = LAGGARDS) -> Cloud:
        """The whole cloud, with the names of `most` laggards."""
        silent = self.silent()
        holding_up = sum(zone.holding_up for zone in self._zones.values())
        moved: dict[str, Counter[State]] = {}
        quiet: set[str] = set()
        for node in silent:
            entry = self._entries[node]
            moved.setdefault(entry.zone, Counter())[entry.state] += 1
            holding_up -= entry.holds_up and not entry.late
            if not entry.listed:
                quiet.add(node)
        zones = {name: _silenced(zone.census, moved.get(name)) for name, zone in self._zones.items()}
        total = sum(len(nodes) for nodes in self._listed.values()) + len(quiet)
        names = self._furthest(quiet, most)
        named = {facts.node: standing(facts, now) for facts in self._facts(names)}
        return Cloud(
            converged=not holding_up,
            zones=zones,
            laggards=tuple(named[name] for name in names),
            laggards_total=total,
            never_seen=tuple(nsmallest(most, self.unseen)),
        )

    def _furthest(self, quiet: set[str], most: int) -> list[str]:
        """Of the laggards, those whose oldest missing change is the oldest; `quiet`, silent nodes that lack none, are among
        the last."""
        names: list[str] = []
        for since in sorted(at for at in self._listed if at is not None):
            names += nsmallest(most - len(names), self._listed[since])
            if len(names) >= most:
                return names
        return names + nsmallest(most - len(names), quiet | self._listed.get(None, set()))


def _silenced(census: Census, moved: "Counter[State] | None") -> Census:
    """With the nodes counted as silent that are, and not as what they were when last heard of."""
    if not moved:
        return census
    states = census.states - moved
    states["silent"] += moved.total()
    return Census(states, census.behind, census.since)
