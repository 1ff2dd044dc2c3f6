"""A dnsmasq process of this agent: one that it started, or one that an agent before it started and could not end.

A process is ours when its command line names a configuration in our directory and it lives in our network namespace; pid
files are not asked. It outlives an agent that is killed, so instances go on renewing, and the next agent takes it over.
"""

import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nodeagent.dnsmasq import DnsmasqFailed
from nodeagent.kernel.ports import holders

_OPTION: Final = "--conf-file="
_NAME: Final = re.compile(r"dnsmasq-[0-9a-f]{16}\.conf")
_STARTED: Final = "started, version"
_START_S, _END_S = 5.0, 5.0
PORT: Final = 67


class PortTaken(DnsmasqFailed):
    """By somebody who does not share it."""


@dataclass(slots=True)
class Running:
    pid: int
    configuration: Path
    _handle: int
    """A pidfd: it never names another process, however often pids are used again."""
    _child: "subprocess.Popen[bytes] | None" = None
    """None: taken over, and so somebody else's to reap."""

    def alive(self) -> bool:
        if self._handle < 0:
            return False
        if not select.select([self._handle], [], [], 0)[0]:
            return True
        self._reap()
        return False

    def read_again(self) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGHUP)

    def release(self) -> None:
        """Let it run; it is not looked at again."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def end(self) -> None:
        """Ended when this returns."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self.alive():
                return
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)
            select.select([self._handle], [], [], _END_S)
        self.alive()

    def _reap(self) -> None:
        if self._child:
            self._child.wait()
        os.close(self._handle)
        self._handle = -1


def start(configuration: Path, log: Path, user: str = "") -> Running:
    """Ready for requests when this returns. In a session of its own: what a terminal sends is for the agent, which ends it
    in order. `user` as `account` chose it. Raises DnsmasqFailed, OSError."""
    program = shutil.which("dnsmasq", path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin")
    if program is None:
        raise DnsmasqFailed("dnsmasq is not installed, so no instance gets an address: apt install dnsmasq-base")
    arguments = ("--keep-in-foreground", "--log-facility=-", "--pid-file=", f"--user={user}", "--group=")
    log.unlink(missing_ok=True)
    with log.open("ab") as said:
        child = subprocess.Popen(  # noqa: S603 - every word of it is ours
            [program, *arguments, f"{_OPTION}{configuration}"],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
    running = Running(child.pid, configuration, os.pidfd_open(child.pid), child)
    deadline = time.monotonic() + _START_S
    while _STARTED not in log.read_text(errors="replace"):
        if not running.alive():
            raise _why(log)
        if time.monotonic() > deadline:
            running.end()
            raise DnsmasqFailed(f"dnsmasq did not start within {_START_S:.0f} s: {_last_line(log)}")
        select.select([running._handle], [], [], 0.003)
    return running


def found(directory: Path | None) -> Iterator[Running]:
    """Those that run already, started by whom ever; without a directory, those of any state directory."""
    here = Path("/proc/thread-self/ns/net").stat().st_ino
    for name in filter(str.isdigit, (path.name for path in Path("/proc").iterdir())):
        try:
            handle = os.pidfd_open(int(name))
        except OSError:
            continue
        configuration = _configuration(name, directory, here)
        if configuration:
            yield Running(int(name), configuration, handle)
        else:
            os.close(handle)


def _configuration(pid: str, directory: Path | None, namespace: int) -> Path | None:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
        if not words[0].endswith("dnsmasq") or Path(f"/proc/{pid}/ns/net").stat().st_ino != namespace:
            return None
    except OSError:
        return None
    for word in words:
        path = Path(word.removeprefix(_OPTION))
        if word.startswith(_OPTION) and (
            path.parent == directory or (directory is None and _NAME.fullmatch(path.name))
        ):
            return path
    return None


def _why(log: Path) -> DnsmasqFailed:
    said = _last_line(log)
    if "in use" not in said:
        return DnsmasqFailed(f"dnsmasq does not start: {said}")
    culprits = ", ".join(dict.fromkeys(map(str, holders(PORT)))) or "somebody who has just let go of it"
    return PortTaken(
        f"UDP port {PORT} is taken by {culprits}: end it, or keep it off this host; no instance gets an address"
    )


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("dnsmasq: ").strip() if lines else "it said nothing"
