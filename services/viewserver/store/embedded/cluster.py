"""The cluster's directory: laid out once, checked at every start."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from viewserver.store.embedded.account import Account, Programs
from viewserver.store.errors import PostgresFailed

_ROLES = b"CREATE ROLE verge LOGIN;\nCREATE DATABASE verge OWNER verge;\n"

_LAYOUT_TIMEOUT = 120.0


def version_of(data: Path) -> int | None:
    """The major version that laid the cluster out; None when there is no cluster. Raises PostgresFailed."""
    try:
        return int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        if data.exists() and any(data.iterdir()):
            raise PostgresFailed(f"{data} is neither empty nor a Postgres cluster") from None
        return None
    except ValueError:
        raise PostgresFailed(f"{data}/PG_VERSION is no version") from None


@contextmanager
def named(data: Path, account: Account) -> Iterator[tuple[str, list[int]]]:
    """What Postgres is to call the directory, and the descriptors that it needs for that."""
    if not account.switching:
        yield str(data), []
        return
    directory = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}", [directory]
    finally:
        os.close(directory)


async def lay_out(data: Path, new: Path, programs: Programs, lock: int) -> None:
    """Make the cluster with its role and database. Killed at any point, it is begun anew. Raises PostgresFailed."""
    account = programs.account
    _begin(new, account)
    with named(new, account) as (name, descriptors):
        keep = [lock, *descriptors]
        options = [
            "-U",
            "postgres",
            "-A",
            "reject",
            "-E",
            "UTF8",
            "--locale=C",
            "--data-checksums",
            "--no-instructions",
        ]
        await _run(programs, "initdb", ["-D", name, *options], keep)
        single = ["--single", "-c", "exit_on_error=on", "-c", "log_checkpoints=off", "-D", name, "postgres"]
        await _run(programs, "postgres", single, keep, _ROLES)
    _finish(new, data)


def _begin(new: Path, account: Account) -> None:
    if new.exists():
        shutil.rmtree(new)
    new.mkdir(mode=0o700)
    if account.switching:
        os.chown(new, account.uid, account.gid)


def _finish(new: Path, data: Path) -> None:
    if data.exists():
        data.rmdir()  # an empty one, made for us by somebody
    new.rename(data)
    parent = os.open(data.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


async def _run(programs: Programs, program: str, arguments: list[str], keep: list[int], given: bytes = b"") -> None:
    process = programs.start(program, arguments, keep=keep, output=subprocess.PIPE, stdin=subprocess.PIPE)
    try:
        said, _ = await asyncio.to_thread(process.communicate, given, _LAYOUT_TIMEOUT)
    except BaseException:
        process.kill()
        raise
    if process.returncode != 0:
        text = said.decode(errors="replace").strip()
        raise PostgresFailed(f"{program} failed with exit code {process.returncode}: {text[-2000:]}")
