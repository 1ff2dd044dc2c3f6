"""Postgres's clock, read without asking Postgres.

Two hosts' wall clocks are never subtracted (nor this host's, before and after an administrator set it). Each replica
measures by how much Postgres's clock is ahead of its own monotonic one, and every time that is stored or compared is
taken from that.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from sqlalchemy import text

from viewserver.store.engine import Database

_NOW = text("SELECT extract(epoch FROM clock_timestamp())::float8 AS seconds")
_TRIES = 5


@dataclass(frozen=True, slots=True)
class ServerClock:
    """A measurement; take another after a reconnection, and now and then, since the two clocks drift apart."""

    offset: float
    """Seconds since 1970 on Postgres's clock when this process's monotonic clock stood at 0."""
    uncertainty: float
    """Seconds: half of the round trip that it was measured by."""

    @classmethod
    async def measure(cls, database: Database) -> Self:
        """By the shortest of a few round trips, whose middle is when Postgres looked. Raises Unavailable."""
        best: Self | None = None
        async with database.snapshot() as conn:
            await conn.execute(_NOW)  # parsed and planned before it is timed
            for _ in range(_TRIES):
                sent = time.monotonic()
                seconds: float = (await conn.execute(_NOW)).scalar_one()
                received = time.monotonic()
                found = cls(seconds - (sent + received) / 2, (received - sent) / 2)
                if best is None or found.uncertainty < best.uncertainty:
                    best = found
        assert best is not None
        return best

    def now(self) -> datetime:
        return self.at(time.monotonic())

    def at(self, monotonic: float) -> datetime:
        """What Postgres's clock showed at a reading of `time.monotonic`."""
        return datetime.fromtimestamp(self.offset + monotonic, UTC)
