"""What is done now and then: forget what is no longer promised to be kept."""

import asyncio
import logging
import random

from viewserver.store import StoreError
from viewserver.store.changes import prune
from viewserver.store.engine import Database
from viewserver.store.head import read_head
from viewserver.store.idempotency import forget_expired

log = logging.getLogger(__name__)

EVERY_S = 600.0
KEPT_REVISIONS = 100_000
"""Change records that are kept: history, and bases for deltas."""


class Upkeep:
    def __init__(self, database: Database) -> None:
        self.database = database

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
