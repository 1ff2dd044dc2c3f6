"""How far behind the cloud was, every few seconds: one small row, by whichever replica was first."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

EVERY_S: Final = 5


@dataclass(frozen=True, slots=True)
class Sample:
    at: datetime
    epoch: int
    revision: int
    nodes: int
    """That matter: seen, or hosting an instance."""
    behind: int
    silent: int
    rejected: int
    degraded: int
    converged: int
    lag_s: float
    """Of the node furthest behind."""


_COLUMNS: Final = "at, epoch, revision, nodes, behind, silent, rejected, degraded, converged, lag_s"
_KEEP = text(f"""
INSERT INTO samples ({_COLUMNS})
VALUES (:at, :epoch, :revision, :nodes, :behind, :silent, :rejected, :degraded, :converged, :lag_s) ON CONFLICT DO NOTHING
""")  # noqa: S608 - our own constants
_BY_MINUTE = text("""
SELECT date_trunc('minute', at) AS at, max(epoch) AS epoch, max(revision) AS revision, max(nodes) AS nodes,
       max(behind) AS behind, max(silent) AS silent, max(rejected) AS rejected, max(degraded) AS degraded,
       min(CASE WHEN nodes > 0 THEN converged::float8 / nodes ELSE 1 END) AS converged_share, max(lag_s) AS lag_s
FROM samples WHERE at >= CAST(:since AS timestamptz) GROUP BY 1 ORDER BY 1
""")


async def keep_sample(conn: AsyncConnection, sample: Sample) -> None:
    """`at` is the beginning of its few seconds; another of the same is passed over."""
    await conn.execute(_KEEP, {name: getattr(sample, name) for name in _COLUMNS.split(", ")})


async def samples_by_minute(conn: AsyncConnection, since: datetime) -> dict[datetime, dict[str, Any]]:
    """The worst of each minute, for minutes of which there is a sample."""
    return {
        row.at: {
            "revision": row.revision,
            "nodes": row.nodes,
            "behind": row.behind,
            "silent": row.silent,
            "rejected": row.rejected,
            "degraded": row.degraded,
            "converged_share": round(row.converged_share, 6),
            "lag_s": round(row.lag_s, 3),
        }
        for row in await conn.execute(_BY_MINUTE, {"since": since})
    }
