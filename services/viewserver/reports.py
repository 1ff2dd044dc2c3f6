"""Take in what nodes report: judge it, store it in batches, and let those who wait know.

A report counts when it is stored: a barrier that has answered does not change its mind after a restart. While one batch is
being written the next one gathers, so a lone report is stored at once and ten thousand take a few statements. Nothing
here wakes a node or changes a view. When nodes were told their views is written along with the reports, or a moment later.
"""

import asyncio
import logging
from collections import Counter

from verge.contract.etag import ETag
from verge.contract.report import Report
from viewserver.errors import Contradiction, NotReady, UnknownObject
from viewserver.model.convergence import Told
from viewserver.replica import PROGRESS, Replica
from viewserver.store import StoreError
from viewserver.store.engine import Database
from viewserver.store.reports import Answered, NewReport, store_answers, store_reports

log = logging.getLogger(__name__)

MOST_WAITING = 50_000
RETRY_S = 0.25
CLOSING_S = 2.0
ANSWERS_WAIT_S = 0.5
"""How long it may take until it is stored that a node was told its view, where no report takes it along."""


class Reports:
    def __init__(self, database: Database, replica: Replica) -> None:
        self.database = database
        self.replica = replica
        self._waiting: list[tuple[NewReport, asyncio.Future[None] | None]] = []
        self._alone: list[tuple[NewReport, asyncio.Future[None] | None]] = []
        """Reports of a batch that could not be stored for a reason of its own."""
        self._answered: list[Answered] = []
        self._told: dict[str, tuple[int, int]] = {}
        """By node: epoch and version that it was last told here."""
        self._work = asyncio.Event()
        self.stored: Counter[str] = Counter()
        """How many reports of each state were stored here."""

    def check(self, node: str, report: Report) -> None:
        """Raises UnknownObject for a node that is none, Contradiction for a report that cannot be true."""
        held = self.replica.held
        if node not in held.derived.digests:
            raise UnknownObject(f"node {node} does not exist")
        for name, etag in (("applied", report.applied), ("attempted", report.attempted)):
            if etag is not None:
                self._check_etag(node, name, etag)

    def _check_etag(self, node: str, name: str, etag: ETag) -> None:
        """A version that the view never had is as impossible as one to come: `applied` lifts fences and lets barriers go."""
        held = self.replica.held
        current = held.etag(node)
        if current is None or etag.epoch < held.epoch:
            return
        if etag.epoch > held.epoch or etag.version > current.version:
            raise Contradiction(f"{name} {etag} is from the future: the view is at {current}, the head at {held.at}")
        known = self.replica.known_etags.get(node)
        if known and etag.version >= known[0].version and etag not in known:
            had = [one.digest for one in known if one.version == etag.version]
            raise Contradiction(
                f"{name} {etag}: version {etag.version} of this view had digest {had[0]}"
                if had
                else f"{name} {etag}: this view had no version {etag.version}"
            )

    def submit(self, node: str, report: Report, *, acknowledged: bool = False) -> "asyncio.Future[None] | None":
        """Queue a checked report; with `acknowledged`, a future that is done once it is stored. Raises NotReady."""
        if len(self._waiting) >= MOST_WAITING:
            raise NotReady("too many reports wait for Postgres")
        future = asyncio.get_running_loop().create_future() if acknowledged else None
        self._waiting.append((NewReport(node, report, self.replica.clock.now()), future))
        self._work.set()
        return future

    def answered(self, node: str, etag: ETag) -> None:
        """The node has just been told this version. Kept once for each version, however often it asks."""
        told = (etag.epoch, etag.version)
        if self._told.get(node, (0, 0)) >= told:
            return
        self._told[node] = told
        now, change = self.replica.clock.now(), self.replica.recent.get(etag.version)
        self.replica.observed.answered(node, etag.version, change.at if change is not None else None, now)
        if not self._answered:
            asyncio.get_running_loop().call_later(ANSWERS_WAIT_S, self._work.set)
        elif len(self._answered) >= MOST_WAITING:
            return  # Postgres has been away for long: what is not known is left out, and nodes go on being told
        self._answered.append(Answered(node, *told, now))

    async def run(self) -> None:
        """Write batches, for as long as the server lives. What cannot be stored is kept and tried again."""
        failing = False
        while True:
            await self._work.wait()
            self._work.clear()
            if self._alone:
                batch, self._alone = self._alone[:1], self._alone[1:]
                self._work.set()
            else:
                batch, self._waiting = self._waiting, []
            answered, self._answered = self._answered, []
            if not batch and not answered:
                continue
            batches = self.replica.batches
            try:
                async with self.database.begin() as conn:
                    await store_answers(conn, answered)
                    news = [new for new, _ in batch]
                    stored = await store_reports(conn, news, self._troubled(news))
                    batches.writing(stored.numbers)
            except asyncio.CancelledError:
                self._keep(batch)
                self._answered = [*answered, *self._answered]
                raise
            except StoreError as error:
                batches.failed()
                if not failing:
                    log.warning("reports wait for Postgres: %s", error)
                failing = True
                self._keep(batch)
                self._answered = [*answered, *self._answered]
                await asyncio.sleep(RETRY_S)
                self._work.set()
                continue
            except Exception:
                batches.failed()
                log.exception("a batch of %d reports cannot be stored", len(batch))
                self._answered = [*answered, *self._answered] if batch else []
                if len(batch) > 1:  # find the one that cannot: the others are tried one by one
                    self._alone = [*batch, *self._alone]
                elif batch and batch[0][1] is not None and not batch[0][1].done():
                    batch[0][1].set_exception(NotReady("the report cannot be stored; it is in the server's log"))
                self._work.set()
                continue
            failing = False
            self.stored.update(new.report.state for new, _ in batch)
            for new, _ in batch:
                self.replica.observed.reported(new.node, new.report, new.seen_at)
            nodes = self.replica.held.derived.digests
            advanced = [self.replica.hear(new.node, _told(new)) for new in stored.taken if new.node in nodes]
            batches.written()
            for _, future in batch:
                if future is not None and not future.done():
                    future.set_result(None)
            if any(advanced):
                self.replica.progress.wake([PROGRESS])

    async def close(self) -> None:
        """The server is stopping, and `run` has ended: what has gathered is stored, if Postgres takes it at once."""
        batch = [new for new, _ in (*self._alone, *self._waiting)]
        if not batch and not self._answered:
            return
        try:
            async with asyncio.timeout(CLOSING_S), self.database.begin() as conn:
                await store_answers(conn, self._answered)
                await store_reports(conn, batch, self._troubled(batch))
        except (StoreError, TimeoutError) as error:
            log.warning("%d reports and %d answers are not on record: %s", len(batch), len(self._answered), error)

    def _keep(self, batch: list[tuple[NewReport, "asyncio.Future[None] | None"]]) -> None:
        """Put a batch that failed back in front; nobody waits for it any more. Of reports of a node that say the same, which
        come as often as it tries again, the newest is kept."""
        for _, future in batch:
            if future is not None and not future.done():
                future.set_exception(NotReady("the report could not be stored; it will be tried again"))
        latest: dict[object, tuple[NewReport, None]] = {}
        for new, _ in batch:
            report = new.report
            said = (new.node, report.state, report.applied, report.attempted, report.failures)
            latest.pop(said, None)
            latest[said] = (new, None)
        self._waiting = [*latest.values(), *self._waiting]

    def _troubled(self, batch: list[NewReport]) -> frozenset[str]:
        """Nodes of the batch whose last word was of a rejection, or of objects that they closed."""
        known = ((new.node, self.replica.told.get(new.node)) for new in batch)
        return frozenset(node for node, told in known if told is not None and told.state in ("rejected", "degraded"))


def _told(new: NewReport) -> Told:
    report = new.report
    return Told(
        epoch=report.applied.epoch if report.applied else 0,
        applied=report.applied.version if report.applied else 0,
        state=report.state,
        attempted=report.attempted.version if report.attempted else None,
        failures=report.failures,
        instances=dict(report.instances),
        at=new.seen_at,
    )
