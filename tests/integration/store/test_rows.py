"""Idempotency keys, tokens, settings, the clock."""

import asyncio
import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from viewserver.store import Conflict
from viewserver.store.clock import ServerClock
from viewserver.store.idempotency import Remembered, forget_expired, recall, remember
from viewserver.store.settings import get_setting, put_setting, settle_setting
from viewserver.store.tokens import add_token, load_tokens, revoke_token


async def test_an_answer_is_recalled_by_actor_and_key(database):
    async with database.begin() as conn:
        assert await recall(conn, "a", "k") is None
        assert await remember(conn, "a", "k", b"digest", {"revision": 1})
    async with database.begin() as conn:
        assert await recall(conn, "a", "k") == Remembered(b"digest", {"revision": 1})
        assert await recall(conn, "b", "k") is None
        assert not await remember(conn, "a", "k", b"other", {})
        assert await recall(conn, "a", "k") == Remembered(b"digest", {"revision": 1})


async def test_an_answer_is_forgotten_after_a_day(database):
    async with database.begin() as conn:
        for key, age in (("old", "24 hours 1 second"), ("older", "9 days"), ("young", "23 hours 59 minutes")):
            await remember(conn, "a", key, b"d", key)
            await conn.execute(text(f"UPDATE idempotency SET at = at - interval '{age}' WHERE key = '{key}'"))
        assert [await recall(conn, "a", key) is None for key in ("old", "older", "young")] == [True, True, False]
        assert await remember(conn, "a", "old", b"d", "again")
        assert await forget_expired(conn) == 1
        assert (await recall(conn, "a", "old")).answer == "again"


async def test_tokens_are_listed_until_revoked(database):
    async with database.begin() as conn:
        cloud = await add_token(conn, "t1", "cloud", b"h1", name="CLC")
        node = await add_token(conn, "t2", "node", b"h2", node="nc-1")
        assert await load_tokens(conn) == [cloud, node]
        assert await revoke_token(conn, "t1")
        assert not await revoke_token(conn, "t1")
        assert not await revoke_token(conn, "t9")
        assert await load_tokens(conn) == [node]


@pytest.mark.parametrize(
    ("token_id", "role", "token_hash", "node"),
    [
        ("t1", "cloud", b"h2", None),
        ("t2", "cloud", b"h1", None),
        ("t2", "node", b"h2", None),
        ("t2", "cloud", b"h2", "nc-1"),
    ],
)
async def test_a_token_that_cannot_be_is_refused(database, token_id, role, token_hash, node):
    async with database.begin() as conn:
        await add_token(conn, "t1", "cloud", b"h1")
    with pytest.raises(Conflict):
        async with database.begin() as conn:
            await add_token(conn, token_id, role, token_hash, node=node)


async def test_replicas_settle_on_one_value(database):
    async def propose(value):
        async with database.begin() as conn:
            return await settle_setting(conn, "key", value)

    settled = await asyncio.gather(*(propose([number]) for number in range(6)))
    assert all(value == settled[0] for value in settled)
    async with database.begin() as conn:
        assert await get_setting(conn, "key") == settled[0]
        await put_setting(conn, "key", {"x": None})
        assert await get_setting(conn, "key") == {"x": None}
        assert await get_setting(conn, "none") is None


async def test_the_clock_is_postgres_s(database):
    clock = await ServerClock.measure(database)
    async with database.snapshot() as conn:
        before = time.monotonic()
        there: datetime = (await conn.execute(text("SELECT clock_timestamp()"))).scalar_one()
        after = time.monotonic()
    slack = clock.uncertainty + 0.002  # the drift of the two clocks meanwhile
    assert clock.at(before).timestamp() - slack <= there.timestamp() <= clock.at(after).timestamp() + slack
    assert clock.now().tzinfo is UTC
