"""The epoch: one unbroken history of revisions.

A database that was restored, or a standby that was promoted, may lack revisions that nodes have already seen, and will
use their numbers again for other changes. So it begins a new epoch before it serves anybody.
"""

import logging
from typing import Any

import orjson
from asyncpg import exceptions as pg
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from viewserver.store.head import Head, lock_head

log = logging.getLogger(__name__)

Lineage = dict[str, Any]

# A dump restored elsewhere is in another cluster; restored into another database, or over this one, its tables are
# other objects. Point-in-time recovery and promotion begin a timeline: as part of the current WAL file's name it is
# true from the first write on, whereas pg_control_checkpoint() tells the old one until the next checkpoint.
_HERE = {
    "system": "SELECT system_identifier::text FROM pg_control_system()",
    "timeline": "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)",
    "database": "SELECT oid::text FROM pg_database WHERE datname = current_database()",
    "table": "SELECT 'head'::regclass::oid::text",
}
_RECORDED = text("SELECT lineage FROM head").columns(lineage=JSONB)
_RECORD = text("UPDATE head SET lineage = CAST(CAST(:lineage AS text) AS jsonb)")

# The same backup may be restored twice, and both histories would be the epoch after the backup's. Seconds make the
# second one later (nine digits of them, as ETags allow, last until 2056).
_RAISE = text("""
UPDATE head SET epoch = greatest(epoch + 1, extract(epoch FROM clock_timestamp() - timestamptz '2025-01-01Z')::bigint)
RETURNING epoch, revision, pg_notify('verge_changes', revision::text)
""")


async def settle_epoch(conn: AsyncConnection) -> Head:
    """The head to serve from: in a new epoch, when this is not the database that the last replica started with.

    Run it at every start, in a transaction of its own. What Postgres does not let this role ask is left out of the
    comparison (managed services may hide the system identifier).
    """
    head = await lock_head(conn)
    recorded: Lineage | None = (await conn.execute(_RECORDED)).scalar_one()
    here = {key: value for key, query in _HERE.items() if (value := await _ask(conn, query)) is not None}
    if recorded == here:
        return head
    differing = sorted(key for key, value in here.items() if recorded is not None and recorded.get(key, value) != value)
    if differing:
        head = await raise_epoch(
            conn, f"the database is another one than before: its {' and '.join(differing)} changed"
        )
    await conn.execute(_RECORD, {"lineage": orjson.dumps((recorded or {}) | here).decode()})
    return head


async def raise_epoch(conn: AsyncConnection, why: str) -> Head:
    """Begin a new epoch: every node fetches its whole view again. For an operator who restored a backup in place,
    which nothing in the database shows."""
    await lock_head(conn)
    row = (await conn.execute(_RAISE)).one()
    log.warning("epoch raised to %d at revision %d: %s", row.epoch, row.revision, why)
    return Head(row.epoch, row.revision)


async def _ask(conn: AsyncConnection, query: str) -> str | None:
    try:
        async with conn.begin_nested():
            answer: str | None = (await conn.execute(text(query))).scalar_one_or_none()
            return answer
    except DBAPIError as error:
        if isinstance(error.orig and error.orig.__cause__, (pg.InsufficientPrivilegeError, pg.UndefinedFunctionError)):
            return None
        raise
