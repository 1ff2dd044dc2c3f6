"""What a view server that was killed has left behind: locks, and perhaps a Postgres that is still running.

The lock of the data directory is inherited by postgres and its backends. When it is ours, none of them lives, neither
a postmaster nor a backend orphaned by one; only then may a stale postmaster.pid be removed. (Postgres itself asks
whether a process of that number exists, and takes a zombie, or a stranger in a restarted container, for a server.)
"""

import asyncio
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from viewserver.store.errors import PostgresFailed

_PATIENCE = 15.0
"""Seconds for a leftover postmaster's checkpoint; then it is killed, and its log is replayed."""
_GIVE_UP = 10.0


def own(path: Path) -> int:
    """Lock the data directory for this view server: a descriptor to close at the end. Raises PostgresFailed when
    another one has it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
        os.close(lock)
        raise PostgresFailed(
            f"another view server (process {holder or 'unknown'}) is running on {path.parent}: give this one another "
            "--data-dir, or both one DATABASE_URL"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


async def inherit(path: Path, clusters: tuple[Path, ...]) -> int:
    """Lock the clusters against every Postgres: a descriptor for the next one to inherit.

    A Postgres that still runs on one of `clusters` is stopped, in order, and after a while not in order.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await _clear(lock, clusters)
    except BaseException:
        os.close(lock)
        raise
    return lock


async def _clear(lock: int, clusters: tuple[Path, ...]) -> None:
    started = time.monotonic()
    asked: set[int] = set()
    while not _taken(lock):
        waited = time.monotonic() - started
        living = dict(_living_on(clusters))
        if waited > _PATIENCE + _GIVE_UP:
            raise PostgresFailed(f"processes {sorted(living)} still hold {clusters[0]} and cannot be stopped")
        if waited > _PATIENCE:
            _signal(set(living), signal.SIGKILL)
        else:
            # A postmaster stops its backends. Without one they notice its death by themselves, unless they are busy.
            postmasters = {pid for pid, cluster in living.items() if pid == postmaster_pid(cluster)}
            _signal((postmasters or set(living)) - asked, signal.SIGINT if postmasters else signal.SIGQUIT)
            asked |= postmasters or set(living)
        await asyncio.sleep(0.02)


def postmaster_pid(cluster: Path) -> int | None:
    try:
        return int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _living_on(clusters: tuple[Path, ...]) -> Iterator[tuple[int, Path]]:
    """Processes at work in one of the directories: Postgres's, whatever path it was started by. Zombies have none."""
    places = {(found.st_dev, found.st_ino): place for place in clusters if (found := _stat(place))}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (found := _stat(entry / "cwd")):
            cluster = places.get((found.st_dev, found.st_ino))
            if cluster is not None and _name(entry) in {"postgres", "initdb"}:
                yield int(entry.name), cluster


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return ""


def _signal(processes: set[int], number: signal.Signals) -> None:
    for pid in processes:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
