"""Wake-ups from Postgres: NOTIFY heard on a connection of its own.

A notification is a hint and nothing else. Those sent while the connection was down are lost, so whoever follows asks
for the rows after the last one he has, on every wake-up; and one comes after each (re)connection and in every second
of silence, whether or not there is a connection.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import asyncpg

from viewserver.store.engine import connect

log = logging.getLogger(__name__)

_SILENCE = 1.0
_BACKOFF = (0.02, 2.0)
_PING_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Hint:
    channel: str | None
    """None: nothing was heard; look anyway."""
    payload: str = ""
    """The last one, when several notifications of a channel were waiting."""


@contextlib.asynccontextmanager
async def listen(url: str, channels: Sequence[str]) -> AsyncIterator[AsyncIterator[Hint]]:
    """Hints from these channels, for as long as the block lasts.

        async with listen(url, ["verge_changes"]) as hints:
            async for hint in hints: …

    The iterator never ends and raises nothing of the connection's: it reconnects, with jitter, until the block ends.
    """
    waiting = _Waiting()
    keeper = asyncio.create_task(_keep_connected(url, channels, waiting), name="feed")
    try:
        yield _hints(waiting)
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper


@dataclass(slots=True)
class _Waiting:
    """Hints not yet taken, the newest of each channel."""

    hints: dict[str | None, str] = field(default_factory=dict)
    any: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, channel: str | None, payload: str = "") -> None:
        self.hints[channel] = payload
        self.any.set()


async def _hints(waiting: _Waiting) -> AsyncIterator[Hint]:
    while True:
        try:
            async with asyncio.timeout(_SILENCE):
                await waiting.any.wait()
        except TimeoutError:
            yield Hint(None)
            continue
        waiting.any.clear()
        taken, waiting.hints = waiting.hints, {}
        for channel, payload in taken.items():
            yield Hint(channel, payload)


async def _keep_connected(url: str, channels: Sequence[str], waiting: _Waiting) -> None:
    pause, longest = _BACKOFF
    up: bool | None = None
    while True:
        try:
            conn = await connect(url, "feed", command_timeout=_PING_TIMEOUT)
            try:
                await _listen_on(conn, channels, waiting)
                if up is not True:
                    log.info("listening to Postgres on %s", ", ".join(channels))
                up, pause = True, _BACKOFF[0]
                waiting.add(None)
                await _until_lost(conn)
            finally:
                conn.terminate()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            if up is not False:
                log.warning("not listening to Postgres: %s: %s", type(error).__name__, error)
            up = False
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, so that replicas do not return together
        pause = min(pause * 2, longest)


async def _listen_on(conn: "asyncpg.Connection[asyncpg.Record]", channels: Sequence[str], waiting: _Waiting) -> None:
    def heard(_conn: object, _pid: int, channel: str, payload: object) -> None:
        waiting.add(channel, str(payload))

    for channel in channels:
        await conn.add_listener(channel, heard)


async def _until_lost(conn: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Raises when the connection is gone: told so by the socket, or else by a ping that is not answered."""
    lost = asyncio.Event()
    notice: Callable[[object], None] = lambda _: lost.set()  # noqa: E731
    conn.add_termination_listener(notice)
    if conn.is_closed():
        lost.set()
    while not lost.is_set():
        try:
            async with asyncio.timeout(_PING_TIMEOUT):
                await lost.wait()
        except TimeoutError:
            await conn.execute("SELECT 1")
    raise ConnectionResetError("Postgres closed the connection")
