"""The link that holds the DHCP server's identifier: a bridge without ports, known by its name.

dnsmasq calls itself by an address of an interface. This one is the same on every node and is nobody else's; its scope is
the host, so it is never the source of anything, and nothing can arrive by the link. The link is up, since only then may a
socket be bound to it. A bridge, since that is the one kind of
link that every host of instances can make.
"""

import fcntl
import socket
import struct
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Final

from nodeagent.kernel import Exists
from nodeagent.kernel.netlink import LinkTable, Netlink

LINK: Final = "verge-dhcp"

_NETLINK_ROUTE: Final = 0
_ACK, _REPLACE, _EXCL, _CREATE = 0x4, 0x100, 0x200, 0x400
_NEWLINK, _DELLINK, _NEWADDR = 16, 17, 20
_IFNAME, _LINKINFO, _INFO_KIND = 3, 18, 1
_ADDRESS, _LOCAL = 1, 2
_SCOPE_HOST: Final = 254
_SIOCGIFADDR: Final = 0x8915
_IFF_UP: Final = 1
_ATTRIBUTE = struct.Struct("=HH")


def hold(wanted: IPv4Address) -> None:
    """Whatever of it is missing is made. Raises KernelRefused, OSError."""
    if held(wanted):
        return
    netlink = Netlink(_NETLINK_ROUTE)
    try:
        kind = _attribute(_LINKINFO, _attribute(_INFO_KIND, b"bridge\0"))
        named = _attribute(_IFNAME, LINK.encode() + b"\0")
        with suppress(Exists):
            _order(netlink, _NEWLINK, _CREATE | _EXCL, struct.pack("=BxHiII", 0, 0, 0, 0, 0) + named + kind)
        index = socket.if_nametoindex(LINK)
        _order(netlink, _NEWLINK, 0, struct.pack("=BxHiII", 0, 0, index, _IFF_UP, _IFF_UP))
        to = struct.pack("=BBBBI", socket.AF_INET, 32, 0, _SCOPE_HOST, index)
        both = _attribute(_LOCAL, wanted.packed) + _attribute(_ADDRESS, wanted.packed)
        _order(netlink, _NEWADDR, _CREATE | _REPLACE, to + both)
    finally:
        netlink.close()


def made() -> bool:
    """Is there a link of this name, and is it a bridge without ports, as ours is?"""
    links = LinkTable()
    try:
        found = links.read()
    finally:
        links.close()
    link = found.get(LINK)
    return link is not None and link.call_iptables is not None and all(o.master != link.ifindex for o in found.values())


def release() -> None:
    """The link goes, with its address. Raises KernelRefused, OSError."""
    netlink = Netlink(_NETLINK_ROUTE)
    try:
        _order(netlink, _DELLINK, 0, struct.pack("=BxHiII", 0, 0, socket.if_nametoindex(LINK), 0, 0))
    finally:
        netlink.close()


def held(wanted: IPv4Address) -> bool:
    return address(LINK) == wanted


def address(link: str) -> IPv4Address | None:
    """The first of a link. Two microseconds. netdevice(7)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("16s24x", link.encode()))
        except OSError:
            return None  # no such link, or no address on it
    return IPv4Address(answer[20:24])


def links(bridge: str) -> tuple[int, int]:
    """Indices of the bridge and of our link: one that was deleted and made again is another. 0 where there is none."""
    return _index(bridge), _index(LINK)


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def _order(netlink: Netlink, kind: int, flags: int, body: bytes) -> None:
    for _ in netlink.ask(kind, flags | _ACK, body):
        pass


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)
