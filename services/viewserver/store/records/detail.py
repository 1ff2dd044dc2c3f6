"""For each node: when it was told a version, and what it told of what it enforces. Kept for hours; `store.reports` writes it.

What befell a change on a node is found among the node's rows since the change was committed: the first that it was told at or
past the change, and the first that it had applied at or past it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from viewserver.model.change import Change
from viewserver.store.head import Head

SLACK: Final = "interval '1 second'"
"""Postgres's clock as two replicas know it, and as it stood when a change was written and not yet committed."""
TIMINGS_WITHIN: Final = "interval '1 minute'"
"""A report that brings the timings of what was told in passing."""

FIRST_APPLIED: Final = f"""
    SELECT at, version FROM enforced
    WHERE enforced.node = wanted.node AND at >= since.at - {SLACK} AND epoch = since.epoch AND version >= since.revision
    ORDER BY at LIMIT 1
"""  # noqa: S608 - our own constants
ITS_TIMINGS: Final = f"""
    SELECT timings FROM enforced
    WHERE enforced.node = wanted.node AND at >= applied.at AND at < applied.at + {TIMINGS_WITHIN} AND epoch = since.epoch
      AND version = applied.version AND timings <> '{{}}'
    ORDER BY at LIMIT 1
"""  # noqa: S608
FIRST_TOLD: Final = f"""
    SELECT at FROM answered
    WHERE answered.node = wanted.node AND at >= since.at - {SLACK} AND epoch = since.epoch AND version >= since.revision
    ORDER BY at LIMIT 1
"""  # noqa: S608
"""Clauses on `wanted (node)`, `since (at, epoch, revision)` and each other."""

_CHANGE = text(f"""
SELECT wanted.node, told.at AS told_at, applied.at AS applied_at, applied.version, timings.timings
FROM (SELECT CAST(:at AS timestamptz) AS at, CAST(:epoch AS bigint) AS epoch, CAST(:revision AS bigint) AS revision) AS since
CROSS JOIN unnest(CAST(:nodes AS text[])) AS wanted (node)
LEFT JOIN LATERAL ({FIRST_APPLIED}) AS applied ON true
LEFT JOIN LATERAL ({ITS_TIMINGS}) AS timings ON true
LEFT JOIN LATERAL ({FIRST_TOLD}) AS told ON true
""").columns(timings=JSONB)  # noqa: S608

# A rejected attempt at a later version left this change out as well. It was over when the node next told something else.
_REJECTIONS = text(f"""
SELECT node, enforced.at, attempted, failures, over.at AS over_at
FROM enforced LEFT JOIN LATERAL (
    SELECT later.at FROM enforced AS later
    WHERE later.node = enforced.node AND later.at > enforced.at AND later.state <> 'rejected' ORDER BY later.at LIMIT 1
) AS over ON true
WHERE state = 'rejected' AND attempted >= :revision AND attempted_epoch = :epoch AND coalesce(version, 0) < :revision
  AND enforced.at >= CAST(:at AS timestamptz) - {SLACK} AND node = ANY(CAST(:nodes AS text[]))
ORDER BY enforced.at
LIMIT :limit
""").columns(failures=JSONB)  # noqa: S608

_FIRST_OF_EACH = text("""
SELECT node, version, min(at) AS at FROM enforced
WHERE at >= CAST(:since AS timestamptz) AND epoch = :epoch AND version >= :revision
GROUP BY node, version ORDER BY node, version
""")

_OF_NODE = text("""
SELECT epoch, version, at, state, attempted_epoch, attempted, failures, timings FROM enforced
WHERE node = :node AND at < CAST(:before AS timestamptz) ORDER BY at DESC LIMIT :limit
""").columns(failures=JSONB, timings=JSONB)


@dataclass(frozen=True, slots=True)
class OnNode:
    """How one change came to one node."""

    node: str
    told_at: datetime | None
    """When its view request was first answered with a version at or past the change."""
    applied_at: datetime | None
    """When it first told that it had applied one."""
    applied_version: int | None
    timings: dict[str, float]
    """Milliseconds by stage, on the agent's own clock."""


@dataclass(frozen=True, slots=True)
class Rejection:
    node: str
    at: datetime
    attempted: int
    failures: list[dict[str, str]]
    over_at: datetime | None
    """When the node next told something else than a rejection."""


@dataclass(frozen=True, slots=True)
class Enforced:
    """What a node told at a time."""

    epoch: int | None
    version: int | None
    at: datetime
    state: str
    attempted_epoch: int | None
    attempted: int | None
    failures: list[dict[str, str]]
    timings: dict[str, float]


async def change_on_nodes(conn: AsyncConnection, change: Change) -> list[OnNode]:
    """For each node that the change affects."""
    asked = {"at": change.at, "epoch": change.epoch, "revision": change.revision, "nodes": list(change.affected)}
    return [
        OnNode(row.node, row.told_at, row.applied_at, row.version, row.timings or {})
        for row in await conn.execute(_CHANGE, asked)
    ]


async def rejections_of(conn: AsyncConnection, change: Change, limit: int = 1000) -> list[Rejection]:
    """Attempts that would have brought the change in, oldest first."""
    asked = {"at": change.at, "epoch": change.epoch, "revision": change.revision}
    return [
        Rejection(row.node, row.at, row.attempted, row.failures, row.over_at)
        for row in await conn.execute(_REJECTIONS, asked | {"nodes": list(change.affected), "limit": limit})
    ]


async def applied_since(conn: AsyncConnection, head: Head, at: datetime) -> dict[str, list[tuple[int, datetime]]]:
    """By node: the versions of this epoch from this revision on, ascending, and since when one at or past each was applied."""
    found: dict[str, list[tuple[int, datetime]]] = {}
    asked = {"since": at, "epoch": head.epoch, "revision": head.revision}
    for row in await conn.execute(_FIRST_OF_EACH, asked):
        found.setdefault(row.node, []).append((row.version, row.at))
    for versions in found.values():  # a node that fell back told an older version later than a newer one
        for index in range(len(versions) - 2, -1, -1):
            versions[index] = (versions[index][0], min(versions[index][1], versions[index + 1][1]))
    return found


async def told_by_node(conn: AsyncConnection, node: str, before: datetime, limit: int) -> list[Enforced]:
    """What the node told of what it enforces, the newest first."""
    return [
        Enforced(
            row.epoch,
            row.version,
            row.at,
            row.state,
            row.attempted_epoch,
            row.attempted,
            row.failures,
            row.timings,
        )
        for row in await conn.execute(_OF_NODE, {"node": node, "before": before, "limit": limit})
    ]


def first_failure(failures: Sequence[dict[str, Any]]) -> str | None:
    return f"{failures[0]['object']}: {failures[0]['reason']}" if failures else None
