"""The views that deltas can be based on: the network as it was at each of the last 1,000 revisions, or for 10 minutes.

A kept revision costs what its change made new; the rest is shared with its neighbours. A base that is not found here, or
that is not what it says it is, gets the whole view: never a gap.
"""

from collections import deque
from datetime import datetime, timedelta
from typing import Final

from verge.contract.etag import ETag
from viewserver.compile.derived import Derived, Step
from viewserver.compile.difference import Between
from viewserver.compile.held import Held

REVISIONS: Final = 1000
AGE: Final = timedelta(minutes=10)
MOST: Final = 20_000
"""Revisions kept at the utmost, however fast they come."""


STEPS: Final = 64
"""Over more of them, networks are compared by what a node sees in each."""


BETWEENS: Final = 64
"""Kept at a time: what nodes are told now is told to many of them."""


class Bases:
    def __init__(self, held: Held) -> None:
        self._epoch = held.epoch
        self._first = held.revision
        self._kept: deque[tuple[datetime | None, Derived]] = deque([(None, held.derived)])
        """From revision `_first` on, without a gap."""
        self._between: dict[tuple[int, int], Between] = {}
        """From one revision to another, the latest made last."""

    def add(self, held: Held, at: datetime) -> None:
        """The next revision, committed at `at`."""
        self._kept.append((at, held.derived))
        while len(self._kept) > MOST or (len(self._kept) > REVISIONS + 1 and self._old(at)):
            self._kept.popleft()
            self._first += 1

    def _old(self, now: datetime) -> bool:
        committed = self._kept[1][0]
        return committed is None or now - committed > AGE

    def delta(self, node: str, base: ETag, now: ETag) -> bytes | None:
        """What leads from this view to the node's newest, `now`, as JSON; None where `find` finds nothing.

        What came in between without touching the node is left out at either end, so that all nodes that one change touches
        are told what this change did, whatever they were told before and when.
        """
        if self.find(node, base) is None:
            return None
        first, last = max(base.version, self._first), now.version
        before = self.at(last - 1)
        if before is not None and before.digests.get(node) == base.digest:
            first = last - 1
        between = self._between.get((first, last))
        if between is None:
            while len(self._between) >= BETWEENS:
                del self._between[next(iter(self._between))]
            between = self._between[first, last] = self._make(first, last)
        return between.body(node)

    def _make(self, first: int, last: int) -> Between:
        """Between two revisions that are kept."""
        step: Step | None = None
        if last - first <= STEPS:
            step = Step()
            for revision in range(first + 1, last + 1):
                step |= self._kept[revision - self._first][1].step
        return Between(self._kept[first - self._first][1], self._kept[last - self._first][1], step)

    def find(self, node: str, base: ETag) -> Derived | None:
        """The network in which this view is the node's; None if it is of another epoch, too old, or unheard of.

        A view is unchanged from its version until the next one, so a quiet node's base is found at the oldest revision
        kept, whatever its version: the digest says whether it is the same.
        """
        index = max(base.version - self._first, 0)
        if base.epoch != self._epoch or index >= len(self._kept):
            return None
        derived = self._kept[index][1]
        return derived if derived.digests.get(node) == base.digest else None

    def at(self, revision: int) -> Derived | None:
        """The network at this revision, if it is kept."""
        index = revision - self._first
        return self._kept[index][1] if 0 <= index < len(self._kept) else None

    @property
    def first(self) -> int:
        """The oldest revision kept."""
        return self._first

    def __len__(self) -> int:
        return len(self._kept)
