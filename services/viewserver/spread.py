"""How each of the last changes spreads: how many nodes it affects, how many have applied it, and after how long.

Kept while reports come in, so reading it asks no database; after a restart read once from the log of applications. A node
that had never been seen and hosts no instance when the change was committed is not counted, as it holds up no barrier.
"""

from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from viewserver.model.convergence import ranked_percentiles

MILLISECOND: Final = timedelta(milliseconds=1)
RECENT: Final = 200
"""Changes whose spread is kept."""
RECALLED: Final = 200_000
"""Applications read back at start at the utmost; what is older is not known."""


@dataclass(slots=True)
class Spread:
    revision: int
    at: datetime
    affected: int
    unseen: frozenset[str]
    """Affected nodes that are not counted."""
    ms: "array[float]" = field(default_factory=lambda: array("d"))
    """Of each node that has applied it: milliseconds from the commit to the report. Ascending: it is told at each step, and to
    sort ten thousand each time is what that would cost."""

    @property
    def complete(self) -> bool:
        return len(self.ms) >= self.affected

    def to_wire(self) -> dict[str, Any]:
        marks = ranked_percentiles(self.ms)
        return {
            "affected": self.affected,
            "applied": len(self.ms),
            "ms": {name: None if mark is None else round(mark, 1) for name, mark in marks.items()},
        }


class Spreads:
    def __init__(self, converged: Callable[[float], object]) -> None:
        """`converged` hears, once for each change, after how many seconds the last node had applied it."""
        self._of: dict[int, Spread] = {}
        self._converged = converged
        self._recalled = False

    def __getitem__(self, revision: int) -> Spread | None:
        return self._of.get(revision)

    def counts(self) -> dict[int, tuple[int, int]]:
        """By revision: how many nodes it affects, and how many have applied it."""
        return {revision: (spread.affected, len(spread.ms)) for revision, spread in self._of.items()}

    def begin(self, revision: int, at: datetime, nodes: Iterable[str], matters: Callable[[str], bool]) -> None:
        """A change was committed; `nodes` are those whose view it changes and that exist."""
        counted, unseen = 0, []
        for node in nodes:
            if matters(node):
                counted += 1
            else:
                unseen.append(node)
        self._of[revision] = Spread(revision, at, counted, frozenset(unseen))
        while len(self._of) > RECENT:
            del self._of[next(iter(self._of))]

    def applied(self, revision: int, node: str, at: datetime) -> None:
        """The node told, for the first time, that it has applied a version at or past this revision."""
        spread = self._of.get(revision)
        if spread is None or node in spread.unseen or spread.complete:
            return
        insort(spread.ms, max(0.0, (at - spread.at) / MILLISECOND))
        if spread.complete:
            self._tell(spread)

    def gone(self, revision: int, node: str) -> None:
        """The node was removed before it applied this revision: nobody waits for it."""
        spread = self._of.get(revision)
        if spread is None or node in spread.unseen or spread.complete:
            return
        spread.affected -= 1
        if spread.complete and spread.ms:
            self._tell(spread)

    def _tell(self, spread: Spread) -> None:
        if self._recalled:  # before that, nobody knows when
            self._converged(max(spread.ms) / 1000)

    def clear(self) -> None:
        """Another epoch: revisions mean something else."""
        self._of.clear()

    def recall(self, log: Mapping[str, Sequence[tuple[int, datetime]]], affected: Mapping[int, Sequence[str]]) -> None:
        """After a restart: what the log of applications tells of the changes begun so far.

        `log` holds, for each node, versions in ascending order and when it first told of each.
        """
        self._recalled = True
        left = RECALLED
        for revision in sorted(self._of, reverse=True):
            spread = self._of[revision]
            left -= spread.affected
            if left < 0:
                del self._of[revision]
                continue
            spread.ms = array("d")
            for node in affected.get(revision, ()):
                versions = log.get(node, ())
                first = bisect_left(versions, revision, key=lambda one: one[0])
                if first < len(versions) and node not in spread.unseen and not spread.complete:
                    insort(spread.ms, max(0.0, (versions[first][1] - spread.at) / MILLISECOND))
