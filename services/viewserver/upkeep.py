"""What is done now and then: forget what is no longer promised to be kept."""

import asyncio
import logging
import random
from datetime import datetime, timedelta

from viewserver.settings import Settings
from viewserver.store import StoreError
from viewserver.store.changes import prune
from viewserver.store.clock import ServerClock
from viewserver.store.engine import Database
from viewserver.store.head import read_head
from viewserver.store.idempotency import forget_expired
from viewserver.store.records.partitions import DETAIL, LASTING, expire, overflowing, prepare

log = logging.getLogger(__name__)

EVERY_S = 600.0
KEPT_REVISIONS = 100_000
"""Change records that are kept: history, and bases for deltas."""


class Upkeep:
    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings

    async def run(self) -> None:
        """For as long as the server lives; several replicas do it at different times."""
        while True:
            await asyncio.sleep(EVERY_S * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            try:
                await self.once()
            except StoreError as error:
                log.warning("upkeep put off: %s", error)

    async def once(self, kept: int = KEPT_REVISIONS) -> None:
        """Raises Unavailable."""
        async with self.database.begin() as conn:
            await forget_expired(conn)
        async with self.database.begin() as conn:
            head = await read_head(conn)
            if head.revision > kept:
                gone = await prune(conn, head.revision - kept)
                if gone:
                    log.info("pruned change records=%d through=%d", gone, head.revision - kept)
        await self.records(await self._now())

    async def records(self, now: datetime) -> None:
        """Partitions ahead of `now`, and none beyond what is kept. Raises Unavailable."""
        async with self.database.begin() as conn:
            await prepare(conn, now)
        keep_from = now - timedelta(hours=max(1.0, self.settings.detail_hours))
        async with self.database.begin() as conn:
            overflow = await overflowing(conn, self.settings.detail_mb * 2**20, now - timedelta(hours=1))
        if overflow is not None and overflow > keep_from:
            log.warning(
                "the detail of changes before %s goes early: it takes too much of the disk", overflow.isoformat()
            )
            keep_from = overflow
        lasting = now - timedelta(days=self.settings.records_days)
        for divided in (*DETAIL, *LASTING):  # each by itself: one that is being read holds up no other
            async with self.database.begin() as conn:
                gone = await expire(conn, divided, keep_from if divided in DETAIL else lasting)
            if gone:
                log.info("dropped %s partitions=%d", divided.table, gone)

    async def _now(self) -> datetime:
        return (await ServerClock.measure(self.database)).now()
