import asyncio

import asyncpg
import pytest
from sqlalchemy import text

from viewserver.store import Unavailable
from viewserver.store import migrate as migrating
from viewserver.store.engine import Database
from viewserver.store.migrate import migrate
from viewserver.store.tables import metadata

# What the catalogue knows of a schema, in Postgres's own words: more than Alembic's comparison looks at.
_SCHEMA = {
    "columns": """
        SELECT table_name, column_name, data_type, udt_name, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype::text, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conrelid <> 'alembic_version'::regclass""",
    "indexes": "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'",
    "partitioned": "SELECT partrelid::regclass::text, pg_get_partkeydef(partrelid) FROM pg_partitioned_table",
}
_PARTITIONS = "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'"


async def schema_of(url):
    async with Database(url) as database, database.begin() as conn:
        partitions = {row.relname for row in await conn.execute(text(_PARTITIONS))}
        return {
            part: {tuple(row) for row in await conn.execute(text(query)) if row[0] not in partitions}
            for part, query in _SCHEMA.items()
        }


async def test_the_tables_and_the_migrations_agree(empty_url, database_url):
    async with Database(empty_url) as database, database.begin() as conn:
        await conn.run_sync(metadata.create_all)
        await conn.execute(text("CREATE TABLE alembic_version ()"))
    declared, migrated = await schema_of(empty_url), await schema_of(database_url)
    assert declared == migrated
    assert all(declared.values())


async def test_replicas_that_start_together_migrate_once(empty_url):
    await asyncio.gather(*(migrate(empty_url) for _ in range(4)))
    async with Database(empty_url) as database, database.begin() as conn:
        assert (await conn.execute(text("SELECT epoch, revision FROM head"))).all() == [(1, 0)]
        assert len((await conn.execute(text("SELECT * FROM alembic_version"))).all()) == 1


async def test_an_older_replica_leaves_newer_tables_alone(database_url, caplog):
    async with Database(database_url) as database:
        async with database.begin() as conn:
            await conn.execute(text("UPDATE alembic_version SET version_num = 'of the future'"))
        await migrate(database_url)
        async with database.begin() as conn:
            assert (await conn.execute(text("SELECT version_num FROM alembic_version"))).scalar_one() == "of the future"
    assert "newer" in caplog.text


async def test_a_table_in_use_is_not_waited_for_and_nothing_is_kept(empty_url, monkeypatch):
    """Rather than queue everybody behind a migration that itself waits for a lock."""
    monkeypatch.setattr(migrating, "_LOCK_TIMEOUT", "50ms")
    holder = await asyncpg.connect(empty_url)
    try:
        await holder.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        async with holder.transaction():
            await holder.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(Unavailable):
                await migrate(empty_url)
        assert await holder.fetchval("SELECT to_regclass('head')") is None
        await migrate(empty_url)
        assert await holder.fetchval("SELECT revision FROM head") == 0
    finally:
        await holder.close()
