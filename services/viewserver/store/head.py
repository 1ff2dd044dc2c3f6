"""The head: the one row that says which revision of the network is the last, in which epoch.

begin ── lock_head ── (fold what is missing, validate) ── changes.append ── commit ── NOTIFY goes out
             └─ every other writer, of every replica, waits here ──┘
"""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True, order=True)
class Head:
    epoch: int
    revision: int


_READ = text("SELECT epoch, revision FROM head")
_LOCK = text("SELECT epoch, revision FROM head FOR UPDATE")


async def read_head(conn: AsyncConnection) -> Head:
    """As last committed. Waits for nobody."""
    row = (await conn.execute(_READ)).one()
    return Head(row.epoch, row.revision)


async def lock_head(conn: AsyncConnection) -> Head:
    """As last committed, and nobody else moves it before this transaction ends. Raises Unavailable after the lock
    timeout (`engine.LOCK_TIMEOUT`)."""
    row = (await conn.execute(_LOCK)).one()
    return Head(row.epoch, row.revision)
