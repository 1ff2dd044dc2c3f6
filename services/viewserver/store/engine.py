"""Connections to Postgres: one pool for a replica, with a limit on every wait.

A URL is read by asyncpg, so that it means what it means to libpq: `postgresql://user:password@host:5432/name`, several
hosts with `target_session_attrs=read-write`, `sslmode=verify-full`, a unix socket as `?host=/run/postgresql`. The
schemes `postgres:` and `postgresql+asyncpg:` are taken too.

Through pgbouncer: in session mode everything works. In transaction mode it does not, since LISTEN needs a session of
its own and the timeouts below are set for one; give the view server a direct address instead (it holds `size` + 2
connections).
"""

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncpg
import orjson
import sqlalchemy.exc
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from viewserver.store.errors import OutcomeUnknown, Unavailable, translated

CONNECT_TIMEOUT = 5.0
STATEMENT_TIMEOUT = 30.0
LOCK_TIMEOUT = 10.0

_SESSION = {
    "timezone": "UTC",
    "jit": "off",
    "lock_timeout": f"{LOCK_TIMEOUT:.0f}s",
    "statement_timeout": f"{STATEMENT_TIMEOUT:.0f}s",
    # A replica that hangs inside a transaction must not keep the head from all the others.
    "idle_in_transaction_session_timeout": "30s",
    # Where the view server's host vanishes, its locks go with it.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}


def dsn_of(url: str) -> str:
    """The URL as asyncpg takes it. Raises ValueError for another database's."""
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme not in {"postgres", "postgresql", "postgresql+asyncpg"}:
        raise ValueError(f"the database's URL begins with postgresql://, not {scheme!r}")
    return f"postgresql://{rest}"


async def connect(url: str, application: str, **options: Any) -> "asyncpg.Connection[asyncpg.Record]":
    """One connection outside any pool. Raises what asyncpg and the socket raise."""
    settings = {**_SESSION, "application_name": f"verge-viewserver {application}"}
    return await asyncpg.connect(dsn_of(url), timeout=CONNECT_TIMEOUT, server_settings=settings, **options)


class Database:
    """A pool of connections to one database. `begin` to write, `snapshot` to read many rows at one revision."""

    def __init__(self, url: str, *, size: int = 8, pool_timeout: float = 5.0) -> None:
        self.url = dsn_of(url)

        async def open_one() -> "asyncpg.Connection[asyncpg.Record]":
            # The statement timeout is Postgres's to keep; this one is for a server that no longer answers at all.
            try:
                return await connect(self.url, "pool", command_timeout=STATEMENT_TIMEOUT + 10)
            except (
                asyncpg.PostgresError
            ) as error:  # whatever it has against us: without a connection there is no answer
                raise asyncpg.CannotConnectNowError(str(error)) from error

        self.engine: AsyncEngine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=open_one,
            pool_size=size,
            max_overflow=0,
            pool_timeout=pool_timeout,
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
        )
        event.listen(self.engine.sync_engine.pool, "checkout", _refuse_closed)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, READ COMMITTED: committed when the block ends, rolled back when it raises.

        Raises Unavailable, Conflict; OutcomeUnknown when the connection broke during the commit.
        """
        committing = False
        try:
            async with self.engine.connect() as conn:
                yield conn
                committing = True
                await conn.commit()
        except Exception as error:
            reason = translated(error)
            if reason is None:
                raise
            if committing and type(reason) is Unavailable:
                raise OutcomeUnknown(str(reason)) from error
            raise reason from error

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Every statement in the block sees the same committed state; nothing can be written. Raises Unavailable."""
        try:
            async with self.engine.connect() as conn:
                yield await conn.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        except Exception as error:
            reason = translated(error)
            if reason is None:
                raise
            raise reason from error

    async def close(self) -> None:
        await self.engine.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _refuse_closed(dbapi_connection: Any, _record: object, _proxy: object) -> None:
    """A connection that Postgres closed while it was idle is replaced unseen, without a ping at each checkout. The event loop may
    not have read its end yet: nobody has anything else to say on an idle connection, so where something waits to be read it
    ends."""
    connection = dbapi_connection.driver_connection
    if connection.is_closed() or _has_news(connection):
        raise sqlalchemy.exc.DisconnectionError


def _has_news(connection: Any) -> bool:
    bound = connection._transport.get_extra_info("socket")  # asyncpg shows it nowhere else
    poll = select.poll()
    poll.register(bound.fileno(), select.POLLIN)
    return bool(poll.poll(0))
