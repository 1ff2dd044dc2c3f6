"""The nodes' reports: one row per node, the latest; and for each node when it first applied a version.

Reports come by the thousand and are written in batches, each one statement with one NOTIFY. A batch takes the lock of
`report_head` first, so batches commit in the order of their `seq`, no follower misses one, and two replicas' batches
cannot deadlock on their nodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from verge.contract.etag import ETag
from verge.contract.report import Report
from viewserver.store.head import Head

CHANNEL = "verge_reports"


@dataclass(frozen=True, slots=True)
class NewReport:
    node: str
    report: Report
    seen_at: datetime
    """Postgres's clock (`clock.ServerClock.now`) when it came in, before it waited for its batch."""


@dataclass(frozen=True, slots=True)
class StoredReport:
    node: str
    applied: ETag | None
    attempted: ETag | None
    state: str
    report: dict[str, Any]
    """As `Report.to_wire` made it."""
    sequence: int | None
    boot_id: str | None
    seen_at: datetime
    seq: int
    """Of the batch that wrote it last; `reports_since` continues from the highest."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A node's first application of a version."""

    node: str
    epoch: int
    version: int
    at: datetime
    timings: dict[str, float]
    """Milliseconds by stage, on the agent's own clock."""


# An older sequence of the same boot is ignored, and so is its place in the log. A report without a sequence (plain
# success in a header) keeps the one that is known, and what was said of the host, of which it says nothing. The log's
# rows compare with the reports as they were before this statement, which is what one statement's parts see. Success
# told in a header has no timings; the report that follows it brings them, and the time of the first one stays.
_STORE = text("""
WITH batch AS (
    UPDATE report_head SET seq = seq + 1 RETURNING seq
), input AS (
    SELECT * FROM batch, unnest(
        CAST(:node AS text[]), CAST(:epoch AS bigint[]), CAST(:version AS bigint[]), CAST(:digest AS text[]),
        CAST(:attempted_epoch AS bigint[]), CAST(:attempted_version AS bigint[]), CAST(:attempted_digest AS text[]),
        CAST(:state AS text[]), CAST(:report AS text[]), CAST(:sequence AS bigint[]), CAST(:boot_id AS text[]),
        CAST(:seen_at AS timestamptz[]), CAST(:timings AS text[])
    ) AS i (node, epoch, applied_version, applied_digest, attempted_epoch, attempted_version, attempted_digest,
            state, report, sequence, boot_id, seen_at, timings)
), stored AS (
    INSERT INTO reports AS known
        (node, epoch, applied_version, applied_digest, attempted_epoch, attempted_version, attempted_digest,
         state, report, sequence, boot_id, seen_at, seq)
    SELECT node, epoch, applied_version, applied_digest, attempted_epoch, attempted_version, attempted_digest,
           state, report::jsonb, sequence, boot_id, seen_at, seq
    FROM input
    ON CONFLICT (node) DO UPDATE SET
        epoch = excluded.epoch, applied_version = excluded.applied_version, applied_digest = excluded.applied_digest,
        attempted_epoch = excluded.attempted_epoch, attempted_version = excluded.attempted_version,
        attempted_digest = excluded.attempted_digest, state = excluded.state,
        report = CASE WHEN excluded.boot_id IS NOT NULL THEN excluded.report ELSE excluded.report || jsonb_build_object(
            'preflight',
            coalesce(nullif(excluded.report->'preflight', '[]'), known.report->'preflight', '[]'),
            'drift', coalesce(nullif(excluded.report->'drift', '[]'), known.report->'drift', '[]')
        ) END,
        sequence = CASE WHEN excluded.boot_id IS NULL THEN known.sequence ELSE excluded.sequence END,
        boot_id = coalesce(excluded.boot_id, known.boot_id),
        seen_at = greatest(known.seen_at, excluded.seen_at), seq = excluded.seq
    WHERE NOT coalesce(known.boot_id = excluded.boot_id AND known.sequence > excluded.sequence, false)
    RETURNING node
), logged AS (
    INSERT INTO applied (node, epoch, version, at, timings)
    SELECT input.node, input.epoch, input.applied_version, input.seen_at, input.timings::jsonb
    FROM input JOIN stored USING (node) LEFT JOIN reports AS old USING (node)
    WHERE input.applied_version IS NOT NULL
      AND (old.epoch IS NULL OR (input.epoch, input.applied_version) >= (old.epoch, old.applied_version))
    ON CONFLICT (node, epoch, version) DO UPDATE SET timings = excluded.timings
    WHERE applied.timings = '{}'::jsonb AND excluded.timings <> '{}'::jsonb
)
SELECT batch.seq, pg_notify('verge_reports', batch.seq::text) FROM batch
""")

_COLUMNS = """node, epoch, applied_version, applied_digest, attempted_epoch, attempted_version, attempted_digest,
    state, report, sequence, boot_id, seen_at, seq"""
_LOAD = text(f"SELECT {_COLUMNS} FROM reports").columns(report=JSONB)  # noqa: S608
_ONE = text(f"SELECT {_COLUMNS} FROM reports WHERE node = :node").columns(report=JSONB)  # noqa: S608
_SINCE = text(f"SELECT {_COLUMNS} FROM reports WHERE seq > :seq ORDER BY seq").columns(report=JSONB)  # noqa: S608
_FORGET = text("DELETE FROM reports WHERE node = ANY(CAST(:nodes AS text[]))")
_APPLIED_FOR = text("""
SELECT first.* FROM unnest(CAST(:nodes AS text[])) AS wanted (node), LATERAL (
    SELECT node, epoch, version, at, timings FROM applied
    WHERE applied.node = wanted.node AND (epoch, version) >= (CAST(:epoch AS bigint), CAST(:revision AS bigint))
      AND version >= CAST(:revision AS bigint)
    ORDER BY epoch, version LIMIT 1
) AS first
""").columns(timings=JSONB)


async def store_reports(conn: AsyncConnection, batch: Sequence[NewReport]) -> None:
    """Write a batch; of several reports of one node in it, the last one of the newest sequence.

    The listeners of `verge_reports` hear the batch's `seq` after the commit.
    """
    rows = [_to_row(new) for new in _latest(batch)]
    if rows:
        await conn.execute(_STORE, {column: [row[column] for row in rows] for column in rows[0]})


async def load_reports(conn: AsyncConnection) -> list[StoredReport]:
    return [_to_stored(row) for row in await conn.execute(_LOAD)]


async def read_report(conn: AsyncConnection, node: str) -> StoredReport | None:
    row = (await conn.execute(_ONE, {"node": node})).one_or_none()
    return None if row is None else _to_stored(row)


async def reports_since(conn: AsyncConnection, seq: int) -> list[StoredReport]:
    """The nodes whose report changed after batch `seq`, in the order of their batches."""
    return [_to_stored(row) for row in await conn.execute(_SINCE, {"seq": seq})]


async def forget_reports(conn: AsyncConnection, nodes: Sequence[str]) -> None:
    """Of nodes that are removed: a later one of the same name begins anew. When they applied what stays on record."""
    await conn.execute(_FORGET, {"nodes": list(nodes)})


async def applied_for(conn: AsyncConnection, head: Head, nodes: Sequence[str]) -> list[Applied]:
    """For each of these nodes that has: when it first applied a view at or past this revision of this epoch."""
    asked = {"nodes": list(nodes), "epoch": head.epoch, "revision": head.revision}
    return [
        Applied(row.node, row.epoch, row.version, row.at, row.timings)
        for row in await conn.execute(_APPLIED_FOR, asked)
    ]


def _latest(batch: Sequence[NewReport]) -> list[NewReport]:
    kept: dict[str, NewReport] = {}
    for new in batch:
        known = kept.get(new.node)
        if known is None or not _older(new.report, known.report):
            kept[new.node] = new
    return list(kept.values())


def _older(report: Report, than: Report) -> bool:
    return (
        report.boot_id is not None
        and report.boot_id == than.boot_id
        and report.sequence is not None
        and than.sequence is not None
        and report.sequence < than.sequence
    )


def _to_row(new: NewReport) -> dict[str, Any]:
    report = new.report
    return {
        "node": new.node,
        **_etag_row(report.applied, "epoch", "version", "digest"),
        **_etag_row(report.attempted, "attempted_epoch", "attempted_version", "attempted_digest"),
        "state": report.state,
        "report": orjson.dumps(report.to_wire()).decode(),
        "sequence": report.sequence,
        "boot_id": report.boot_id,
        "seen_at": new.seen_at,
        "timings": orjson.dumps(report.timings_ms).decode(),
    }


def _etag_row(etag: ETag | None, epoch: str, version: str, digest: str) -> dict[str, Any]:
    if etag is None:
        return {epoch: None, version: None, digest: None}
    return {epoch: etag.epoch, version: etag.version, digest: etag.digest}


def _to_etag(epoch: int | None, version: int | None, digest: str | None) -> ETag | None:
    if epoch is None or version is None or digest is None:
        return None
    return ETag(epoch, version, digest)


def _to_stored(row: Row[Any]) -> StoredReport:
    return StoredReport(
        node=row.node,
        applied=_to_etag(row.epoch, row.applied_version, row.applied_digest),
        attempted=_to_etag(row.attempted_epoch, row.attempted_version, row.attempted_digest),
        state=row.state,
        report=row.report,
        sequence=row.sequence,
        boot_id=row.boot_id,
        seen_at=row.seen_at,
        seq=row.seq,
    )
