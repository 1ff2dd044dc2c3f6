"""The nodes' reports: one row per node, the latest. What is new in them, and which versions nodes were told meanwhile, is
appended to the records (`store.records`).

Reports come by the thousand and are written in batches, nearly always as one statement with one NOTIFY. A batch takes the lock of
`report_head` first, so batches commit in the order of their `seq`, no follower misses one, and two replicas' batches
cannot deadlock on their nodes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
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

    @property
    def telling(self) -> bool:
        """There may be something in it that is to be told of, whatever the node reported before."""
        report = self.report
        return bool(report.state != "applied" or report.sessions_cut or report.drift or report.preflight)


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a batch."""

    numbers: tuple[int, ...]
    """Its `seq`; several where nodes reported several times."""
    taken: tuple[NewReport, ...]
    """In the order in which they count, without those that Postgres passed over as older."""


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
# comparing with the reports as they were before this statement, which is what one statement's parts see: so the lock is taken by
# a statement before it. They are looked up one by one (LATERAL … LIMIT): a few reports of ten thousand nodes must not read all.
_TURN = text("UPDATE report_head SET seq = seq + 1 RETURNING seq")
_STORE = text("""
WITH input AS MATERIALIZED (
    SELECT * FROM unnest(
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
           state, report::jsonb, sequence, boot_id, seen_at, CAST(:seq AS bigint)
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
    FROM input JOIN stored USING (node) LEFT JOIN LATERAL (
        SELECT epoch, applied_version, state, attempted_epoch, attempted_version,
               report -> 'failures' AS failures, report -> 'timings_ms' AS timings
        FROM reports WHERE reports.node = input.node LIMIT 1
    ) AS old ON true
    WHERE (input.epoch, input.applied_version, input.state, input.attempted_epoch, input.attempted_version)
          IS DISTINCT FROM (old.epoch, old.applied_version, old.state, old.attempted_epoch, old.attempted_version)
       OR input.failures::jsonb IS DISTINCT FROM old.failures
       OR (input.timings <> '{}' AND old.timings = '{}')
)
SELECT pg_notify('verge_reports', CAST(CAST(:seq AS bigint) AS text)),
       ARRAY(SELECT node FROM input EXCEPT ALL SELECT node FROM stored) AS passed_over
""")

_COLUMNS = """node, epoch, applied_version, applied_digest, attempted_epoch, attempted_version, attempted_digest,
    state, report, sequence, boot_id, seen_at, seq"""
_LOAD = text(f"SELECT {_COLUMNS} FROM reports").columns(report=JSONB)  # noqa: S608
_ONE = text(f"SELECT {_COLUMNS} FROM reports WHERE node = :node").columns(report=JSONB)  # noqa: S608
_SINCE = text(
    f"SELECT {_COLUMNS} FROM reports WHERE seq > :seq AND seq <> ALL(CAST(:own AS bigint[])) ORDER BY seq"  # noqa: S608
).columns(report=JSONB)
_FORGET = text("DELETE FROM reports WHERE node = ANY(CAST(:nodes AS text[]))")


_ANSWERED = text("""
INSERT INTO answered (node, epoch, version, at) SELECT * FROM unnest(
    CAST(:node AS text[]), CAST(:epoch AS bigint[]), CAST(:version AS bigint[]), CAST(:at AS timestamptz[]))
""")


async def store_reports(
    conn: AsyncConnection, batch: Sequence[NewReport], troubled: Collection[str] = frozenset()
) -> Stored:
    """Write a batch, in the order in which it came; `troubled` are the nodes that may have told of a rejection, or of objects
    that they closed, when they last told something.

    The listeners of `verge_reports` hear the batch's `seq` after the commit.
    """
    numbers: list[int] = []
    taken: list[NewReport] = []
    for each in turns(batch):
        rows = [_to_row(new) for new in each]
        seq: int = (await conn.execute(_TURN)).scalar_one()
        telling = [row for new, row in zip(each, rows, strict=True) if new.telling or numbers or new.node in troubled]
        if telling:
            await tell_of_reports(conn, telling)
        columns = {column: [row[column] for row in rows] for column in rows[0]}
        passed_over = frozenset((await conn.execute(_STORE, {**columns, "seq": seq})).one().passed_over)
        numbers.append(seq)
        taken += [new for new in each if new.node not in passed_over] if passed_over else each
    return Stored(tuple(numbers), tuple(taken))


async def load_reports(conn: AsyncConnection) -> list[StoredReport]:
    return [_to_stored(row) for row in await conn.execute(_LOAD)]


async def read_report(conn: AsyncConnection, node: str) -> StoredReport | None:
    row = (await conn.execute(_ONE, {"node": node})).one_or_none()
    return None if row is None else _to_stored(row)


async def reports_since(conn: AsyncConnection, seq: int, own: Collection[int] = ()) -> list[StoredReport]:
    """The nodes whose report changed after batch `seq`, in the order of their batches; without those that changed last in one
    of the batches `own`."""
    return [_to_stored(row) for row in await conn.execute(_SINCE, {"seq": seq, "own": list(own)})]


async def forget_reports(conn: AsyncConnection, nodes: Sequence[str]) -> None:
    """Of nodes that are removed: a later one of the same name begins anew. When they applied what stays on record."""
    await conn.execute(_FORGET, {"nodes": list(nodes)})


async def store_answers(conn: AsyncConnection, answers: Sequence[Answered]) -> None:
    """Append which versions nodes were told."""
    if answers:
        columns = {name: [getattr(one, name) for one in answers] for name in ("node", "epoch", "version", "at")}
        await conn.execute(_ANSWERED, columns)


def turns(batch: Sequence[NewReport]) -> list[list[NewReport]]:
    """The batch in parts that are written one after the other, each with one report of a node at most: what a node told for a
    moment only is logged like everything else. Nearly always there is one part."""
    parts: list[list[NewReport]] = []
    last: dict[str, tuple[int, int]] = {}
    """By node: where its last report is, the part and the place in it."""
    for new in batch:
        part = -1
        if new.node in last:
            part, place = last[new.node]
            both = _both(parts[part][place], new)
            if both is not None:
                parts[part][place] = both
                continue
        part += 1
        if part == len(parts):
            parts.append([])
        last[new.node] = (part, len(parts[part]))
        parts[part].append(new)
    return parts


def _both(one: NewReport, next_one: NewReport) -> NewReport | None:
    """Plain success, told in passing with a request, and a report that says the same and more: as one. None: they are two."""
    first, second = one.report, next_one.report
    if (first.boot_id is None) == (second.boot_id is None) or (first.applied, first.state) != (
        second.applied,
        second.state,
    ):
        return None
    return replace(next_one if first.boot_id is None else one, seen_at=one.seen_at)


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
