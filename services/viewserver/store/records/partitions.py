"""The time that rows are kept, as partitions: made ahead, dropped whole when their time has passed or they are too many.

Each partitioned table has a default partition, so no row is ever refused for want of a partition; its rows move when theirs is
made. It takes no more than a table's owner may do. A partition is made beside its table and then attached, since that lets
those who write go on; to drop one waits for nobody (`LOCK_WAIT`): the next round will.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

LOCK_WAIT: Final = "1s"
AHEAD: Final = 3
"""Partitions beyond the present one."""
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Divided:
    """A table that is partitioned by `at`."""

    table: str
    every: timedelta
    last_words: bool = False
    """What was last said of each node outlives its partition: it goes on being true."""

    def begin(self, at: datetime) -> datetime:
        """Of the partition that `at` falls in."""
        since = at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        return datetime(1970, 1, 1, tzinfo=UTC) + since // self.every * self.every

    def name(self, begin: datetime) -> str:
        return f"{self.table}_{begin:%Y%m%d%H}"

    def begun(self, name: str) -> datetime | None:
        """When that partition begins; None for the default one."""
        try:
            return datetime.strptime(name.removeprefix(f"{self.table}_"), "%Y%m%d%H").replace(tzinfo=UTC)
        except ValueError:
            return None


DETAIL: Final = (Divided("answered", HOUR), Divided("enforced", HOUR, last_words=True))
LASTING: Final = (Divided("summaries", DAY), Divided("samples", DAY), Divided("happenings", DAY))

_TURN = 0x7665726770  # "vergp": one replica at a time
_PRESENT = text("""
SELECT child.relname AS name, pg_total_relation_size(child.oid) AS bytes
FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = CAST(CAST(:table AS text) AS regclass) ORDER BY child.relname
""")


async def prepare(conn: AsyncConnection, now: datetime) -> int:
    """Partitions for now and some time ahead; how many were made. Of several replicas one makes them."""
    await conn.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": _TURN})
    made = 0
    for divided in (*DETAIL, *LASTING):
        present = {name for name, _ in await _partitions(conn, divided)}
        for step in range(AHEAD + 1):
            begin = divided.begin(now) + step * divided.every
            if divided.name(begin) not in present:
                await _make(conn, divided, begin)
                made += 1
    return made


async def expire(conn: AsyncConnection, divided: Divided, keep_from: datetime) -> int:
    """Drop the partitions all of whose rows are older; how many. Raises Unavailable if somebody reads them all the time."""
    await conn.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": _TURN})
    await conn.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'"))
    gone = 0
    for name, _ in await _partitions(conn, divided):
        begin = divided.begun(name)
        if begin is not None and begin + divided.every <= keep_from:
            await _drop(conn, divided, name, keep_from)
            gone += 1
    await _expire_rest(conn, divided, keep_from)
    return gone


async def detail_kept_from(conn: AsyncConnection) -> datetime | None:
    """Since when all detail is kept; what is older is there in parts at best."""
    begins = [divided.begun(name) for divided in DETAIL for name, _ in await _partitions(conn, divided)]
    return min((begin for begin in begins if begin is not None), default=None)


async def overflowing(conn: AsyncConnection, most_bytes: int, never_after: datetime) -> datetime | None:
    """From when on the detail must go for the rest to be smaller than this; None if it is. What is younger than
    `never_after` stays in any case."""
    sizes: dict[datetime, int] = {}
    for divided in DETAIL:
        for name, size in await _partitions(conn, divided):
            begin = divided.begun(name)
            if begin is not None:
                sizes[begin] = sizes.get(begin, 0) + size
    excess = sum(sizes.values()) - most_bytes
    found = None
    for begin, size in sorted(sizes.items()):
        if excess <= 0 or begin + HOUR > never_after:
            break
        excess -= size
        found = begin + HOUR
    return found


async def detail_bytes(conn: AsyncConnection) -> int:
    return sum([size for divided in DETAIL for _, size in await _partitions(conn, divided)])


async def _partitions(conn: AsyncConnection, divided: Divided) -> list[tuple[str, int]]:
    """Name and size of each, oldest first."""
    return [(row.name, row.bytes) for row in await conn.execute(_PRESENT, {"table": divided.table})]


async def _make(conn: AsyncConnection, divided: Divided, begin: datetime) -> None:
    name, table = divided.name(begin), divided.table
    end = begin + divided.every
    await conn.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS)"))
    bounds = {"begin": begin, "end": end}
    moved = text(f"""
        WITH moved AS (DELETE FROM {table}_rest WHERE at >= :begin AND at < :end RETURNING *)
        INSERT INTO {name} SELECT * FROM moved
    """)  # noqa: S608 - our own names
    await conn.execute(moved, bounds)
    await conn.execute(
        text(
            f"ALTER TABLE {table} ATTACH PARTITION {name}"
            f" FOR VALUES FROM ('{begin.isoformat()}') TO ('{end.isoformat()}')"
        )
    )


async def _drop(conn: AsyncConnection, divided: Divided, name: str, keep_from: datetime) -> None:
    table = divided.table
    await conn.execute(text(f"ALTER TABLE {table} DETACH PARTITION {name}"))
    if divided.last_words:
        # Its range is the default partition's now. `at` stays as it was: that is what was said, and when.
        kept = text(f"""
            INSERT INTO {table} SELECT DISTINCT ON (node) old.* FROM {name} AS old
            WHERE NOT EXISTS (SELECT FROM {table} AS later WHERE later.node = old.node AND {_overtaken("old")})
            ORDER BY node, at DESC
        """)  # noqa: S608
        await conn.execute(kept, {"keep_from": keep_from})
    await conn.execute(text(f"DROP TABLE {name}"))


async def _expire_rest(conn: AsyncConnection, divided: Divided, keep_from: datetime) -> None:
    table, rest = divided.table, f"{divided.table}_rest"
    spared = f"AND EXISTS (SELECT FROM {table} AS later WHERE later.node = {rest}.node AND {_overtaken(rest)})"
    old = text(f"DELETE FROM {rest} WHERE at < :keep_from {spared if divided.last_words else ''}")  # noqa: S608
    await conn.execute(old, {"keep_from": keep_from})


def _overtaken(table: str) -> str:
    """Something later was said by the time that everything is kept from."""
    return f"later.at > {table}.at AND later.at <= :keep_from"
