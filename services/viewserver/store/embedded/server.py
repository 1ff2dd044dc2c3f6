"""The server's life: started, watched, started again when it dies, stopped in order."""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import quote

from viewserver.store.embedded import cluster, leftovers
from viewserver.store.embedded.account import Account, Programs
from viewserver.store.embedded.binaries import find_binaries
from viewserver.store.embedded.runtime import Runtime, runtime_directory
from viewserver.store.errors import PostgresFailed

log = logging.getLogger(__name__)

_START_TIMEOUT = 120.0
"""Seconds, most of which only a long log to replay can take."""
_STOP_TIMEOUT = 30.0
_BACKOFF = (0.1, 5.0)
_LOG_LIMIT = 16 << 20

_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
_SETTINGS = _DURABLE | {
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "jit": "off",
    "hot_standby": "off",  # while a backup is recovered it is not ready yet, not even for reading
    "max_logical_replication_workers": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
}


class EmbeddedPostgres:
    """`async with EmbeddedPostgres(directory) as postgres: … postgres.dsn …`

    In the block Postgres runs, and when it dies by itself it is started again (connections break then; the pool and the
    feed make new ones). After the block it has stopped. If the view server is killed, the kernel stops Postgres, and
    the next start takes over whatever is left. Raises PostgresMissing, PostgresFailed.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory).absolute()
        self.data = self.directory / "postgres"
        self.log_file = self.directory / "postgres.log"
        self.restarts = 0
        """How many times it died and was started again."""
        self._new = self.directory / "postgres.new"
        self._life = contextlib.AsyncExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._programs: Programs
        self._runtime: Runtime

    @property
    def dsn(self) -> str:
        """For the view server's own role and database."""
        return self.url()

    def url(self, *, database: str = "verge", role: str = "verge") -> str:
        """Of another database, or for the superuser `postgres`."""
        return f"postgresql://{quote(role)}@/{quote(database)}?host={quote(str(self._runtime.socket))}"

    @property
    def pid(self) -> int | None:
        """Of the postmaster; None while there is none."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def version(self) -> int:
        return self._programs.binaries.version

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as life:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            owned = leftovers.own(self.directory / ".viewserver.lock")
            life.callback(os.close, owned)
            account = Account.for_data(self.data)
            account.check()
            binaries = find_binaries(cluster.version_of(self.data))
            self._runtime = life.enter_context(runtime_directory(self.directory))
            self._programs = Programs(binaries, account, self._runtime.programs)
            life.push_async_callback(self._stop)
            await self._start()
            watching = asyncio.create_task(self._watch(), name="postgres")
            life.push_async_callback(_cancelled, watching)
            self._life = life.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._life.aclose()

    async def _start(self) -> None:
        """Take over, lay out if need be, start, wait until it accepts connections. Raises PostgresFailed."""
        began = time.monotonic()
        lock = await leftovers.inherit(self.directory / ".postgres.lock", (self.data, self._new))
        try:
            self._runtime.prepare(self._programs.account)
            if cluster.version_of(self.data) is None:
                await cluster.lay_out(self.data, self._new, self._programs, lock)
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            self._process = self._spawn(lock)
        finally:
            os.close(lock)  # from here on it is Postgres's: released when the last of its processes ends
        await self._until_ready(self._process)
        log.info("Postgres %d is ready after %.3f s: process %d", self.version, time.monotonic() - began, self.pid)

    def _spawn(self, lock: int) -> subprocess.Popen[bytes]:
        settings = _SETTINGS | {
            "unix_socket_directories": str(self._runtime.socket),
            "hba_file": str(self._runtime.hba),
            "ident_file": str(self._runtime.ident),
        }
        with cluster.named(self.data, self._programs.account) as (name, descriptors), self._log() as output:
            arguments = ["-D", name]
            for setting, value in settings.items():
                arguments += ["-c", f"{setting}={value}"]
            return self._programs.start("postgres", arguments, keep=[lock, *descriptors], output=output)

    def _log(self) -> BinaryIO:
        """Appended to; begun anew, with one predecessor kept, when it has become long."""
        with contextlib.suppress(FileNotFoundError):
            if self.log_file.stat().st_size > _LOG_LIMIT:
                self.log_file.rename(self.log_file.with_suffix(".log.1"))
        return os.fdopen(os.open(self.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab")

    async def _until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """postmaster.pid tells: its first line is the process, its eighth `ready` (miscadmin.h, pidfile.h)."""
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            if process.poll() is not None:
                raise PostgresFailed(f"Postgres ended with {process.returncode} at its start: {self._log_tail()}")
            with contextlib.suppress(FileNotFoundError):
                lines = (self.data / "postmaster.pid").read_text().splitlines()
                if len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].startswith("ready"):
                    return
            if time.monotonic() > deadline:
                raise PostgresFailed(f"Postgres is not ready after {_START_TIMEOUT:.0f} s: {self._log_tail()}")
            await asyncio.sleep(0.005)

    async def _watch(self) -> None:
        """Start it again whenever it ends."""
        while True:
            process = self._process
            if process is not None:
                code = await _ended(process)
                log.error("Postgres (process %d) ended by itself with %d; starting it again", process.pid, code)
            pause, longest = _BACKOFF
            while True:
                try:
                    await self._start()
                    break
                except (PostgresFailed, OSError) as error:
                    log.error("Postgres does not start; again in %.1f s: %s", pause, error)  # noqa: TRY400 - its log says why
                    await self._stop()
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, longest)
            self.restarts += 1

    async def _stop(self) -> None:
        """Fast: transactions in flight are rolled back, the rest is checkpointed. Then less politely."""
        process, self._process = self._process, None
        if process is None:
            return
        for number, patience in ((signal.SIGINT, _STOP_TIMEOUT), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
            if process.poll() is not None:
                return
            process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await _ended(process)
        log.error("Postgres (process %d) does not end", process.pid)

    def _log_tail(self) -> str:
        try:
            return self.log_file.read_bytes()[-2000:].decode(errors="replace").strip()
        except OSError as error:
            return str(error)


async def _ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for it, and reap it."""
    descriptor = os.pidfd_open(process.pid)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    try:
        loop.add_reader(descriptor, ended.set)
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return process.wait()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
