"""The nodes' reports: one row per node, the latest. What is new in them, and which versions nodes were told meanwhile, is
appended to the records (`store.records`).

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
from viewserver.store.records.happenings import tell_of_reports

CHANNEL = "verge_reports"


@dataclass(frozen=True, slots=True)
class NewReport:
    node: str
    report: Report
    seen_at: datetime
    """Postgres's clock (`clock.ServerClock.now`) when it came in, before it waited for its batch."""

    recovers: bool = False
    """The node had been rejecting or degraded."""

    @property
    def telling(self) -> bool:
        """There may be something in it that is to be told of."""
        report = self.report
        found = report.state != "applied" or report.sessions_cut or report.drift or report.preflight
        return self.recovers or bool(found)


@dataclass(frozen=True, slots=True)
class Answered:
    """A node was told a version of its view."""

    node: str
    epoch: int
    version: int
    at: datetime
    """When the answer was written, by Postgres's clock."""


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


# An older sequence of the same boot is ignored, and appends nothing. Plain success in a header keeps the sequence that is
# known, and what a report said of the host; it has no timings, which the report that follows brings. What is new shows by
# comparing with the reports as they were before this statement, which is what one statement's parts see.
_STORE = text("""
WITH batch AS (
    UPDATE report_head SET seq = seq + 1 RETURNING seq
), input AS (
    SELECT * FROM batch, unnest(
        CAST(:node AS text[]), CAST(:epoch AS bigint[]), CAST(:version AS bigint[]), CAST(:digest AS text[]),
        CAST(:attempted_epoch AS bigint[]), CAST(:attempted_version AS bigint[]), CAST(:attempted_digest AS text[]),
        CAST(:state AS text[]), CAST(:report AS text[]), CAST(:sequence AS bigint[]), CAST(:boot_id AS text[]),
        CAST(:seen_at AS timestamptz[]), CAST(:timings AS text[]), CAST(:failures AS text[])
    ) AS i (node, epoch, applied_version, applied_digest, attempted_epoch, attempted_version, attempted_digest,
            state, report, sequence, boot_id, seen_at, timings, failures)
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
    INSERT INTO enforced (node, epoch, version, at, state, attempted_epoch, attempted, failures, timings)
    SELECT input.node, input.epoch, input.applied_version, input.seen_at, input.state,
           input.attempted_epoch, input.attempted_version, input.failures::jsonb, input.timings::jsonb
    FROM input JOIN stored USING (node) LEFT JOIN reports AS old USING (node)
    WHERE (input.epoch, input.applied_version, input.state, input.attempted_epoch, input.attempted_version)
          IS DISTINCT FROM (old.epoch, old.applied_version, old.state, old.attempted_epoch, old.attempted_version)
       OR input.failures::jsonb IS DISTINCT FROM old.report -> 'failures'
       OR (input.timings <> '{}' AND old.report -> 'timings_ms' = '{}')
)
SELECT batch.seq, pg_notify('verge_reports', batch.seq::text) FROM batch
""")

_COLUMNS = """node, epoch, applied_version, applied_digest, attempted_epoch, attempted_version, attempted_digest,
    state, report, sequence, boot_id, seen_at, seq"""
_LOAD = text(f"SELECT {_COLUMNS} FROM reports").columns(report=JSONB)  # noqa: S608
_ONE = text(f"SELECT {_COLUMNS} FROM reports WHERE node = :node").columns(report=JSONB)  # noqa: S608
_SINCE = text(f"SELECT {_COLUMNS} FROM reports WHERE seq > :seq ORDER BY seq").columns(report=JSONB)  # noqa: S608
_FORGET = text("DELETE FROM reports WHERE node = ANY(CAST(:nodes AS text[]))")


_ANSWERED = text("""
INSERT INTO answered (node, epoch, version, at) SELECT * FROM unnest(
    CAST(:node AS text[]), CAST(:epoch AS bigint[]), CAST(:version AS bigint[]), CAST(:at AS timestamptz[]))
""")


async def store_reports(conn: AsyncConnection, batch: Sequence[NewReport]) -> None:
    """Write a batch; of several reports of one node in it, the last one of the newest sequence.

    The listeners of `verge_reports` hear the batch's `seq` after the commit.
    """
    latest = _latest(batch)
    rows = [_to_row(new) for new in latest]
    telling = [row for new, row in zip(latest, rows, strict=True) if new.telling]
    if telling:
        await tell_of_reports(conn, telling)
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


async def store_answers(conn: AsyncConnection, answers: Sequence[Answered]) -> None:
    """Append which versions nodes were told."""
    if answers:
        columns = {name: [getattr(one, name) for one in answers] for name in ("node", "epoch", "version", "at")}
        await conn.execute(_ANSWERED, columns)


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
    wire = report.to_wire()
    return {
        "node": new.node,
        **_etag_row(report.applied, "epoch", "version", "digest"),
        **_etag_row(report.attempted, "attempted_epoch", "attempted_version", "attempted_digest"),
        "state": report.state,
        "report": orjson.dumps(wire).decode(),
        "sequence": report.sequence,
        "boot_id": report.boot_id,
        "seen_at": new.seen_at,
        "timings": orjson.dumps(report.timings_ms).decode(),
        "failures": orjson.dumps(wire["failures"]).decode(),
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
