"""Change records: written once with the rows they change, read by every replica that follows, pruned when old."""

from collections.abc import Sequence
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


async def changes_page(conn: AsyncConnection, before: int | None = None, limit: int = 50) -> list[Change]:
    """The newest records below revision `before` (or of all), newest first."""
    top = 2**63 - 1 if before is None else before
    return [_to_change(row) for row in await conn.execute(_PAGE, {"before": top, "limit": limit})]


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
