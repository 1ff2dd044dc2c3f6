import os
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from tests.integration.conftest import administer
from tests.integration.store.changing import commit, instance, new
from viewserver.store.embedded import EmbeddedPostgres
from viewserver.store.engine import Database
from viewserver.store.epoch import raise_epoch, settle_epoch
from viewserver.store.head import Head
from viewserver.store.migrate import migrate


async def settled(database):
    async with database.begin() as conn:
        return await settle_epoch(conn)


async def test_a_restart_is_no_new_epoch(database):
    assert await settled(database) == Head(1, 0)
    await commit(database, new(instance(1)))
    assert [await settled(database) for _ in range(3)] == [Head(1, 1)] * 3


async def test_a_copy_in_another_database_begins_an_epoch_once(database, database_url, postgres):
    await settled(database)
    await commit(database, new(instance(1)))
    await database.close()  # Postgres copies only what nobody uses
    name = database_url.partition("@/")[2].partition("?")[0]
    await administer(postgres, f"CREATE DATABASE {name}_copy OWNER verge TEMPLATE {name}")
    try:
        async with Database(postgres.url(database=f"{name}_copy")) as copy:
            raised = await settled(copy)
            assert raised.revision == 1
            assert raised.epoch > 1
            assert await settled(copy) == raised
            assert (await commit(copy, new())).epoch == raised.epoch
    finally:
        await administer(postgres, f"DROP DATABASE {name}_copy WITH (FORCE)")
    assert await settled(Database(database_url)) == Head(1, 1)


async def test_a_dump_restored_over_the_database_begins_an_epoch(database):
    """pg_restore --clean drops the tables and makes others of the same names."""
    await settled(database)
    async with database.begin() as conn:
        await conn.execute(text("CREATE TABLE restored (LIKE head INCLUDING ALL)"))
        await conn.execute(text("INSERT INTO restored SELECT * FROM head"))
        await conn.execute(text("DROP TABLE head"))
        await conn.execute(text("ALTER TABLE restored RENAME TO head"))
    assert (await settled(database)).epoch > 1


@pytest.mark.slow
async def test_recovery_to_a_point_in_time_begins_an_epoch(tmp_path):
    """A new timeline, as after the promotion of a standby."""
    async with EmbeddedPostgres(tmp_path) as server:
        await migrate(server.dsn)
        async with Database(server.dsn) as database:
            assert await settled(database) == Head(1, 0)
            await commit(database, new(instance(1)))
        await administer(server, "ALTER SYSTEM SET restore_command = 'false'")
    async with EmbeddedPostgres(tmp_path) as server, Database(server.dsn) as database:
        assert await settled(database) == Head(1, 1)
    signal, owner = server.data / "recovery.signal", server.data.stat()
    signal.touch()
    os.chown(signal, owner.st_uid, owner.st_gid)
    async with EmbeddedPostgres(tmp_path) as server, Database(server.dsn) as database:
        raised = await settled(database)
        assert raised.revision == 1
        assert raised.epoch > 1
        assert await settled(database) == raised


async def test_what_a_managed_service_hides_is_left_out(database, database_url, postgres):
    await settled(database)
    name = database_url.partition("@/")[2].partition("?")[0]
    await administer(postgres, "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC", database=name)
    assert await settled(database) == Head(1, 0)


async def test_an_operator_may_raise_it_and_every_epoch_is_later(database):
    """Also than that of the same backup restored before: hence not simply the next number."""
    epochs = []
    for _ in range(3):
        async with database.begin() as conn:
            epochs.append((await raise_epoch(conn, "restored in place")).epoch)
    assert epochs == sorted(set(epochs))
    assert epochs[0] == pytest.approx((datetime.now(UTC) - datetime(2025, 1, 1, tzinfo=UTC)).total_seconds(), abs=60)
    assert len(str(epochs[-1])) <= 9  # what an ETag holds
