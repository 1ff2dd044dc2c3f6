"""Which replica claims which node, and which replicas there are.

Claims are written in batches. A batch takes the lock of `presence_head` first, so batches commit in the order of their
`seq` and no follower misses one. With each goes the writer's heartbeat: a claim whose replica has no heartbeat does not
exist, so that somebody can always tell that its replica is no more.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viewserver.model.presence import Claim

CHANNEL = "verge_presence"

# A heartbeat that a crash of Postgres takes back is none the worse; the disk need not be waited for every second.
_LIGHTLY = text("SET LOCAL synchronous_commit = off")
_BEAT = text("""
INSERT INTO replicas (id, started_at, seen_at) VALUES (:me, clock_timestamp(), clock_timestamp())
ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp()
""")
_OTHERS = text("""
SELECT id, extract(epoch FROM clock_timestamp() - seen_at)::float8 AS silent_s FROM replicas WHERE id <> :me
""")
_SEQ = text("SELECT seq FROM presence_head")
_SINCE = text("SELECT node, replica, connected, at, seq FROM presence WHERE seq > :seq ORDER BY seq")
_TAKE = text("UPDATE presence_head SET seq = seq + 1 RETURNING seq")
# A node that came to another replica after it came to this one is that one's.
_CLAIM = text("""
INSERT INTO presence AS known (node, replica, connected, at, seq)
SELECT node, :me, true, at, :seq FROM unnest(CAST(:nodes AS text[]), CAST(:at AS timestamptz[])) AS i (node, at)
ON CONFLICT (node) DO UPDATE
SET replica = excluded.replica, connected = true, at = excluded.at, seq = excluded.seq
WHERE known.at <= excluded.at OR NOT known.connected
""")
# Only what is still ours: a node that another replica has claimed meanwhile is that one's to lose.
_LOSE = text("""
UPDATE presence SET connected = false, at = i.at, seq = :seq
FROM unnest(CAST(:nodes AS text[]), CAST(:at AS timestamptz[])) AS i (node, at)
WHERE presence.node = i.node AND presence.replica = :me AND presence.connected
""")
_FORGET = text("""
DELETE FROM presence USING unnest(CAST(:nodes AS text[]), CAST(:through AS bigint[])) AS i (node, through)
WHERE presence.node = i.node AND presence.seq <= i.through
""")
_BURY = text("""
UPDATE presence SET connected = false, at = dead.seen_at, seq = :seq
FROM replicas AS dead
WHERE dead.id = ANY(CAST(:dead AS text[])) AND dead.seen_at < clock_timestamp() - make_interval(secs => :after_s)
  AND presence.replica = dead.id AND presence.connected
""")
_REMOVE = text("""
DELETE FROM replicas
WHERE id = ANY(CAST(:dead AS text[])) AND seen_at < clock_timestamp() - make_interval(secs => :after_s)
""")
_NOTIFY = text("SELECT pg_notify('verge_presence', '')")


async def beat(conn: AsyncConnection, me: str) -> dict[str, float]:
    """Say that this replica is there. Of each other one: how many seconds ago it said so."""
    await conn.execute(_LIGHTLY)
    await conn.execute(_BEAT, {"me": me})
    return {row.id: row.silent_s for row in await conn.execute(_OTHERS, {"me": me})}


async def claims_since(conn: AsyncConnection, seq: int) -> tuple[int, list[Claim]]:
    """The last batch's number, and the claims written after batch `seq`. A number below `seq` means that Postgres has
    forgotten some: everything is to be read again."""
    last: int = (await conn.execute(_SEQ)).scalar_one()
    rows: Any = await conn.execute(_SINCE, {"seq": seq if seq <= last else -1})
    return last, [Claim(row.node, row.replica, row.connected, row.at, row.seq) for row in rows]


async def write_claims(
    conn: AsyncConnection,
    me: str,
    came: Mapping[str, datetime],
    lost: Mapping[str, datetime],
    gone: Mapping[str, int],
) -> None:
    """`came` are claimed since then; `lost` were last heard of then; of the nodes `gone`, claims up to that batch are deleted."""
    await conn.execute(_BEAT, {"me": me})
    seq: int = (await conn.execute(_TAKE)).scalar_one()
    if came:
        await conn.execute(_CLAIM, {"me": me, "nodes": list(came), "at": list(came.values()), "seq": seq})
    if lost:
        await conn.execute(_LOSE, {"me": me, "nodes": list(lost), "at": list(lost.values()), "seq": seq})
    if gone:
        await conn.execute(_FORGET, {"nodes": list(gone), "through": list(gone.values())})
    await conn.execute(_NOTIFY)


async def bury(conn: AsyncConnection, dead: Sequence[str], after_s: float) -> None:
    """Of these replicas, those silent for longer than `after_s`: their nodes were last heard of when they were."""
    seq: int = (await conn.execute(_TAKE)).scalar_one()
    asked = {"dead": list(dead), "after_s": after_s}
    await conn.execute(_BURY, {**asked, "seq": seq})
    await conn.execute(_REMOVE, asked)
    await conn.execute(_NOTIFY)
