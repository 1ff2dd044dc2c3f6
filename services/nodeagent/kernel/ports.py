"""Who has a UDP port of this network namespace, and would he hear what comes in by a given link.

Sockets by sock_diag(7), which alone tells the device that one is bound to; where the kernel has no udp_diag, by
/proc/net/udp (proc(5)), and then every socket counts as bound to none. Processes by the descriptors below /proc that we
may see: a socket of the kernel, of another pid namespace or of a process that hides them has none.

The kernel delivers a broadcast to every socket that matches, a unicast to the best match, and among equals that share a
port (SO_REUSEADDR, SO_REUSEPORT) to any of them. So who shares a port answers too, or takes what was for another.
"""

import errno
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from nodeagent.kernel import KernelRefused
from nodeagent.kernel.netlink import Netlink, attributes

_SOCK_DIAG, _BY_FAMILY, _DUMP = 4, 20, 0x300
_ALL_STATES: Final = 0xFFFF_FFFF
_REQUEST = struct.Struct("=BBxxI H46x")
_ANSWER = struct.Struct("=BBxx 4x16s16xI8x 12xII")
_V6ONLY: Final = 11  # linux/inet_diag.h INET_DIAG_SKV6ONLY
_TABLES: Final = ("udp", "udp6")


@dataclass(frozen=True, slots=True)
class Socket:
    """A UDP socket that may receive IPv4."""

    inode: int
    address: IPv4Address
    """0.0.0.0: any."""
    device: int
    """Index of the link that it is bound to; 0 for none."""
    uid: int


@dataclass(frozen=True, slots=True)
class Holder:
    """A socket and, where it can be seen, whose it is."""

    socket: Socket
    pid: int | None = None
    program: str | None = None

    def __str__(self) -> str:
        if self.pid is None:
            return f"a process that cannot be seen from here (uid {self.socket.uid})"
        return f"{self.program} (pid {self.pid})"


def sockets(port: int) -> tuple[Socket, ...]:
    """By inode. A millisecond at most, nobody is looked for. Raises OSError."""
    try:
        found = [one for family in (socket.AF_INET, socket.AF_INET6) for one in _asked(family, port)]
    except (KernelRefused, OSError) as refused:
        if isinstance(refused, OSError) and refused.errno not in (errno.EPROTONOSUPPORT, errno.EINVAL):
            raise
        found = [one for table in _TABLES for one in _listed(Path("/proc/thread-self/net") / table, port)]
    return tuple(sorted(found, key=lambda one: one.inode))


def holders(port: int) -> tuple[Holder, ...]:
    """All of them, whatever they are bound to. Looks at the descriptors of every process: some 10 ms. Raises OSError."""
    return whose(sockets(port))


def whose(held: Iterable[Socket]) -> tuple[Holder, ...]:
    """In this order. A socket that several processes share is said to be the lowest pid's."""
    sought = {f"socket:[{one.inode}]": Holder(one) for one in held}
    for pid in sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()) if sought else ():
        for name in sought.keys() & _descriptors(pid):
            if sought[name].pid is None:
                sought[name] = replace(sought[name], pid=pid, program=_program(pid))
    return tuple(sought.values())


def owned_by(pid: int, held: Iterable[Socket]) -> frozenset[int]:
    """Inodes of those that this process has open."""
    open_there = _descriptors(pid)
    return frozenset(one.inode for one in held if f"socket:[{one.inode}]" in open_there)


def hears(one: Socket, device: int, *addresses: IPv4Address) -> bool:
    """Would it receive what comes in by this link as a broadcast, or for one of these addresses of the host? Who is bound to
    another link, as libvirt's dnsmasq to virbr0, or to another address, does not."""
    return one.device in (0, device) and (one.address.is_unspecified or one.address in addresses)


def _asked(family: int, port: int) -> Iterator[Socket]:
    netlink = Netlink(_SOCK_DIAG)
    try:
        request = _REQUEST.pack(family, socket.IPPROTO_UDP, _ALL_STATES, socket.htons(port))
        for body in netlink.ask(_BY_FAMILY, _DUMP, request):
            _, _, source, device, uid, inode = _ANSWER.unpack_from(body)
            only6 = attributes(body, _ANSWER.size).get(_V6ONLY, b"\0") != b"\0"
            address = IPv4Address(source[:4]) if family == socket.AF_INET else _in_ipv4(IPv6Address(source))
            if address is not None and not only6:
                yield Socket(inode, address, device, uid)
    finally:
        netlink.close()


def _listed(table: Path, port: int) -> Iterator[Socket]:
    for line in table.read_text().splitlines()[1:] if table.exists() else ():
        words = line.split()
        source, _, local = words[1].rpartition(":")
        if int(local, 16) == port:
            # words of four octets, each as the host would read it
            packed = b"".join(
                int(source[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(source), 8)
            )
            address = IPv4Address(packed) if len(packed) == 4 else _in_ipv4(IPv6Address(packed))
            if address is not None:
                yield Socket(int(words[9]), address, 0, int(words[7]))


def _in_ipv4(address: IPv6Address) -> IPv4Address | None:
    """What an IPv6 socket bound to this receives of IPv4 (ipv6(7)); None: nothing."""
    return IPv4Address(0) if address == IPv6Address(0) else address.ipv4_mapped


def _program(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None  # it ended


def _descriptors(pid: int) -> set[str]:
    found = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.add(str(descriptor.readlink()))
            except OSError:
                continue
    except OSError:
        return set()
    return found
