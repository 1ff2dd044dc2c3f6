"""The log of applications: when each node first told of each version that it applied. `reports` writes it."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viewserver.store.head import Head

_SINCE = text("""
SELECT node, version, at FROM applied WHERE epoch = :epoch AND version >= :revision ORDER BY node, version
""")


async def applied_since(conn: AsyncConnection, head: Head) -> dict[str, list[tuple[int, datetime]]]:
    """By node: the versions of this epoch from this revision on, ascending, and when it first applied each."""
    found: dict[str, list[tuple[int, datetime]]] = {}
    for row in await conn.execute(_SINCE, {"epoch": head.epoch, "revision": head.revision}):
        found.setdefault(row.node, []).append((row.version, row.at))
    return found
