"""Of which nodes it was told that nothing is heard: so that it is told once, and their return once, by whichever replica."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_KNOWN = text("SELECT node, since FROM silences")
_BEGIN = text("""
INSERT INTO silences (node, since)
SELECT * FROM unnest(CAST(:nodes AS text[]), CAST(:since AS timestamptz[])) ON CONFLICT DO NOTHING RETURNING node
""")
_END = text("DELETE FROM silences WHERE node = ANY(CAST(:nodes AS text[])) RETURNING node")


async def silences(conn: AsyncConnection) -> dict[str, datetime]:
    """By node: since when."""
    return {row.node: row.since for row in await conn.execute(_KNOWN)}


async def begin_silences(conn: AsyncConnection, since: dict[str, datetime]) -> list[str]:
    """Those of the nodes that nobody had told of."""
    asked = {"nodes": list(since), "since": list(since.values())}
    return [row.node for row in await conn.execute(_BEGIN, asked)]


async def end_silences(conn: AsyncConnection, nodes: Sequence[str]) -> list[str]:
    """Those of the nodes whose return nobody had told of."""
    return [row.node for row in await conn.execute(_END, {"nodes": list(nodes)})]
