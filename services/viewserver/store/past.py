"""Looking back in the change records: which revision was the head at a time, which version a node was meant to have."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viewserver.store.errors import HistoryPruned

# Revisions are written one after the other, so their times ascend; from the newest back, since that is what is asked for.
_AT = text("SELECT revision FROM changes WHERE at <= :at ORDER BY revision DESC LIMIT 1")
_OLDEST = text("SELECT min(revision) FROM changes")
_VERSION = text("""
SELECT coalesce(
    (SELECT revision FROM changes WHERE revision <= :revision AND CAST(:node AS text) = ANY(affected)
     ORDER BY revision DESC LIMIT 1),
    (SELECT version FROM node_versions WHERE node = :node AND version <= :revision), 0)
""")


async def revision_at(conn: AsyncConnection, at: datetime) -> int:
    """The head at that time; 0 before the first change. Raises HistoryPruned when no record is that old."""
    found: int | None = (await conn.execute(_AT, {"at": at})).scalar_one_or_none()
    if found is not None:
        return found
    oldest: int | None = (await conn.execute(_OLDEST)).scalar_one()
    if oldest is not None and oldest > 1:
        raise HistoryPruned(f"the change records begin at revision {oldest}, after {at.isoformat()}")
    return 0


async def version_at(conn: AsyncConnection, node: str, revision: int) -> int:
    """The last revision, up to this one, that the records name the node in; 0: none."""
    found: int = (await conn.execute(_VERSION, {"node": node, "revision": revision})).scalar_one()
    return found
