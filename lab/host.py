"""One host: a network namespace with a name, its own links, addresses, routes, firewall and sysctls.

A socket belongs to the namespace in which it was created, for as long as it lives. So one process can hold sockets in
every host: it enters a host only to create them. Entering concerns the calling thread alone; do not await inside.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from ipaddress import IPv4Interface
from pathlib import Path
from typing import IO, Any

from lab import syscalls

NETNS = Path("/run/netns")
_FileOrFd = int | IO[Any] | None


class CommandFailed(Exception):
    """A command in a host ended with an error; the message holds the command and what it said."""


class Host:
    """A namespace under /run/netns, so that `ip netns exec NAME …` finds it too."""

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self._fd = fd

    @classmethod
    def create(cls, name: str) -> Host:
        """A new namespace with `lo` up. Raises FileExistsError when the name is taken."""
        NETNS.mkdir(exist_ok=True)
        path = NETNS / name
        path.touch(exist_ok=False)
        try:
            with _thread_returns():
                syscalls.unshare(syscalls.CLONE_NEWNET)
                syscalls.mount("/proc/thread-self/ns/net", path, None, syscalls.MS_BIND)
                syscalls.set_link_up("lo")
            return cls(name, os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            path.unlink()
            raise

    def delete(self) -> None:
        """Let go of the namespace. It lives on until its last process and socket is gone; its links go with it."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        path = NETNS / self.name
        with suppress(FileNotFoundError):
            syscalls.umount(path, syscalls.MNT_DETACH)
            path.unlink()

    def __repr__(self) -> str:
        return f"<{self.name}>"

    # -- being there

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in the host: sockets it creates and processes it starts belong there."""
        with _thread_returns():
            syscalls.setns(self._fd, syscalls.CLONE_NEWNET)
            yield

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        with self.entered():
            return socket.socket(family, kind, protocol)

    def run(self, *command: str, stdin: str = "", check: bool = True, timeout: float = 10) -> str:
        """Run a command in the host to its end; what it printed. Raises CommandFailed, or TimeoutExpired."""
        with self.entered():
            done = subprocess.run(command, input=stdin, text=True, capture_output=True, timeout=timeout, check=False)
        if check and done.returncode:
            raise CommandFailed(f"{self.name}: {' '.join(command)}: {done.stderr.strip()}\n{stdin}".rstrip())
        return done.stdout

    def popen(
        self,
        *command: str,
        stdin: _FileOrFd = subprocess.DEVNULL,
        stdout: _FileOrFd = None,
        stderr: _FileOrFd = None,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        pass_fds: tuple[int, ...] = (),
        start_new_session: bool = True,
        text: bool = False,
    ) -> subprocess.Popen[Any]:
        """Start a daemon in the host, with the host's own /sys, as `ip netns exec` gives it (same pid: ip executes it).

        By default in a session of its own: Ctrl-C at the terminal is for the caller, who then ends what he started.
        """
        return subprocess.Popen(
            ("ip", "netns", "exec", self.name, *command),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=start_new_session,
            text=text,
        )

    # -- its kernel

    def ip(self, *lines: str) -> None:
        """`ip -batch`: the lines in order, ended by the first that fails (CommandFailed names it)."""
        self.run("ip", "-batch", "-", stdin="\n".join(lines) + "\n")

    def nft(self, ruleset: str) -> str:
        """Load a ruleset text as one transaction; what nft printed."""
        return self.run("nft", "-f", "-", stdin=f"{ruleset}\n")

    def sysctl(self, name: str) -> str:
        with self.entered():
            return _sysctl_path(name).read_text().strip()

    def set_sysctl(self, name: str, value: int | str) -> None:
        with self.entered():
            _sysctl_path(name).write_text(f"{value}\n")

    def links(self) -> dict[str, dict[str, Any]]:
        """By interface name, what `ip -json -details link` says."""
        found: list[dict[str, Any]] = json.loads(self.run("ip", "-json", "-details", "link", "show") or "[]")
        return {link["ifname"]: link for link in found}

    def mac(self, interface: str) -> str:
        return str(self.links()[interface]["address"])

    def addresses(self, interface: str | None = None) -> list[IPv4Interface]:
        selected = ("dev", interface) if interface else ()
        found = json.loads(self.run("ip", "-json", "-4", "address", "show", *selected) or "[]")
        return [
            IPv4Interface(f"{address['local']}/{address['prefixlen']}")
            for link in found
            for address in link.get("addr_info", ())
        ]

    def routes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("ip", "-json", "-4", "route", "show") or "[]")
        return found


def _sysctl_path(name: str) -> Path:
    """Dots or slashes, as sysctl(8): a dot in an interface's name is written with slashes around it."""
    return Path("/proc/sys") / (name if "/" in name else name.replace(".", "/"))


@contextmanager
def _thread_returns() -> Iterator[None]:
    """Whatever network namespace the block moves this thread to, afterwards it is back where it was."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        syscalls.setns(before, syscalls.CLONE_NEWNET)
        os.close(before)
