"""Keep the replica at the head of the change records and of the reports.

A notification is only a hint: after each one, after each reconnection and in every second of silence the records after
the last one held are asked for. Records are folded in order; a gap, or another epoch, means loading everything again.
"""

import logging
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from verge.contract.report import Failure
from viewserver.bases import AGE, MOST, REVISIONS
from viewserver.batches import Batches
from viewserver.compile.derived import Derived
from viewserver.compile.held import Held
from viewserver.model.change import Change
from viewserver.model.convergence import Told
from viewserver.model.network import Network
from viewserver.model.updates import rewind
from viewserver.replica import PROGRESS, Replica
from viewserver.settings import Settings
from viewserver.spread import RECENT
from viewserver.store import HistoryPruned, StoreError
from viewserver.store.changes import CHANNEL as CHANGES
from viewserver.store.changes import changes_page, changes_since, missed_changes
from viewserver.store.clock import ServerClock
from viewserver.store.engine import Database
from viewserver.store.feed import listen
from viewserver.store.head import Head, read_head
from viewserver.store.network import Stored
from viewserver.store.network import load as load_network
from viewserver.store.presence import CHANNEL as PRESENCE
from viewserver.store.presence import claims_since
from viewserver.store.records.detail import applied_since
from viewserver.store.records.happenings import CHANNEL as HAPPENINGS
from viewserver.store.records.happenings import happenings_since, last_happening
from viewserver.store.reports import CHANNEL as REPORTS
from viewserver.store.reports import StoredReport, load_reports, reports_since
from viewserver.store.tokens import CHANNEL as TOKENS

log = logging.getLogger(__name__)

CLOCK_EVERY_S = 10.0
CLOCK_SLACK = timedelta(seconds=1)
"""Postgres's clock as two replicas know it."""
TOKENS_EVERY_S = 5.0


class Follower:
    def __init__(self, database: Database, replica: Replica) -> None:
        self.database = database
        self.replica = replica
        self.claims_seq = 0
        self.expected: dict[int, tuple[Change, Derived]] = {}
        """By revision, what this replica is committing: the notification may be here before Postgres's answer, and what was
        compiled once need not be compiled again."""
        self._clock_at = time.monotonic()

    @classmethod
    async def start(cls, database: Database, settings: Settings) -> "Follower":
        """Load everything at one revision. Raises Unavailable."""
        clock = await ServerClock.measure(database)
        began = time.monotonic()
        async with database.snapshot() as conn:
            stored = await load_network(conn)
            changes = await _recent_changes(conn, stored)
            reports = await load_reports(conn)
            recent = changes[-RECENT:]
            applications = (
                await applied_since(conn, Head(stored.epoch, recent[0].revision), recent[0].at - CLOCK_SLACK)
                if recent
                else {}
            )
            happening = await last_happening(conn)
            claims_seq, claims = await claims_since(conn, 0)
            held = held_before(stored, changes)
            applied = {
                one.node: one.applied.version for one in reports if one.applied and one.applied.epoch == held.epoch
            }
            behind = {node: applied.get(node, 0) for node, was in held.versions.items() if was > applied.get(node, 0)}
            missed = await missed_changes(conn, held.epoch, held.revision, behind) if behind else []
        replica = Replica(settings, clock, held, f"{socket.gethostname()}-{secrets.token_hex(4)}")
        for change in changes:
            replica.adopt(change)
        for report in reports:
            replica.hear(report.node, told_from(report))
        replica.loaded(applications, {change.revision: change.affected for change in recent})
        replica.missed(missed)
        replica.hear_claims(claims)
        for node in [claim.node for claim in claims if replica.held.network.node(claim.node) is None]:
            replica.presence.remove(node)
        replica.happened_through = happening
        log.info(
            "loaded revision=%d epoch=%d objects=%d ms=%.0f",
            stored.revision,
            stored.epoch,
            len(stored.objects),
            (time.monotonic() - began) * 1000,
        )
        replica.batches = Batches(max((report.seq for report in reports), default=0))
        found = cls(database, replica)
        found.claims_seq = claims_seq
        return found

    async def run(self, reload_tokens: Callable[[], Awaitable[None]]) -> None:
        """For as long as the server lives. Credentials may have changed whenever their channel says so, and are looked at
        every few seconds besides."""
        tokens_at = time.monotonic()
        async with listen(self.database.url, [CHANGES, REPORTS, HAPPENINGS, PRESENCE, TOKENS]) as hints:
            async for hint in hints:
                try:
                    if hint.channel in (CHANGES, None):
                        await self.catch_up_changes()
                    if hint.channel in (REPORTS, None):
                        await self.catch_up_reports(int(hint.payload) if hint.payload else None)
                    if hint.channel in (HAPPENINGS, None):
                        await self.catch_up_happenings()
                    if hint.channel == PRESENCE:  # and whenever this replica says that it is there
                        await self.catch_up_claims()
                    if hint.channel == TOKENS or time.monotonic() - tokens_at > TOKENS_EVERY_S:
                        await reload_tokens()
                        tokens_at = time.monotonic()
                    if time.monotonic() - self._clock_at > CLOCK_EVERY_S:
                        self.replica.clock = await ServerClock.measure(self.database)
                        self._clock_at = time.monotonic()
                except StoreError as error:
                    if self.replica.stale_seconds() > 1:
                        log.debug("cannot follow: %s", error)

    async def catch_up_changes(self) -> None:
        async with self.database.begin() as conn:
            head = await read_head(conn)
            await self.fold_missing(conn, head)
        self.replica.fresh_at = time.monotonic()

    async def fold_missing(self, conn: AsyncConnection, head: Head) -> None:
        """Bring the replica to `head`, as this transaction sees it.

        A replica that is past it already, since it committed meanwhile, stays where it is: within one epoch there is no
        way back, and loading everything again would wake every node.
        """
        while (held := self.replica.held).epoch != head.epoch or held.revision < head.revision:
            if held.epoch != head.epoch:
                return await self._reload()
            try:
                for change in await changes_since(conn, held.revision):
                    if change.revision == self.replica.held.revision + 1:
                        expected = self.expected.get(change.revision)
                        known = expected is not None and expected[0] == change
                        self.replica.adopt(change, expected[1] if expected is not None and known else None)
            except HistoryPruned:
                return await self._reload()
        return None

    async def _reload(self) -> None:
        async with self.database.snapshot() as conn:
            stored = await load_network(conn)
        before = self.replica.held
        self.replica.begin_epoch(held_before(stored, []))
        self.replica.batches = Batches(0)  # where Postgres was put back to an earlier day, so were their numbers
        log.warning(
            "reloaded revision=%d epoch=%d in place of revision=%d epoch=%d",
            stored.revision,
            stored.epoch,
            before.revision,
            before.epoch,
        )

    async def catch_up_reports(self, heard: int | None = None) -> None:
        """What other replicas have stored, up to the batch `heard` at least."""
        batches = self.replica.batches
        if heard is not None and not batches.missing(heard):
            return
        async with self.database.begin() as conn:
            reports = await reports_since(conn, batches.through, batches.own)
        advanced = False
        for report in reports:
            advanced |= self.replica.hear(report.node, told_from(report))
        batches.read(max([heard or 0, *(report.seq for report in reports)]))
        if advanced:
            self.replica.progress.wake([PROGRESS])

    async def catch_up_claims(self) -> None:
        async with self.database.begin() as conn:
            last, claims = await claims_since(conn, self.claims_seq)
        anew = last < self.claims_seq  # Postgres was restored, or another took over that lacked the latest
        self.claims_seq = last
        self.replica.hear_claims(claims, anew=anew)

    async def catch_up_happenings(self) -> None:
        replica = self.replica
        async with self.database.begin() as conn:
            found = await happenings_since(conn, replica.happened_through)
        if found:
            replica.happened.extend(found)
            replica.happened_through = found[-1].id
            replica.progress.wake([PROGRESS])


async def _recent_changes(conn: AsyncConnection, stored: Stored) -> list[Change]:
    """The records of this epoch that deltas may be based on, oldest first."""
    found: list[Change] = []
    while len(found) < MOST:
        page = await changes_page(conn, found[-1].revision if found else None, REVISIONS)
        found += [change for change in page if change.epoch == stored.epoch]
        if len(page) < REVISIONS or page[-1].epoch != stored.epoch or page[0].at - page[-1].at > AGE:
            break
    return found[::-1]


def held_before(stored: Stored, changes: list[Change]) -> Held:
    """The network as it was before these, the last changes: folding them gives what is stored, and every state between."""
    network = Network.from_objects({(kind, key): value for kind, key, value in stored.objects})  # type: ignore[misc]
    for change in reversed(changes):
        network = rewind(network, change.operations)
    revision = stored.revision - len(changes)
    older = {node: version for node, version in stored.versions.items() if version <= revision}
    return Held.of(stored.epoch, revision, network, older)


def told_from(report: StoredReport) -> Told:
    applied = report.applied
    return Told(
        epoch=applied.epoch if applied else 0,
        applied=applied.version if applied else 0,
        state=report.state,  # type: ignore[arg-type]
        attempted=report.attempted.version if report.attempted else None,
        failures=tuple(Failure(**failure) for failure in report.report.get("failures", ())),
        instances=report.report.get("instances") or {},
        at=report.seen_at,
    )
