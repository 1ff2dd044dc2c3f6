"""Keep the records: a summary of each change, the cloud's lag every few seconds, silence when it begins and ends.

Every replica does it, and what one has written the others pass over. Nothing waits for it: reports and barriers know nothing of
records. Once a second it looks, in memory, what has moved; an idle cloud costs one row in five seconds.
"""

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from viewserver.model.convergence import Cloud
from viewserver.replica import Replica
from viewserver.store import StoreError
from viewserver.store.engine import Database
from viewserver.store.records.happenings import tell
from viewserver.store.records.samples import EVERY_S, Sample, keep_sample
from viewserver.store.records.silences import begin_silences, end_silences, silences
from viewserver.store.records.summaries import begin_summaries, fill_summary, last_begun, late_summaries
from viewserver.waiting import until

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
SETTLES_S = 2.0
"""A summary is filled no sooner: reports that bring timings follow those that say it in passing."""
LATE_EVERY_S = 30.0
AT_MOST = 50
"""Summaries filled in one look."""


@dataclass(slots=True)
class Open:
    """A change whose summary is not complete."""

    behind: int
    """Nodes that lacked it when it was last filled; -1: it never was."""
    exceptions: int
    due: float
    """Not before, by time.monotonic."""


class Recorder:
    def __init__(self, database: Database, replica: Replica) -> None:
        self.database = database
        self.replica = replica
        self._epoch = 0
        self._begun = 0
        self._open: dict[int, Open] = {}
        self._silent: frozenset[str] = frozenset()
        self._slot = 0
        self._late_at = 0.0

    async def run(self) -> None:
        """For as long as the server lives."""
        while not self.replica.progress.closed:
            with self.replica.progress.ticket("records: closing") as closing:
                try:
                    await self.once()
                except StoreError as error:
                    log.debug("records wait for Postgres: %s", error)
                except Exception:
                    log.exception("records: a look failed; the next ones go on")
                    await until(closing, LATE_EVERY_S)
                await until(closing, LOOK_EVERY_S)

    async def once(self, *, settled: bool = False) -> None:
        """One look; with `settled`, everything that has moved is written now. Raises Unavailable."""
        await self._begin()
        await self._fill(settled)
        await self._silences()
        await self._sample()

    # --- changes ---

    async def _begin(self) -> None:
        replica = self.replica
        held = replica.held
        if self._epoch != held.epoch:
            async with self.database.begin() as conn:
                begun = await last_begun(conn, held.epoch)
            oldest = next(iter(replica.recent), held.revision + 1)
            self._epoch, self._begun = held.epoch, begun if begun >= 0 else oldest - 1
            now = time.monotonic()
            self._open = {revision: Open(-1, -1, now) for revision in replica.recent if revision <= self._begun}
        while self._begun < held.revision:
            unseen = [
                (revision, node)
                for revision in range(self._begun + 1, held.revision + 1)
                if (spread := replica.spreads[revision]) is not None
                for node in spread.unseen
            ]
            async with self.database.begin() as conn:
                through = await begin_summaries(conn, held.epoch, self._begun, held.revision, unseen)
            due = time.monotonic() + SETTLES_S
            self._open |= {
                one: Open(-1, -1, due) for one in range(self._begun + 1, through + 1) if one in replica.recent
            }
            self._begun = through

    async def _fill(self, settled: bool) -> None:
        replica, now = self.replica, time.monotonic()
        for revision in self._open.keys() - replica.recent.keys():
            del self._open[revision]  # whoever comes back to it is late
        moved = [
            revision
            for revision, known in self._open.items()
            if (settled or known.due <= now)
            and (replica.advances[revision].behind, len(replica.closed(revision))) != (known.behind, known.exceptions)
        ]
        for revision in moved if settled else moved[:AT_MOST]:
            if revision in replica.recent and self._epoch == replica.held.epoch:  # both may move on meanwhile
                await self._fill_one(revision, now)
        if settled or now - self._late_at > LATE_EVERY_S:
            self._late_at = now
            oldest = next(iter(replica.recent), replica.held.revision + 1)
            async with self.database.begin() as conn:
                late = await late_summaries(conn, replica.held.epoch, oldest, AT_MOST * 20)
            for revision in late:
                async with self.database.begin() as conn:
                    await fill_summary(conn, replica.held.epoch, revision, [])

    async def _fill_one(self, revision: int, now: float) -> None:
        replica = self.replica
        advance, closed = replica.advances[revision], replica.closed(revision)
        behind, age = advance.behind, (replica.clock.now() - replica.recent[revision].at).total_seconds()
        async with self.database.begin() as conn:
            await fill_summary(conn, self._epoch, revision, closed)
        if not behind and not closed and age > 2 * SETTLES_S:
            self._open.pop(revision, None)
        else:  # the longer it takes, the less often
            self._open[revision] = Open(behind, len(closed), now + max(SETTLES_S, age / 10))

    # --- nodes ---

    async def _silences(self) -> None:
        replica = self.replica
        silent = replica.standings.silent()
        async with self.database.begin() as conn:
            known = await silences(conn)
        now = replica.clock.now()
        began = {node: replica.heard_at(node) or now for node in silent - self._silent - known.keys()}
        ended = [node for node in known if node not in silent and replica.heard(node)]
        gone = [node for node in known if replica.held.network.node(node) is None]
        if began or ended or gone:
            async with self.database.begin() as conn:
                fresh = await begin_silences(conn, began)
                back = await end_silences(conn, [*ended, *gone])
                await tell(conn, [_silent(node, now, began[node]) for node in fresh])
                await tell(conn, [_back(node, now, known[node]) for node in back if node not in gone])
        self._silent = silent

    # --- the cloud ---

    async def _sample(self) -> None:
        replica = self.replica
        now = replica.clock.now()
        slot = int(now.timestamp()) // EVERY_S
        if slot == self._slot:
            return
        found = sample(replica.standings.cloud(now, 0), datetime.fromtimestamp(slot * EVERY_S, UTC), now, replica)
        async with self.database.begin() as conn:
            await keep_sample(conn, found)
        self._slot = slot


def sample(cloud: Cloud, at: datetime, now: datetime, replica: Replica) -> Sample:
    """The cloud as it is now, for the few seconds that begin at `at`."""
    census = cloud.census
    unseen = len(replica.standings.unseen)
    total = census.states.total() - unseen
    behind = sum(number for versions, number in census.behind.items() if versions)
    since = min((moment for moment in census.since if moment is not None), default=None)
    return Sample(
        at=at,
        epoch=replica.held.epoch,
        revision=replica.held.revision,
        nodes=total,
        behind=behind,
        silent=census.states["silent"],
        rejected=census.states["rejected"],
        degraded=census.states["degraded"],
        converged=census.states["converged"],
        lag_s=max(0.0, (now - since).total_seconds()) if since is not None else 0.0,
    )


def _silent(node: str, at: datetime, since: datetime) -> dict[str, object]:
    what = f"not heard of since {since.isoformat(timespec='milliseconds')}"
    return {"at": at, "kind": "silent", "node": node, "what": what, "revision": None, "more": {"since": since}}


def _back(node: str, at: datetime, since: datetime) -> dict[str, object]:
    silent_s = round((at - since).total_seconds(), 1)
    more = {"since": since, "silent_s": silent_s}
    return {"at": at, "kind": "back", "node": node, "what": f"after {silent_s} s", "revision": None, "more": more}
