"""Say once a second that this replica is there, tell the others which nodes came and which are lost, and bury the dead.

A replica that is killed says nothing of its nodes. They have `start_grace_s` to come back elsewhere, as after any start;
then the first of the others to notice declares those lost that nobody else has claimed. Who could not read Postgres for a
while buries nobody until it has watched for as long again: those that it takes for dead may have been cut off as it was.
"""

import logging
import time

from viewserver.follow import Follower
from viewserver.model.presence import News
from viewserver.store import StoreError
from viewserver.store.presence import beat, bury, write_claims
from viewserver.waiting import until

log = logging.getLogger(__name__)

EVERY_S = 1.0
LOOK_EVERY_S = 0.2
"""News is written no more often, all that there is at a time."""
DEAD_AFTER_S = 3.0
"""At the least: a replica without a heartbeat for so long, or this one without Postgres."""


class Heartbeat:
    def __init__(self, follower: Follower) -> None:
        self.database = follower.database
        self.follower = follower
        self.replica = follower.replica
        self.rows_written = 0
        """Claims and losses; none while nothing changes."""
        self._buries_after_s = max(DEAD_AFTER_S, follower.replica.settings.start_grace_s)
        self._beat_at = float("-inf")
        self._watching_since = time.monotonic()

    async def run(self) -> None:
        """Until the server stops. Nodes that a stopping server sends away are not lost: they come to others."""
        progress = self.replica.progress
        while not progress.closed:
            with progress.ticket("heartbeat: closing") as closing:
                try:
                    await self.once()
                except StoreError as error:
                    log.debug("the heartbeat waits for Postgres: %s", error)
                await until(closing, LOOK_EVERY_S)

    async def once(self) -> None:
        """One look. Raises Unavailable."""
        news = self.replica.presence.news(
            time.monotonic(), lambda node: self.replica.held.network.node(node) is not None
        )
        if news:
            await self._write(news)
        if time.monotonic() - self._beat_at >= EVERY_S:
            await self._beat()

    async def _write(self, news: News) -> None:
        clock, presence = self.replica.clock, self.replica.presence
        came = {node: clock.at(since) for node, since in news.came.items()}
        lost = {node: clock.at(heard) for node, heard in news.lost.items()}
        try:
            async with self.database.begin() as conn:
                await write_claims(conn, presence.me, came, lost, news.gone)
        except BaseException:
            presence.again(news)
            raise
        self.rows_written += len(news.came) + len(news.lost)
        await self.follower.catch_up_claims()

    async def _beat(self) -> None:
        async with self.database.begin() as conn:
            others = await beat(conn, self.replica.presence.me)
        now = time.monotonic()
        if now - self._beat_at > DEAD_AFTER_S:
            self._watching_since = now
        self._beat_at = now
        await self.follower.catch_up_claims()  # a notification may have been missed
        dead = [name for name, silent_s in others.items() if silent_s > self._buries_after_s]
        if dead and now - self._watching_since > self._buries_after_s:
            log.warning("replicas lost: %s", ", ".join(dead))
            async with self.database.begin() as conn:
                await bury(conn, dead, self._buries_after_s)
