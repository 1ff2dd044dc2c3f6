"""Change records: written once with the rows they change, read by every replica that follows, pruned when old."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

import orjson
from sqlalchemy import TextClause, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from viewserver.model.change import Change, NewChange, Recorded
from viewserver.store.errors import Conflict, HistoryPruned
from viewserver.store.head import Head, lock_head

CHANNEL = "verge_changes"


class RecordedRow(TypedDict):
    kind: str
    id: str
    before: Any
    after: Any


# One statement, so one round trip. The parts of a WITH run in no promised order against one snapshot, which is why
# the two uniqueness rules of `objects` are deferred to the commit. The moved head comes last in the reading, and
# without it no row comes back: then somebody wrote without the lock.
_APPEND = text("""
WITH input AS (
    SELECT kind, id, value::jsonb AS value
    FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[]), CAST(:values AS text[])) AS i (kind, id, value)
), gone AS (
    DELETE FROM objects USING input
    WHERE objects.kind = input.kind AND objects.id = input.id AND input.value IS NULL
), kept AS (
    INSERT INTO objects (kind, id, value, revision)
    SELECT kind, id, value, CAST(:revision AS bigint) FROM input WHERE value IS NOT NULL
    ON CONFLICT (kind, id) DO UPDATE SET value = excluded.value, revision = excluded.revision
), logged AS (
    INSERT INTO changes (revision, epoch, at, actor, operations, affected, caused_by)
    VALUES (CAST(:revision AS bigint), CAST(:epoch AS bigint), clock_timestamp(), CAST(:actor AS text),
            CAST(:operations AS jsonb), CAST(:affected AS text[]), CAST(:caused_by AS bigint))
    RETURNING at
), moved AS (
    UPDATE head SET revision = CAST(:revision AS bigint)
    WHERE revision = CAST(:revision AS bigint) - 1 AND epoch = CAST(:epoch AS bigint)
    RETURNING pg_notify('verge_changes', revision::text)
)
SELECT logged.at FROM logged, moved
""")

_COLUMNS = "revision, epoch, at, actor, operations, affected, caused_by"


def _reading(where: str) -> TextClause:
    return text(f"SELECT {_COLUMNS} FROM changes WHERE {where}")  # noqa: S608 - the clauses below, nobody's input


_SINCE = _reading("revision > :revision ORDER BY revision LIMIT :limit").columns(operations=JSONB)
_ONE = _reading("revision = :revision").columns(operations=JSONB)
_PAGE = _reading("revision < CAST(:before AS bigint) ORDER BY revision DESC LIMIT :limit").columns(operations=JSONB)
_OLDEST = text("SELECT min(revision) FROM changes")
_WANTED = _reading("""
    revision < CAST(:before AS bigint) AND at >= CAST(:since AS timestamptz) AND at < CAST(:until AS timestamptz)
    AND (CAST(:actor AS text) IS NULL OR actor = :actor)
    AND (CAST(:node AS text) IS NULL OR :node = ANY(affected))
    AND (CAST(:object AS text) IS NULL OR operations @> CAST(CAST(:object AS text) AS jsonb))
    ORDER BY revision DESC LIMIT :limit""").columns(operations=JSONB)
_COMMITTED = text("""
SELECT revision, epoch, at, actor, caused_by FROM changes WHERE revision = ANY(CAST(:revisions AS bigint[]))
""")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records: all of what is given holds."""

    actor: str | None
    object: tuple[str, str] | None
    """Kind and id of an object that the change touched."""
    node: str | None
    """That it affects."""
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Committed:
    """A change without what it did."""

    revision: int
    epoch: int
    at: datetime
    actor: str
    caused_by: int | None

    def to_wire(self) -> dict[str, Any]:
        return {
            "revision": self.revision,
            "actor": self.actor,
            "at": self.at.isoformat(),
            "caused_by": self.caused_by,
        }


async def append(conn: AsyncConnection, head: Head, change: NewChange) -> Change:
    """Write the change as the revision after `head`, which this transaction has locked.

    The listeners of `verge_changes` hear its revision after the commit. Raises Conflict when the head is not locked
    and has moved; a broken uniqueness rule raises Conflict at the commit.
    """
    revision = head.revision + 1
    operations = change.operations
    answer = await conn.execute(
        _APPEND,
        {
            "revision": revision,
            "epoch": head.epoch,
            "kinds": [recorded.kind for recorded in operations],
            "ids": [recorded.id for recorded in operations],
            "values": [None if recorded.after is None else _dumps(recorded.after) for recorded in operations],
            "actor": change.actor,
            "operations": _dumps([_to_row(recorded) for recorded in operations]),
            "affected": list(change.affected),
            "caused_by": change.caused_by,
        },
    )
    written = answer.one_or_none()
    if written is None:
        raise Conflict(f"the head is no longer at {head.epoch}.{head.revision}")
    return Change(revision, head.epoch, written.at, change.actor, change.operations, change.affected, change.caused_by)


async def changes_since(conn: AsyncConnection, revision: int, limit: int = 1000) -> list[Change]:
    """The records after `revision`, oldest first, without a gap. Raises HistoryPruned when the first is not the next."""
    found = [_to_change(row) for row in await conn.execute(_SINCE, {"revision": revision, "limit": limit})]
    if found and found[0].revision != revision + 1:
        raise HistoryPruned(f"the change records begin at {found[0].revision}; {revision + 1} was asked for")
    return found


async def read_change(conn: AsyncConnection, revision: int) -> Change | None:
    row = (await conn.execute(_ONE, {"revision": revision})).one_or_none()
    return None if row is None else _to_change(row)


async def changes_page(
    conn: AsyncConnection, before: int | None = None, limit: int = 50, wanted: Wanted | None = None
) -> list[Change]:
    """The newest records below revision `before` (or of all), newest first; with `wanted`, of those."""
    asked: dict[str, Any] = {"before": 2**63 - 1 if before is None else before, "limit": limit}
    if wanted is None:
        return [_to_change(row) for row in await conn.execute(_PAGE, asked)]
    asked |= {"actor": wanted.actor, "node": wanted.node, "since": wanted.since, "until": wanted.until, "object": None}
    if wanted.object is not None:
        asked["object"] = _dumps([dict(zip(("kind", "id"), wanted.object, strict=True))])
    return [_to_change(row) for row in await conn.execute(_WANTED, asked)]


async def oldest_revision(conn: AsyncConnection) -> int | None:
    """Of the records that are kept."""
    found: int | None = (await conn.execute(_OLDEST)).scalar_one()
    return found


async def committed(conn: AsyncConnection, revisions: Iterable[int]) -> dict[int, Committed]:
    """By revision, of those whose record is kept."""
    rows = await conn.execute(_COMMITTED, {"revisions": list(revisions)})
    return {row.revision: Committed(row.revision, row.epoch, row.at, row.actor, row.caused_by) for row in rows}


# What came first comes first, so a limit hides how many changes a node lacks and not since when.
_MISSED = text("""
SELECT wanted.node, changes.revision, changes.at
FROM changes CROSS JOIN unnest(affected) AS one (node)
JOIN unnest(CAST(:nodes AS text[]), CAST(:versions AS bigint[])) AS wanted (node, version) USING (node)
WHERE revision <= :through AND revision > :above AND epoch = :epoch AND revision > wanted.version
ORDER BY revision LIMIT :limit
""")


async def missed_changes(
    conn: AsyncConnection, epoch: int, through: int, applied: Mapping[str, int], limit: int = 200_000
) -> list[tuple[str, int, datetime]]:
    """The changes up to `through` that affect one of these nodes and are above what it has applied: node, revision, time."""
    asked = {"epoch": epoch, "through": through, "above": min(applied.values(), default=0), "limit": limit}
    rows = await conn.execute(_MISSED, {**asked, "nodes": list(applied), "versions": list(applied.values())})
    return [(row.node, row.revision, row.at) for row in rows]


_CHECKPOINT = text("""
INSERT INTO node_versions (node, version)
SELECT node, max(revision) FROM changes, unnest(affected) AS node WHERE revision <= :through GROUP BY node
ON CONFLICT (node) DO UPDATE SET version = greatest(node_versions.version, excluded.version)
""")
_DROP = text("DELETE FROM changes WHERE revision <= :through")
_DROP_APPLIED = text("DELETE FROM applied WHERE version <= :through")


async def prune(conn: AsyncConnection, through: int) -> int:
    """Forget the records up to revision `through`, but never the newest one; how many went.

    Their nodes' versions are checkpointed in the same transaction, so a replica that loads later gives the same ETags.
    Under the head lock: two that prune, or one that prunes and one that restores, must not interleave.
    """
    head = await lock_head(conn)
    limit = {"through": min(through, head.revision - 1)}
    await conn.execute(_CHECKPOINT, limit)
    await conn.execute(_DROP_APPLIED, limit)
    return (await conn.execute(_DROP, limit)).rowcount


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()


def _to_row(recorded: Recorded) -> RecordedRow:
    return {"kind": recorded.kind, "id": recorded.id, "before": recorded.before, "after": recorded.after}


def _to_change(row: Row[Any]) -> Change:
    operations: Sequence[RecordedRow] = row.operations
    return Change(
        revision=row.revision,
        epoch=row.epoch,
        at=row.at,
        actor=row.actor,
        operations=tuple(Recorded(one["kind"], one["id"], one["before"], one["after"]) for one in operations),
        affected=tuple(row.affected),
        caused_by=row.caused_by,
    )
