"""Who holds a UDP port, as the kernel shows it, by sock_diag and by /proc/net alike."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lab.build import Lab
from lab.host import Host
from nodeagent.kernel import Absent, ports
from nodeagent.kernel.ports import Socket, hears

PORT, ANY, OWN = 67, IPv4Address(0), IPv4Address("169.254.67.67")
_HOLD = "import socket, sys\n{}\nprint('held', flush=True); sys.stdin.read()"


@contextmanager
def held(host: Host, *lines: str) -> Iterator[int]:
    """By a process of its own on this host; its pid."""
    with host.entered():
        words = [sys.executable, "-c", _HOLD.format("\n".join(lines))]
        holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        yield holder.pid
    finally:
        holder.communicate()


@pytest.fixture(params=["sock_diag", "proc"])
def host(flat: Lab, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Host:
    if request.param == "proc":

        def refuse(*_: object) -> Iterator[Socket]:
            raise Absent("No such file or directory")

        monkeypatch.setattr(ports, "_asked", refuse)
    return flat["nc-1"]


@pytest.mark.parametrize(
    "lines",
    [
        ("s = socket.socket(2, 2)", "s.bind(('', 67))"),
        ("s = socket.socket(10, 2)", "s.setsockopt(41, 26, 0)", "s.bind(('::', 67))"),
        ("s = socket.socket(10, 2)", "s.setsockopt(41, 26, 0)", "s.bind(('::ffff:0.0.0.0', 67))"),
    ],
    ids=["IPv4", "IPv6 that takes IPv4", "mapped"],
)
def test_the_holder_is_named(host: Host, lines: tuple[str, ...]) -> None:
    with held(host, *lines) as pid, host.entered():
        (holder,) = ports.holders(PORT)
        assert (holder.pid, holder.socket.address, holder.socket.uid) == (pid, ANY, os.getuid())
        assert str(holder) == f"{Path(f'/proc/{pid}/comm').read_text().strip()} (pid {pid})"
        assert ports.owned_by(pid, [holder.socket]) == {holder.socket.inode}
        assert not ports.owned_by(os.getpid(), [holder.socket])
        assert not ports.holders(PORT + 1)
    with host.entered():
        assert not ports.sockets(PORT)


def test_who_takes_no_ipv4_and_other_networks_are_left_out(flat: Lab) -> None:
    six = ("s = socket.socket(10, 2)", "s.setsockopt(41, 26, 1)", "s.bind(('::', 67))")
    four = ("s = socket.socket(2, 2)", "s.bind(('', 67))")
    with held(flat["nc-1"], *six), held(flat["nc-2"], *four), flat["nc-1"].entered():
        assert not ports.sockets(PORT)


def test_the_device_is_known(flat: Lab) -> None:
    host = flat["nc-1"]
    lines = ("s = socket.socket(2, 2)", "s.setsockopt(1, socket.SO_BINDTODEVICE, b'br0')", "s.bind(('', 67))")
    with held(host, *lines), host.entered():
        (found,) = ports.sockets(PORT)
        assert found.device == socket.if_nametoindex("br0")


def test_a_process_that_is_not_seen_is_said_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_descriptors", lambda _: set())
    with held(host, "s = socket.socket(2, 2)", "s.bind(('', 67))"), host.entered():
        (holder,) = ports.holders(PORT)
        assert str(holder) == f"a process that cannot be seen from here (uid {os.getuid()})"


@pytest.mark.parametrize(
    ("address", "device", "heard"),
    [
        (ANY, 0, True),
        (ANY, 7, True),
        (ANY, 8, False),
        (OWN, 0, True),
        (OWN, 8, False),
        (IPv4Address("192.168.122.1"), 0, False),
    ],
)
def test_what_is_bound_elsewhere_does_not_hear(address: IPv4Address, device: int, heard: bool) -> None:
    assert hears(Socket(1, address, device, 0), 7, OWN) is heard
