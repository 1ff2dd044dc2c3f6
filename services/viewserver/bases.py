"""The views that deltas can be based on: the network as it was at each of the last 1,000 revisions, or for 10 minutes.

A kept revision costs what its change made new; the rest is shared with its neighbours. A base that is not found here, or
that is not what it says it is, gets the whole view: never a gap.
"""

from collections import deque
from datetime import datetime, timedelta
from typing import Final

from verge.contract.etag import ETag
from viewserver.compile.derived import Derived
from viewserver.compile.held import Held

REVISIONS: Final = 1000
AGE: Final = timedelta(minutes=10)
MOST: Final = 20_000
"""Revisions kept at the utmost, however fast they come."""


class Bases:
    def __init__(self, held: Held) -> None:
        self._epoch = held.epoch
        self._first = held.revision
        self._kept: deque[tuple[datetime | None, Derived]] = deque([(None, held.derived)])
        """From revision `_first` on, without a gap."""

    def add(self, held: Held, at: datetime) -> None:
        """The next revision, committed at `at`."""
        self._kept.append((at, held.derived))
        while len(self._kept) > MOST or (len(self._kept) > REVISIONS + 1 and self._old(at)):
            self._kept.popleft()
            self._first += 1

    def _old(self, now: datetime) -> bool:
        committed = self._kept[1][0]
        return committed is None or now - committed > AGE

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
