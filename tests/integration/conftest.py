"""A real Postgres, started once; for each test a database of its own, cloned from a migrated one.

Each test commits for real, since that is what LISTEN and NOTIFY, deferred constraints and the head's lock are about.
"""

import itertools
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from viewserver.store.embedded import EmbeddedPostgres
from viewserver.store.engine import Database
from viewserver.store.migrate import migrate

_TEMPLATE = "migrated"
_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    """Shared: do not kill it."""
    async with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as server:
        await administer(server, f"CREATE DATABASE {_TEMPLATE} OWNER verge")
        await migrate(server.url(database=_TEMPLATE))
        yield server


@pytest_asyncio.fixture
async def empty_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """Of a new database without tables."""
    async for url in _database(postgres, "template0"):
        yield url


@pytest_asyncio.fixture
async def database_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """Of a new database with its tables; usable by any process of this user, as DATABASE_URL."""
    async for url in _database(postgres, _TEMPLATE):
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_database_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """Likewise, for all tests of a module, which only read what its fixtures wrote."""
    async for url in _database(postgres, _TEMPLATE):
        yield url


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url) as opened:
        yield opened


async def administer(server: EmbeddedPostgres, *statements: str, database: str = "postgres") -> None:
    """As the superuser, each statement a transaction of its own."""
    conn = await asyncpg.connect(server.url(database=database, role="postgres"))
    try:
        for statement in statements:
            await conn.execute(statement)
    finally:
        await conn.close()


async def _database(server: EmbeddedPostgres, template: str) -> AsyncIterator[str]:
    name = f"test_{next(_numbers)}"
    await administer(server, f"CREATE DATABASE {name} OWNER verge TEMPLATE {template}")
    yield server.url(database=name)
    await administer(server, f"DROP DATABASE {name} WITH (FORCE)")
