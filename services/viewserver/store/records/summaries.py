"""What stays of a change when the detail goes: how many nodes it affected, how many applied it, after how long, by stages.

A summary is begun when the change is known and filled as nodes apply it, each looked up once. While a node is missing, the
values behind the percentiles are kept with it: one that comes back after a day is a value among the others, whatever became
of their detail. Nodes that had never been seen and host nothing, and those removed since, are not counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from viewserver.store.records.detail import FIRST_APPLIED, FIRST_TOLD, ITS_TIMINGS

STAGES: Final = ("fetch", "plan", "apply", "verify")
AT_ONCE: Final = 500
"""Changes begun in one statement."""

_LAST = text("""
SELECT coalesce(max(revision), -1) FROM summaries WHERE epoch = :epoch
""")

# Beginning is also where fences are told of, once for each change: only who began the summary tells.
_BEGIN = text("""
WITH fresh AS MATERIALIZED (
    SELECT changes.*, ARRAY(
        SELECT node FROM unnest(affected) AS node
        WHERE EXISTS (SELECT FROM objects WHERE kind = 'node' AND id = node)
          AND (changes.revision, node) NOT IN (SELECT * FROM unnest(CAST(:revisions AS bigint[]), CAST(:unseen AS text[])))
    ) AS counted
    FROM changes WHERE revision > :after AND revision <= :through AND epoch = :epoch ORDER BY revision LIMIT :limit
), begun AS (
    INSERT INTO summaries (revision, epoch, at, actor, caused_by, operations, objects, affected, missing, applied_ms, told_ms,
                           stages_ms, marks, exceptions, rejections, updated_at)
    SELECT revision, epoch, at, actor, caused_by, jsonb_array_length(operations),
           ARRAY(SELECT (one ->> 'kind') || '/' || (one ->> 'id') FROM jsonb_array_elements(operations) AS one
                 WHERE one ->> 'kind' <> 'withdrawal' LIMIT 12),
           cardinality(counted), counted, '{}', '{}', '{}', '{}', '{}', 0, clock_timestamp()
    FROM fresh
    ON CONFLICT DO NOTHING
    RETURNING revision
), turn AS (
    UPDATE report_head SET seq = seq
    WHERE EXISTS (SELECT FROM begun JOIN fresh USING (revision) WHERE operations @> '[{"kind": "withdrawal"}]')
    RETURNING seq
), told AS (
    INSERT INTO happenings (at, kind, node, what, revision, more)
    SELECT fresh.at, CASE WHEN one #> '{after,fence}' IS NOT NULL AND one #> '{after,fence}' <> 'null' THEN 'fence-raised'
                          WHEN fresh.actor = 'verge' THEN 'fence-lifted' ELSE 'fence-broken' END,
           coalesce(one #>> '{after,node}', one #>> '{before,node}'),
           (one ->> 'id') || CASE WHEN one #> '{after,fence}' IS NOT NULL AND one #> '{after,fence}' <> 'null'
                                  THEN ' waits for ' ELSE ' no longer waits for ' END
                          || coalesce(one #>> '{after,node}', one #>> '{before,node}'),
           fresh.revision, jsonb_build_object('address', one ->> 'id', 'actor', fresh.actor, 'caused_by', fresh.caused_by)
    FROM turn, begun JOIN fresh USING (revision), jsonb_array_elements(fresh.operations) AS one
    WHERE one ->> 'kind' = 'withdrawal'
      AND (one #>> '{after,fence}') IS DISTINCT FROM (one #>> '{before,fence}')
    RETURNING id
)
SELECT (SELECT count(*) FROM begun) AS begun, (SELECT max(revision) FROM fresh) AS through,
       CASE WHEN EXISTS (SELECT FROM told) THEN pg_notify('verge_happenings', '') END AS notified
""")

_FILL = text(f"""
WITH since AS MATERIALIZED (
    SELECT revision, epoch, at, missing FROM summaries
    WHERE revision = :revision AND epoch = :epoch AND missing <> '{{}}' FOR UPDATE
), found AS MATERIALIZED (
    SELECT wanted.node, greatest(0, extract(epoch FROM applied.at - since.at) * 1000)::float8 AS applied_ms,
           greatest(0, extract(epoch FROM told.at - since.at) * 1000)::float8 AS told_ms, timings.timings
    FROM since CROSS JOIN unnest(since.missing) AS wanted (node)
    CROSS JOIN LATERAL ({FIRST_APPLIED}) AS applied
    LEFT JOIN LATERAL ({ITS_TIMINGS}) AS timings ON true
    LEFT JOIN LATERAL ({FIRST_TOLD}) AS told ON true
), missing AS (
    SELECT ARRAY(SELECT node FROM since CROSS JOIN unnest(missing) AS node
                 WHERE NOT EXISTS (SELECT FROM found WHERE found.node = node.node)
                   AND EXISTS (SELECT FROM objects WHERE kind = 'node' AND id = node)) AS nodes
), stages AS (
    SELECT jsonb_object_agg(stage, values) AS values FROM (
        SELECT stage, coalesce(s.stages_ms -> stage, '[]') || coalesce(
            (SELECT jsonb_agg(timings -> stage) FROM found WHERE jsonb_typeof(timings -> stage) = 'number'), '[]') AS values
        FROM summaries AS s JOIN since USING (revision, epoch), unnest(CAST(:stages AS text[])) AS stage
    ) AS each
)
UPDATE summaries AS s SET
    missing = missing.nodes,
    affected = cardinality(s.applied_ms) + (SELECT count(*) FROM found) + cardinality(missing.nodes),
    applied_ms = s.applied_ms || ARRAY(SELECT applied_ms FROM found),
    told_ms = s.told_ms || ARRAY(SELECT told_ms FROM found WHERE told_ms IS NOT NULL),
    stages_ms = stages.values,
    exceptions = CAST(:exceptions AS text[]),
    rejections = (SELECT count(DISTINCT node) FROM enforced
                  WHERE state = 'rejected' AND attempted = s.revision AND attempted_epoch = s.epoch
                    AND enforced.at >= s.at),
    updated_at = clock_timestamp()
FROM since, missing, stages
WHERE s.revision = since.revision AND s.epoch = since.epoch AND s.at = since.at
""")  # noqa: S608 - our own constants

# percentile_disc is the nearest rank: each figure is one that was observed. Once nobody is missing, the marks are final and
# the values are let go.
_MARKS: Final = """(
    SELECT jsonb_build_object('p50', m[1], 'p90', m[2], 'p99', m[3], 'max', m[4])
    FROM (SELECT percentile_disc(ARRAY[0.5, 0.9, 0.99, 1]) WITHIN GROUP (ORDER BY ms) AS m FROM {values}) AS ranked
)"""
_RANK = text(f"""
UPDATE summaries AS s SET marks = jsonb_build_object(
    'applied', {_MARKS.format(values="unnest(s.applied_ms) AS ms")},
    'told', {_MARKS.format(values="unnest(s.told_ms) AS ms")}
) || (
    SELECT jsonb_object_agg(stage, {
    _MARKS.format(
        values="(SELECT CAST(value AS float8) AS ms FROM jsonb_array_elements(s.stages_ms -> stage) AS value) AS each"
    )
})
    FROM unnest(CAST(:stages AS text[])) AS stage
)
WHERE s.revision = :revision AND s.epoch = :epoch
""")  # noqa: S608
_LET_GO = text("""
UPDATE summaries SET applied_ms = '{}', told_ms = '{}', stages_ms = '{}'
WHERE revision = :revision AND epoch = :epoch AND missing = '{}'
""")

# Nodes that have come back to changes which no replica has in mind any more.
_LATE = text("""
SELECT s.revision FROM summaries AS s
WHERE s.missing <> '{}' AND s.epoch = :epoch AND s.revision < :before AND EXISTS (
    SELECT FROM unnest(s.missing) AS node JOIN reports ON reports.node = node.node
    WHERE reports.epoch = s.epoch AND reports.applied_version >= s.revision)
ORDER BY s.revision LIMIT :limit
""")

_COLUMNS: Final = """revision, epoch, at, actor, caused_by, operations, objects, affected, cardinality(missing) AS missing,
    missing[1:100] AS named, marks, exceptions, rejections, updated_at"""
_OF = text(
    f"SELECT {_COLUMNS} FROM summaries WHERE revision = ANY(CAST(:revisions AS bigint[]))"  # noqa: S608
).columns(marks=JSONB)
_PAGE = text(f"""
SELECT {_COLUMNS} FROM summaries
WHERE revision < CAST(:before AS bigint) AND at >= CAST(:since AS timestamptz) AND at < CAST(:until AS timestamptz)
  AND (CAST(:actor AS text) IS NULL OR actor = :actor)
  AND (CAST(:object AS text) IS NULL OR :object = ANY(objects))
ORDER BY revision DESC LIMIT :limit
""").columns(marks=JSONB)  # noqa: S608


@dataclass(frozen=True, slots=True)
class Summary:
    revision: int
    epoch: int
    at: datetime
    actor: str
    caused_by: int | None
    operations: int
    objects: tuple[str, ...]
    """`instance/i-…`; the first dozen."""
    affected: int
    missing: int
    """Nodes that had not applied it at `updated_at`."""
    named: tuple[str, ...]
    """The first hundred of them."""
    marks: Mapping[str, Mapping[str, float] | None]
    """Of `applied`, `told` and each stage: milliseconds; None where nobody told."""
    exceptions: tuple[str, ...]
    rejections: int
    """Nodes that rejected it at first, or still do."""
    updated_at: datetime

    def to_wire(self) -> dict[str, Any]:
        return {
            "affected": self.affected,
            "applied": self.affected - self.missing,
            "ms": _marks(self.marks.get("applied")),
            "told_ms": _marks(self.marks.get("told")),
            "stages_ms": {stage: _marks(self.marks.get(stage)) for stage in STAGES},
            "exceptions": list(self.exceptions),
            "rejections": self.rejections,
            "missing": list(self.named),
        }


def _marks(found: Mapping[str, float] | None) -> dict[str, float | None]:
    """Rounded here, as figures from elsewhere are: Postgres rounds halves another way."""
    exact = found or {}
    return {mark: None if exact.get(mark) is None else round(exact[mark], 1) for mark in ("p50", "p90", "p99", "max")}


async def last_begun(conn: AsyncConnection, epoch: int) -> int:
    """-1: none."""
    found: int = (await conn.execute(_LAST, {"epoch": epoch})).scalar_one()
    return found


async def begin_summaries(
    conn: AsyncConnection, epoch: int, after: int, through: int, unseen: Sequence[tuple[int, str]]
) -> int:
    """Of the changes above `after`, up to `through` or to as many as are taken at once; `unseen` by revision. Returns how far
    it came."""
    asked = {
        "epoch": epoch,
        "after": after,
        "through": through,
        "revisions": [revision for revision, _ in unseen],
        "unseen": [node for _, node in unseen],
        "limit": AT_ONCE,
    }
    row = (await conn.execute(_BEGIN, asked)).one()
    return through if row.through is None else int(row.through)


async def fill_summary(conn: AsyncConnection, epoch: int, revision: int, exceptions: Sequence[str]) -> None:
    """Look up the nodes that are missing from it."""
    asked = {"epoch": epoch, "revision": revision}
    filled = await conn.execute(_FILL, {**asked, "exceptions": list(exceptions), "stages": list(STAGES)})
    if filled.rowcount:
        await conn.execute(_RANK, {**asked, "stages": list(STAGES)})
        await conn.execute(_LET_GO, asked)


async def late_summaries(conn: AsyncConnection, epoch: int, before: int, limit: int) -> list[int]:
    """Changes below `before` that nodes have applied which their summaries still miss."""
    return [row.revision for row in await conn.execute(_LATE, {"epoch": epoch, "before": before, "limit": limit})]


async def summaries_of(conn: AsyncConnection, revisions: Sequence[int]) -> dict[tuple[int, int], Summary]:
    """By epoch and revision."""
    found = [_summary(row) for row in await conn.execute(_OF, {"revisions": list(revisions)})]
    return {(one.epoch, one.revision): one for one in found}


async def summaries_page(
    conn: AsyncConnection,
    *,
    before: int,
    since: datetime,
    until: datetime,
    actor: str | None,
    object: str | None,  # noqa: A002 - the word of the API
    limit: int,
) -> list[Summary]:
    """The newest first."""
    asked = {"before": before, "since": since, "until": until, "actor": actor, "object": object, "limit": limit}
    return [_summary(row) for row in await conn.execute(_PAGE, asked)]


def _summary(row: Row[Any]) -> Summary:
    return Summary(
        row.revision,
        row.epoch,
        row.at,
        row.actor,
        row.caused_by,
        row.operations,
        tuple(row.objects),
        row.affected,
        row.missing,
        tuple(row.named),
        row.marks,
        tuple(row.exceptions),
        row.rejections,
        row.updated_at,
    )
