"""What befell nodes and addresses: one row each, numbered in the order of their commits.

    rejected           a node took nothing of a view           failures in `more`
    degraded           it closed objects of a view             likewise
    accepted           it has neither reason any more
    drift-repaired     somebody changed what is enforced       culprit; when, by the node's clock, in `more`
    sessions-cut       sessions ended with what allowed them
    preflight-failed   the host lacks something                found and remedy in `more`
    preflight-mended
    fence-raised, fence-lifted, fence-broken                   address in `more`
    silent, back       nothing is heard of a node; it is heard again

Whoever writes holds the lock of `report_head` from before a number is drawn, so whoever follows by number misses none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

CHANNEL: Final = "verge_happenings"
KINDS: Final = (
    "rejected",
    "degraded",
    "accepted",
    "drift-repaired",
    "sessions-cut",
    "preflight-failed",
    "preflight-mended",
    "fence-raised",
    "fence-lifted",
    "fence-broken",
    "silent",
    "back",
)
LACKS: Final = """'$.preflight[*] ? (@.ok == false && @.severity == "failing")'"""
"""In a report: the checks whose failing keeps views out."""


@dataclass(frozen=True, slots=True)
class Happening:
    id: int
    at: datetime
    kind: str
    node: str | None
    what: str
    culprit: str | None
    revision: int | None
    """The version that a node speaks of, or the change."""
    more: dict[str, Any]

    def to_wire(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "at": self.at.isoformat(),
            "kind": self.kind,
            "node": self.node,
            "what": self.what,
            "culprit": self.culprit,
            "revision": self.revision,
            "more": self.more,
        }


_TOLD: Final = "SELECT pg_notify('verge_happenings', '') FROM told LIMIT 1"

# An agent repeats its latest few drifts in every report: those that are told already are known by the node's own time of
# them. The rest is compared with what the node reported before.
_OF_REPORTS = text(f"""
WITH input AS MATERIALIZED (
    SELECT i.node, i.state, version, attempted, i.report::jsonb AS report, i.seen_at, old.report AS before,
           old.state AS was, old.applied_version AS had, old.attempted_version AS tried
    FROM unnest(
        CAST(:node AS text[]), CAST(:state AS text[]), CAST(:version AS bigint[]), CAST(:attempted_version AS bigint[]),
        CAST(:report AS text[]), CAST(:seen_at AS timestamptz[]), CAST(:sequence AS bigint[]), CAST(:boot_id AS text[])
    ) AS i (node, state, version, attempted, report, seen_at, sequence, boot_id)
    LEFT JOIN LATERAL (SELECT * FROM reports WHERE reports.node = i.node LIMIT 1) AS old ON true
    WHERE NOT coalesce(old.boot_id = i.boot_id AND old.sequence > i.sequence, false)
), told AS (
    INSERT INTO happenings (at, kind, node, what, culprit, revision, more)
    SELECT seen_at, news.* FROM input CROSS JOIN LATERAL (
        SELECT state, node,
               coalesce(report #>> '{{failures,0,object}}' || ': ' || (report #>> '{{failures,0,reason}}'), 'gave no reason'),
               CAST(NULL AS text), coalesce(attempted, version), jsonb_build_object('failures', report -> 'failures')
        WHERE state IN ('rejected', 'degraded') AND (was IS DISTINCT FROM state OR tried IS DISTINCT FROM attempted
              OR before -> 'failures' IS DISTINCT FROM report -> 'failures')
        UNION ALL
        SELECT 'accepted', node, 'was ' || was, NULL, version, '{{}}'
        WHERE was IN ('rejected', 'degraded') AND state NOT IN ('rejected', 'degraded')
        UNION ALL
        SELECT 'sessions-cut', node, (report ->> 'sessions_cut') || ' sessions ended', NULL, version,
               jsonb_build_object('sessions', report -> 'sessions_cut')
        WHERE CAST(report ->> 'sessions_cut' AS bigint) > 0
          AND (had, before -> 'sessions_cut') IS DISTINCT FROM (version, report -> 'sessions_cut')
        UNION ALL
        SELECT 'preflight-failed', node, (one ->> 'check') || ': ' || (one ->> 'found'), NULL, NULL, one
        FROM jsonb_path_query(report, {LACKS}) AS one
        WHERE NOT EXISTS (SELECT FROM jsonb_path_query(before, {LACKS}) AS known WHERE known ->> 'check' = one ->> 'check')
        UNION ALL
        SELECT 'preflight-mended', node, one ->> 'check', NULL, NULL, one
        FROM jsonb_path_query(before, {LACKS}) AS one
        WHERE report -> 'preflight' <> '[]' AND NOT EXISTS (
            SELECT FROM jsonb_path_query(report, {LACKS}) AS known WHERE known ->> 'check' = one ->> 'check')
        UNION ALL
        SELECT 'drift-repaired', node, one ->> 'what', one ->> 'culprit', version, one - 'what' - 'culprit'
        FROM jsonb_array_elements(report -> 'drift') AS one
        WHERE NOT coalesce(before -> 'drift' @> jsonb_build_array(one), false)
          AND NOT EXISTS (SELECT FROM happenings AS known WHERE known.node = input.node AND known.kind = 'drift-repaired'
                          AND known.at > seen_at - interval '1 day' AND known.what = one ->> 'what'
                          AND known.more ->> 'at' = one ->> 'at')
    ) AS news
    RETURNING id
)
{_TOLD}
""")  # noqa: S608 - our own constants

_TELL = text(f"""
WITH turn AS (
    UPDATE report_head SET seq = seq RETURNING seq
), told AS (
    INSERT INTO happenings (at, kind, node, what, revision, more)
    SELECT i.* FROM turn, jsonb_to_recordset(CAST(:news AS jsonb)) AS i (
        at timestamptz, kind text, node text, what text, revision bigint, more jsonb)
    RETURNING id
)
{_TOLD}
""")  # noqa: S608

_COLUMNS: Final = "id, at, kind, node, what, culprit, revision, more"
_SINCE = text(f"SELECT {_COLUMNS} FROM happenings WHERE id > :after ORDER BY id LIMIT :limit").columns(more=JSONB)  # noqa: S608
_LAST = text("SELECT coalesce(max(id), 0) FROM happenings")
_PAGE = text(f"""
SELECT {_COLUMNS} FROM happenings
WHERE id < CAST(:before AS bigint)
  AND (CAST(:node AS text) IS NULL OR node = :node)
  AND (CAST(:kinds AS text[]) IS NULL OR kind = ANY(CAST(:kinds AS text[])))
  AND at >= CAST(:since AS timestamptz) AND at < CAST(:until AS timestamptz)
ORDER BY id DESC LIMIT :limit
""").columns(more=JSONB)  # noqa: S608


async def tell_of_reports(conn: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """What is new in these reports, before they are stored: `rows` as `store.reports` makes them. The lock is held already."""
    columns = ("node", "state", "version", "attempted_version", "report", "seen_at", "sequence", "boot_id")
    await conn.execute(_OF_REPORTS, {column: [row[column] for row in rows] for column in columns})


async def tell(conn: AsyncConnection, news: Sequence[dict[str, Any]]) -> None:
    """`news` with `at`, `kind`, `node`, `what`, `revision`, `more`."""
    if news:
        await conn.execute(_TELL, {"news": orjson.dumps(list(news)).decode()})


async def happenings_since(conn: AsyncConnection, after: int, limit: int = 500) -> list[Happening]:
    """Ascending."""
    return [_happening(row) for row in await conn.execute(_SINCE, {"after": after, "limit": limit})]


async def last_happening(conn: AsyncConnection) -> int:
    found: int = (await conn.execute(_LAST)).scalar_one()
    return found


async def happenings_page(
    conn: AsyncConnection,
    *,
    before: int,
    node: str | None,
    kinds: Sequence[str] | None,
    since: datetime,
    until: datetime,
    limit: int,
) -> list[Happening]:
    """The newest first."""
    asked = {
        "before": before,
        "node": node,
        "kinds": None if kinds is None else list(kinds),
        "since": since,
        "until": until,
        "limit": limit,
    }
    return [_happening(row) for row in await conn.execute(_PAGE, asked)]


def _happening(row: Row[Any]) -> Happening:
    return Happening(row.id, row.at, row.kind, row.node, row.what, row.culprit, row.revision, row.more)
