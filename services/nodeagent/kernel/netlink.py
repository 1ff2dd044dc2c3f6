"""A few questions and orders by netlink (netlink(7)): the ruleset's generation, its rules' handles; links and addresses, a
bridge's and a port's flag.

They are asked every second or at each change, so they are packed by hand: 10 µs for the generation, some 10 µs a link or
rule, where a netlink library takes many times that and 150 ms to import, and libnftables reads all elements of all sets
first.
"""

import errno
import os
import socket
import struct
import sys
from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Interface
from typing import Final, NamedTuple

from nodeagent.kernel import KernelRefused, refusal

_NETLINK_ROUTE: Final = 0
_NETLINK_NETFILTER: Final = 12
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_NEWLINK, _GETLINK, _SETLINK = 16, 18, 19
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_DELNEIGH: Final = 29
_NDA_DST: Final = 1
_CREATE, _EXCL = 0x400, 0x200
_GETGEN: Final = 10 << 8 | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN
_GEN_ID: Final = 1
_BATCH_BEGIN, _BATCH_END = (
    (kind, 0, struct.pack("!BBH", 0, 0, 10)) for kind in (16, 17)
)  # NFNL_MSG_BATCH_*, of nftables
_GETTABLE: Final = 10 << 8 | 1  # NFT_MSG_GETTABLE
_TABLE_NAME, _TABLE_FLAGS, _DORMANT = 1, 2, 1
_GETRULE: Final = 10 << 8 | 7  # NFT_MSG_GETRULE
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE, _RULE_EXPRESSIONS, _RULE_USERDATA = 1, 2, 3, 4, 7
_EXPR_NAME, _EXPR_DATA, _COUNTER_PACKETS = 1, 2, 2
_COMMENT: Final = 0  # NFTNL_UDATA_RULE_COMMENT: type and length in an octet each, then text that ends in a zero
_ADDRESS, _IFNAME, _MTU, _MASTER, _PROTINFO, _LINKINFO = 1, 3, 4, 10, 12, 18
_UP: Final = 1  # IFF_UP
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_DATA = 1, 2, 5
_HAIRPIN: Final = 4  # linux/if_link.h IFLA_BRPORT_MODE
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL = 1, 2, 3
_NESTED: Final = 0x8000
_AF_INET, _AF_BRIDGE = 2, 7
_SCOPE_HOST: Final = 254
_NF_CALL_IPTABLES: Final = 36  # linux/if_link.h IFLA_BR_NF_CALL_IPTABLES
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_MASK: Final = 0x3FFF
_TIMEOUT_S: Final = 5.0
_BATCH: Final = 64
"""Orders that are acknowledged together: their answers fit the socket's buffer."""


class Link(NamedTuple):
    ifindex: int
    name: str
    master: int
    """Index of the bridge (or bond, …) it is enslaved to; 0 for none."""
    call_iptables: bool | None
    """Of a bridge; None for any other link."""
    mac: str
    hairpin: bool
    """Of a bridge's port."""
    kind: str = ""
    """`bridge`, `veth`, `vlan`, …; empty for a device of hardware."""
    mtu: int = 0
    is_up: bool = False
    """As it is told to be, whether or not there is a carrier."""


class Address(NamedTuple):
    ifindex: int
    address: IPv4Interface
    label: str


class Netlink:
    """One socket of one protocol."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.settimeout(_TIMEOUT_S)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def ask(self, kind: int, flags: int, body: bytes) -> Iterator[bytes]:
        """Bodies of the answers. Raises KernelRefused."""
        self._sequence = self._sequence + 1 & 0xFFFF_FFFF
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST, self._sequence, 0) + body)
        while True:
            data = self._socket.recv(1 << 20)
            at = 0
            while at + _HEADER.size <= len(data):
                length, answer, _, sequence, _ = _HEADER.unpack_from(data, at)
                body = data[at + _HEADER.size : at + length]
                at += length + 3 & ~3
                if sequence != self._sequence:
                    continue  # the rest of an answer that nobody waited for
                if answer == _DONE:
                    return
                if answer == _ERROR:
                    code = -struct.unpack_from("=i", body)[0]
                    if code:
                        raise refusal(os.strerror(code))
                    return
                yield body
                if not flags & (_DUMP | _ACK):
                    return

    def order_all(self, kind: int, bodies: list[bytes]) -> int:
        """Sends orders in batches; how many were carried out. What was not there is no fault. Raises KernelRefused."""
        done = 0
        for start in range(0, len(bodies), _BATCH):
            batch = bodies[start : start + _BATCH]
            self._sequence = self._sequence + 1 & 0xFFFF_FFFF
            self._socket.send(
                b"".join(
                    _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _ACK, self._sequence, 0) + body
                    for body in batch
                )
            )
            done += self._acknowledged(len(batch))
        return done

    def transact(self, messages: Iterable[tuple[int, int, bytes]]) -> None:
        """Type, flags and body of each, in one go, of which the last one is acknowledged. Raises KernelRefused: the first reason
        that is given."""
        self._sequence = self._sequence + 1 & 0xFFFF_FFFF
        packed = [
            _HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST, self._sequence, 0) + body
            for kind, flags, body in messages
        ]
        try:
            self._socket.send(b"".join(packed))
        except OSError as failed:  # longer than the socket's buffer
            raise refusal(failed.strerror or str(failed)) from failed
        self._acknowledged(1, nothing_is_fine=False)

    def _acknowledged(self, waiting: int, *, nothing_is_fine: bool = True) -> int:
        done = 0
        while waiting:
            data = self._socket.recv(1 << 20)
            at = 0
            while at + _HEADER.size <= len(data):
                length, answer, _, sequence, _ = _HEADER.unpack_from(data, at)
                if answer == _ERROR and sequence == self._sequence:
                    code = -struct.unpack_from("=i", data, at + _HEADER.size)[0]
                    if code and not (nothing_is_fine and code == errno.ENOENT):
                        raise refusal(os.strerror(code))
                    waiting -= 1
                    done += code == 0
                at += length + 3 & ~3
        return done


class Rule(NamedTuple):
    chain: str
    handle: int
    comment: str


class Nftables:
    """What libnftables is slow to tell."""

    def __init__(self) -> None:
        self._netlink = Netlink(_NETLINK_NETFILTER)

    def close(self) -> None:
        self._netlink.close()

    def generation(self) -> int:
        """Of all rulesets in this namespace: whoever commits anything raises it by one."""
        for body in self._netlink.ask(_GETGEN, 0, b"\0\0\0\0"):
            return int.from_bytes(attributes(body, 4)[_GEN_ID], "big")
        raise KernelRefused("no generation in the answer")

    def commit(self, messages: Collection[tuple[int, int, bytes]]) -> None:
        """All of them or none (type, flags and body of each). What is deleted must be there. Raises KernelRefused."""
        *first, (kind, flags, body) = messages
        last = (kind, flags | _ACK, body)
        self._netlink.transact((_BATCH_BEGIN, *first, last, _BATCH_END))

    def tables(self) -> Iterator[tuple[int, str, bool]]:
        """Family, name, and whether it is dormant (its chains are entered by no packet). libnftables 1.0.6 writes something
        that is no JSON as soon as any table has a flag."""
        for body in self._netlink.ask(_GETTABLE, _DUMP, b"\0\0\0\0"):
            found = attributes(body, 4)
            flags = int.from_bytes(found.get(_TABLE_FLAGS, b""), "big")
            yield body[0], _text(found[_TABLE_NAME]), bool(flags & _DORMANT)

    def rules(self, family: int, table: str, chain: str | None = None) -> Iterator[Rule]:
        """Of one table, or of one chain of it, in the order of each chain; none where there is no such thing."""
        named = attribute(_RULE_TABLE, table.encode() + b"\0")
        if chain is not None:
            named += attribute(_RULE_CHAIN, chain.encode() + b"\0")
        for body in self._netlink.ask(_GETRULE, _DUMP, bytes([family, 0, 0, 0]) + named):
            found = attributes(body, 4)
            handle = int.from_bytes(found[_RULE_HANDLE], "big")
            yield Rule(_text(found[_RULE_CHAIN]), handle, _comment(found.get(_RULE_USERDATA, b"")))

    def counted(self, family: int, table: str, chain: str) -> int:
        """Packets that the counters in this chain's rules have seen; 0 where there is no such chain. Raises KernelRefused."""
        named = attribute(_RULE_TABLE, table.encode() + b"\0") + attribute(_RULE_CHAIN, chain.encode() + b"\0")
        packets = 0
        for body in self._netlink.ask(_GETRULE, _DUMP, bytes([family, 0, 0, 0]) + named):
            for expression in _items(attributes(body, 4).get(_RULE_EXPRESSIONS, b"")):
                found = attributes(expression, 0)
                if found[_EXPR_NAME] == b"counter\0":
                    packets += int.from_bytes(attributes(found[_EXPR_DATA], 0)[_COUNTER_PACKETS], "big")
        return packets


class LinkTable:
    """The links of this namespace."""

    def __init__(self) -> None:
        self._netlink = Netlink(_NETLINK_ROUTE)

    def close(self) -> None:
        self._netlink.close()

    def read(self) -> dict[str, Link]:
        """By name."""
        links = (_link(body) for body in self._netlink.ask(_GETLINK, _DUMP, struct.pack("=BxHiII", 0, 0, 0, 0, 0)))
        return {link.name: link for link in links}

    def filter_bridge(self, index: int, *, on: bool = True) -> None:
        """Sets nf_call_iptables of this bridge. Raises KernelRefused."""
        data = attribute(_INFO_DATA, attribute(_NF_CALL_IPTABLES, bytes([on])))
        info = attribute(_LINKINFO, attribute(_INFO_KIND, b"bridge\0") + data)
        self._order(_NEWLINK, 0, struct.pack("=BxHiII", 0, 0, index, 0, 0) + info)

    def set_hairpin(self, index: int, *, on: bool = True) -> None:
        """May a bridge's port send what it received? Raises KernelRefused."""
        flag = attribute(_PROTINFO | _NESTED, attribute(_HAIRPIN, bytes([on])))
        self._order(_SETLINK, 0, struct.pack("=BxHiII", _AF_BRIDGE, 0, index, 0, 0) + flag)

    def addresses(self) -> list[Address]:
        """IPv4, those of loopback left out."""
        bodies = self._netlink.ask(_GETADDR, _DUMP, struct.pack("=BBBBI", _AF_INET, 0, 0, 0, 0))
        return [address for address in map(_address, bodies) if address is not None]

    def add_address(self, index: int, address: IPv4Interface, label: str) -> None:
        """Raises KernelRefused."""
        self._order(_NEWADDR, _CREATE | _EXCL, _address_body(index, address, label))

    def delete_address(self, index: int, address: IPv4Interface) -> None:
        """Raises KernelRefused."""
        self._order(_DELADDR, 0, _address_body(index, address, ""))

    def delete_neighbour(self, index: int, address: IPv4Address) -> None:
        """Raises Absent, KernelRefused."""
        self._order(
            _DELNEIGH, 0, struct.pack("=BxxxiHBB", _AF_INET, index, 0, 0, 0) + attribute(_NDA_DST, address.packed)
        )

    def _order(self, kind: int, flags: int, body: bytes) -> None:
        for _ in self._netlink.ask(kind, flags | _ACK, body):
            pass


def _link(body: bytes) -> Link:
    _, _, index, flags, _ = struct.unpack_from("=BxHiII", body)
    found = attributes(body, 16)
    master = struct.unpack("=I", found[_MASTER])[0] if _MASTER in found else 0
    info = attributes(found.get(_LINKINFO, b""), 0)
    flag = None
    if info.get(_INFO_KIND) == b"bridge\0":
        flag = attributes(info.get(_INFO_DATA, b""), 0).get(_NF_CALL_IPTABLES, b"\0") != b"\0"
    hairpin = attributes(info.get(_INFO_SLAVE_DATA, b""), 0).get(_HAIRPIN, b"\0") == b"\1"
    return Link(
        index,
        _text(found[_IFNAME]),
        master,
        flag,
        found.get(_ADDRESS, b"").hex(":"),
        hairpin,
        _text(info.get(_INFO_KIND, b"")),
        int.from_bytes(found.get(_MTU, b""), sys.byteorder),
        bool(flags & _UP),
    )


def _address(body: bytes) -> Address | None:
    _, length, _, scope, index = struct.unpack_from("=BBBBI", body)
    found = attributes(body, 8)
    local = found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS))
    if local is None or scope == _SCOPE_HOST:
        return None
    return Address(index, IPv4Interface((IPv4Address(local), length)), _text(found.get(_IFA_LABEL, b"")))


def _address_body(index: int, address: IPv4Interface, label: str) -> bytes:
    packed = address.ip.packed
    body = struct.pack("=BBBBI", _AF_INET, address.network.prefixlen, 0, 0, index)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    return body + (attribute(_IFA_LABEL, label.encode() + b"\0") if label else b"")


def _comment(data: bytes) -> str:
    at = 0
    while at + 2 <= len(data):
        kind, length = data[at], data[at + 1]
        if kind == _COMMENT:
            return _text(data[at + 2 : at + 2 + length])
        at += 2 + length
    return ""


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def attributes(data: bytes, at: int) -> dict[int, bytes]:
    found = {}
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_MASK] = data[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return found


def _items(data: bytes) -> Iterator[bytes]:
    """Of a list: attributes that are all of one kind."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, _ = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield data[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3


def attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)
