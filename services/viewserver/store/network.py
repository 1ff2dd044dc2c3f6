"""The whole network as rows, for a replica that starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viewserver.store.head import Head


@dataclass(frozen=True, slots=True)
class Stored:
    head: Head
    objects: list[tuple[str, str, Any]]
    """kind, id, value."""
    versions: dict[str, int]
    """Of every node that any change has ever affected: the last revision that did."""

    @property
    def epoch(self) -> int:
        return self.head.epoch

    @property
    def revision(self) -> int:
        return self.head.revision


_HEAD = text("SELECT epoch, revision, current_setting('transaction_isolation') AS isolation FROM head")
_OBJECTS = text("SELECT kind, id, value::text AS value FROM objects")
_CHANGED = text("""
SELECT kind, id, revision FROM objects
JOIN unnest(CAST(:kinds AS text[]), CAST(:ids AS text[])) AS wanted (kind, id) USING (kind, id)
""")
_VERSIONS = text("""
SELECT node, max(version) AS version FROM (
    SELECT node, version FROM node_versions
    UNION ALL
    SELECT node, revision FROM changes, unnest(affected) AS node
) AS known GROUP BY node
""")


async def load(conn: AsyncConnection) -> Stored:
    """Head, objects and versions as of one revision. `conn` is a `Database.snapshot`."""
    head = (await conn.execute(_HEAD)).one()
    if head.isolation != "repeatable read":
        raise ValueError("load reads three tables, so it needs a snapshot, not a READ COMMITTED transaction")
    objects = [(kind, name, orjson.loads(value)) for kind, name, value in await conn.execute(_OBJECTS)]
    versions: dict[str, int] = {node: version for node, version in await conn.execute(_VERSIONS)}  # noqa: C416 - rows are not pairs
    return Stored(Head(head.epoch, head.revision), objects, versions)


async def last_changed(conn: AsyncConnection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Of these objects that there are: the revision that wrote each last."""
    asked = {"kinds": [kind for kind, _ in keys], "ids": [name for _, name in keys]}
    return {(row.kind, row.id): row.revision for row in await conn.execute(_CHANGED, asked)}
