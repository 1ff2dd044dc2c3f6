"""What the callers see when connections break, and what followers miss: nothing."""

import asyncio

import pytest
from sqlalchemy import text

from tests.integration.conftest import administer
from tests.integration.store.changing import commit, instance, new
from viewserver.store import OutcomeUnknown, Unavailable
from viewserver.store.changes import changes_since
from viewserver.store.engine import Database, dsn_of
from viewserver.store.feed import listen
from viewserver.store.head import lock_head

_TERMINATE = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{}' AND application_name LIKE '%{}'"
)


_DIE_AT_COMMIT = (
    """CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
       'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60); RETURN NULL; END'""",
    """CREATE CONSTRAINT TRIGGER die AFTER INSERT ON objects DEFERRABLE INITIALLY DEFERRED
       FOR EACH ROW EXECUTE FUNCTION die()""",
)


def name_of(url):
    return url.partition("@/")[2].partition("?")[0]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_a_url_may_come_in_any_of_the_usual_forms(scheme):
    assert (
        dsn_of(f"{scheme}://u:p%40@h:5/d?host=/run/x&sslmode=require")
        == "postgresql://u:p%40@h:5/d?host=/run/x&sslmode=require"
    )


@pytest.mark.parametrize("url", ["mysql://h/d", "host=h dbname=d", ""])
def test_another_databases_url_is_refused(url):
    with pytest.raises(ValueError, match="postgresql://"):
        dsn_of(url)


@pytest.mark.parametrize("url", ["postgresql://u@/d?host=/nowhere", "postgresql://u:p@127.0.0.1:1/d"])
async def test_no_postgres_is_unavailable(url):
    async with Database(url) as database:
        with pytest.raises(Unavailable):
            await commit(database, new())


async def test_connections_lost_while_idle_are_replaced_unseen(database, database_url, postgres):
    async with database.begin() as one, database.begin() as two:
        for conn in (one, two):
            await conn.execute(text("SELECT 1"))
    await administer(postgres, _TERMINATE.format(name_of(database_url), "pool"))
    async with database.begin() as one, database.begin() as two:
        for conn in (one, two):
            await conn.execute(text("SELECT 1"))


async def test_a_connection_lost_in_a_transaction_is_unavailable_and_keeps_nothing(database, database_url, postgres):
    async def interrupted():
        async with database.begin() as conn:
            await lock_head(conn)
            await administer(postgres, _TERMINATE.format(name_of(database_url), "pool"))
            await lock_head(conn)

    with pytest.raises(Unavailable) as raised:
        await interrupted()
    assert not isinstance(raised.value, OutcomeUnknown)
    assert (await commit(database, new())).revision == 1


async def test_a_connection_lost_while_committing_leaves_the_outcome_open(database, database_url, postgres):
    async with database.begin() as conn:
        for statement in _DIE_AT_COMMIT:
            await conn.execute(text(statement))
    with pytest.raises(OutcomeUnknown):
        await commit(database, new(instance(1)))
    assert (await commit(database, new())).revision == 1


async def test_a_head_that_is_held_too_long_is_unavailable(database):
    async with database.begin() as holder:
        await lock_head(holder)
        with pytest.raises(Unavailable):
            await impatient(database)


async def impatient(database):
    async with database.begin() as conn:
        await conn.execute(text("SET LOCAL lock_timeout = '50ms'"))
        await lock_head(conn)


async def test_an_exhausted_pool_is_unavailable(database_url):
    async with Database(database_url, size=1, pool_timeout=0.05) as database, database.begin() as conn:
        await lock_head(conn)
        with pytest.raises(Unavailable):
            async with database.begin():
                pass


async def test_a_follower_hears_of_each_kind(database, database_url):
    async with listen(database_url, ["verge_changes", "verge_tokens"]) as hints, asyncio.timeout(20):
        assert (await anext(hints)).channel is None  # connected
        await commit(database, new())
        hint = await anext(hints)
        while hint.channel is None:  # a second of silence, on a slow day
            hint = await anext(hints)
        assert (hint.channel, hint.payload) == ("verge_changes", "1")


async def test_in_silence_a_follower_is_woken_all_the_same(database_url):
    async with listen(database_url, ["verge_changes"]) as hints, asyncio.timeout(20):
        assert [(await anext(hints)).channel for _ in range(3)] == [None, None, None]


async def test_what_was_notified_while_the_feed_was_cut_is_found_by_asking(database, database_url, postgres):
    name = name_of(database_url)
    seen: list[int] = []

    async def follow_to(revision, hints):
        async for _ in hints:
            async with database.snapshot() as conn:
                seen.extend(change.revision for change in await changes_since(conn, len(seen)))
            if len(seen) >= revision:
                return

    async with listen(database_url, ["verge_changes"]) as hints, asyncio.timeout(30):
        await commit(database, new())
        await follow_to(1, hints)
        for round_ in range(3):
            # The pool keeps the connections it has; the feed loses its own, and gets no other for a while.
            await administer(
                postgres, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", _TERMINATE.format(name, "feed")
            )
            for _ in range(5):
                await commit(database, new())
            await administer(postgres, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            await follow_to(6 + round_ * 5, hints)
    assert seen == list(range(1, 17))


async def test_a_feed_without_postgres_keeps_waking_and_ends_with_its_block():
    async with listen("postgresql://u@/d?host=/nowhere", ["verge_changes"]) as hints, asyncio.timeout(20):
        assert (await anext(hints)).channel is None
        assert (await anext(hints)).channel is None
