"""The scratch ports of the self-test, on our bridge while it runs and until `remove`.

        the agent ─ verge-test1 ══ vn_~1 ─┐
                                          ├─ br0
        the agent ─ verge-test2 ══ vn_~2 ─┘

To the bridge it is as if two VMs came and went, and less: the ports learn nothing, nothing is flooded to them, and the one
address that is sent to is entered by hand, so no frame reaches anybody else. They have the bridge's MTU, since it takes the
least of its ports'.

Making them takes some 3 ms; removing them 100, in which the kernel waits until no processor can be using them, so that is
for when nobody waits. A process that dies leaves them; the next one begins with `remove`.
"""

import select
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nodeagent.kernel import Absent, KernelRefused
from nodeagent.kernel.netlink import Netlink, attribute, attributes
from nodeagent.state.scratch import ScratchPort

_ROUTE: Final = 0
_NEWLINK, _DELLINK, _GETLINK, _SETLINK, _NEWNEIGH = 16, 17, 18, 19, 28
_ACK, _EXCL, _DUMP, _CREATE = 0x4, 0x200, 0x300, 0x400
_NESTED: Final = 0x8000
_ADDRESS, _IFNAME, _MTU, _MASTER, _PROTINFO, _LINKINFO = 1, 3, 4, 10, 12, 18
_INFO_KIND, _INFO_DATA = 1, 2
_VETH_PEER: Final = 1
_STP_STATE: Final = 5  # linux/if_link.h IFLA_BR_STP_STATE
_QUIET: Final = (8, 9, 27, 30)  # IFLA_BRPORT_LEARNING, UNICAST_FLOOD, MCAST_FLOOD, BCAST_FLOOD
_UP: Final = 1
_AF_BRIDGE: Final = 7
_LLADDR, _BY_MASTER, _STATIC = 2, 4, 0x42  # NDA_LLADDR, NTF_MASTER, NUD_NOARP | NUD_REACHABLE
_IPV4: Final = 0x0800
_IPV6: Final = Path("/proc/sys/net/ipv6/conf")
_LINK = struct.Struct("=BxHiII")
_LARGEST: Final = 2048


@dataclass(frozen=True, slots=True)
class _Bridge:
    index: int
    mtu: int


class Scratch:
    """The agent at the two outer ends."""

    def __init__(self, sender: str, receiver: str) -> None:
        """Raises OSError."""
        self._sender = _outer(sender)
        try:
            self._receiver = _outer(receiver)
        except OSError:
            self._sender.close()
            raise

    def close(self) -> None:
        """Takes some 40 ms: the kernel waits until no processor can be using them."""
        self._sender.close()
        self._receiver.close()

    def send(self, frame: bytes) -> None:
        """Raises OSError."""
        self._sender.send(frame)

    def receive(self, wait_s: float) -> Iterator[bytes]:
        """What arrives until nothing has for so long."""
        while select.select([self._receiver], [], [], wait_s)[0]:
            yield self._receiver.recv(_LARGEST)


class ScratchLinks:
    """Of the network namespace of the thread that makes it."""

    def __init__(self, bridge: str, ports: tuple[ScratchPort, ScratchPort]) -> None:
        self._bridge = bridge
        self._ports = ports
        self._netlink = Netlink(_ROUTE)
        self._made_for: _Bridge | None = None
        self._between: Scratch | None = None

    def close(self) -> None:
        self._netlink.close()

    def there(self) -> Scratch:
        """Made if need be. Raises KernelRefused, OSError, with what stands against it."""
        bridge = self._state()
        whole = self._between and self._made_for == bridge and all(self._is_port(port, bridge) for port in self._ports)
        if self._between is None or not whole:
            self.remove()
            self._made_for = bridge
            for port in self._ports:
                self._add(port, bridge)
            self._between = Scratch(*(port.peer for port in self._ports))
        return self._between

    def left(self) -> tuple[str, ...]:
        """Ports that are there."""
        found = []
        for port in self._ports:
            with suppress(Absent):
                self._find(port.name)
                found.append(port.name)
        return tuple(found)

    def tidy(self) -> None:
        """Remove them, if they were made. Raises KernelRefused."""
        if self._made_for:
            self.remove()

    def remove(self) -> None:
        """Also what one who died has left. Raises KernelRefused."""
        self._made_for = None
        if self._between:
            self._between.close()
            self._between = None
        for port in self._ports:
            with suppress(Absent):
                self._order(_DELLINK, 0, _LINK.pack(0, 0, self._find(port.name)[0], 0, 0))

    def _state(self) -> _Bridge:
        index, flags, found = self._find(self._bridge)
        if not flags & _UP:
            raise KernelRefused(f"{self._bridge} is down")
        if attributes(attributes(found.get(_LINKINFO, b""), 0).get(_INFO_DATA, b""), 0).get(_STP_STATE, b"\0")[0]:
            raise KernelRefused(f"{self._bridge} runs STP: a new port has to wait before it may forward")
        if not self._has_ports(index):  # its address would be ours, and then none
            raise KernelRefused(f"{self._bridge} has no port yet")
        (mtu,) = struct.unpack("=I", found[_MTU])
        return _Bridge(index, mtu)

    def _has_ports(self, bridge: int) -> bool:
        """Others than ours."""
        master, ours = struct.pack("=I", bridge), {port.name.encode() for port in self._ports}
        links = [attributes(body, 16) for body in self._netlink.ask(_GETLINK, _DUMP, _LINK.pack(0, 0, 0, 0, 0))]
        return any(link.get(_MASTER) == master and link[_IFNAME].rstrip(b"\0") not in ours for link in links)

    def _is_port(self, port: ScratchPort, bridge: _Bridge) -> bool:
        try:
            _, flags, found = self._find(port.name)
        except KernelRefused:
            return False
        return bool(flags & _UP) and found.get(_MASTER) == struct.pack("=I", bridge.index)

    def _add(self, port: ScratchPort, bridge: _Bridge) -> None:
        mtu = attribute(_MTU, struct.pack("=I", bridge.mtu))
        peer = _LINK.pack(0, 0, 0, 0, 0) + _named(port.peer, port.peer_mac) + mtu
        data = attribute(_INFO_DATA | _NESTED, attribute(_VETH_PEER | _NESTED, peer))
        info = attribute(_LINKINFO | _NESTED, attribute(_INFO_KIND, b"veth\0") + data)
        self._order(
            _NEWLINK, _CREATE | _EXCL, _LINK.pack(0, 0, 0, 0, 0) + _named(port.name, port.link_mac) + mtu + info
        )
        # else their own stacks would speak up, past the bridge's rules
        for name in (port.name, port.peer):
            with suppress(FileNotFoundError):
                (_IPV6 / name / "disable_ipv6").write_text("1")
        index, outer = self._find(port.name)[0], self._find(port.peer)[0]
        master = attribute(_MASTER, struct.pack("=I", bridge.index))
        self._order(_NEWLINK, 0, _LINK.pack(0, 0, index, 0, 0) + master)
        quiet = attribute(_PROTINFO | _NESTED, b"".join(attribute(flag, b"\0") for flag in _QUIET))
        self._order(_SETLINK, 0, _LINK.pack(_AF_BRIDGE, 0, index, 0, 0) + quiet)
        for one in (outer, index):
            self._order(_NEWLINK, 0, _LINK.pack(0, 0, one, _UP, _UP))
        entry = struct.pack("=BxxxiHBB", _AF_BRIDGE, index, _STATIC, _BY_MASTER, 0)
        self._order(_NEWNEIGH, _CREATE, entry + attribute(_LLADDR, _mac(port.mac)))

    def _find(self, name: str) -> tuple[int, int, dict[int, bytes]]:
        """Index, flags, attributes. Raises Absent."""
        body = _LINK.pack(0, 0, 0, 0, 0) + attribute(_IFNAME, name.encode() + b"\0")
        try:
            (found,) = self._netlink.ask(_GETLINK, 0, body)
        except KernelRefused as refused:
            raise Absent(f"there is no link {name}: {refused}") from refused
        _, _, index, flags, _ = _LINK.unpack_from(found)
        return index, flags, attributes(found, 16)

    def _order(self, kind: int, flags: int, body: bytes) -> None:
        for _ in self._netlink.ask(kind, flags | _ACK, body):
            pass


def _outer(name: str) -> socket.socket:
    """Hears IPv4 only, whoever it is sent to. Raises OSError."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    try:
        raw.bind((name, _IPV4))
    except OSError:
        raw.close()
        raise
    return raw


def _named(name: str, mac: str) -> bytes:
    return attribute(_IFNAME, name.encode() + b"\0") + attribute(_ADDRESS, _mac(mac))


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
