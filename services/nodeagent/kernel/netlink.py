"""Three questions and one order by netlink (netlink(7)): the ruleset's generation, its rules' handles, the links, a
bridge's flag.

They are asked every second or at each change, so they are packed by hand: 10 µs for the generation, some 10 µs a link or
rule, where a netlink library takes many times that and 150 ms to import, and libnftables reads all elements of all sets
first.
"""

import os
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from nodeagent.kernel import KernelRefused, refusal

_NETLINK_ROUTE: Final = 0
_NETLINK_NETFILTER: Final = 12
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_NEWLINK, _GETLINK = 16, 18
_GETGEN: Final = 10 << 8 | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN
_GEN_ID: Final = 1
_GETRULE: Final = 10 << 8 | 7  # NFT_MSG_GETRULE
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE, _RULE_USERDATA = 1, 2, 3, 7
_COMMENT: Final = 0  # NFTNL_UDATA_RULE_COMMENT: type and length in an octet each, then text that ends in a zero
_IFNAME, _MASTER, _LINKINFO = 3, 10, 18
_INFO_KIND, _INFO_DATA = 1, 2
_NF_CALL_IPTABLES: Final = 36  # linux/if_link.h IFLA_BR_NF_CALL_IPTABLES
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_MASK: Final = 0x3FFF
_TIMEOUT_S: Final = 5.0


class Link(NamedTuple):
    ifindex: int
    name: str
    master: int
    """Index of the bridge (or bond, …) it is enslaved to; 0 for none."""
    call_iptables: bool | None
    """Of a bridge; None for any other link."""


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
            return int.from_bytes(_attributes(body, 4)[_GEN_ID], "big")
        raise KernelRefused("no generation in the answer")

    def rules(self, family: int, table: str) -> Iterator[Rule]:
        """Of one table, in the order of each chain; none where there is no such table."""
        named = _attribute(_RULE_TABLE, table.encode() + b"\0")
        for body in self._netlink.ask(_GETRULE, _DUMP, bytes([family, 0, 0, 0]) + named):
            found = _attributes(body, 4)
            handle = int.from_bytes(found[_RULE_HANDLE], "big")
            yield Rule(_text(found[_RULE_CHAIN]), handle, _comment(found.get(_RULE_USERDATA, b"")))


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

    def filter_bridge(self, index: int) -> None:
        """Sets nf_call_iptables of this bridge. Raises KernelRefused."""
        data = _attribute(_INFO_DATA, _attribute(_NF_CALL_IPTABLES, b"\1"))
        info = _attribute(_LINKINFO, _attribute(_INFO_KIND, b"bridge\0") + data)
        body = struct.pack("=BxHiII", 0, 0, index, 0, 0) + info
        for _ in self._netlink.ask(_NEWLINK, _ACK, body):
            pass


def _link(body: bytes) -> Link:
    _, _, index, _, _ = struct.unpack_from("=BxHiII", body)
    found = _attributes(body, 16)
    master = struct.unpack("=I", found[_MASTER])[0] if _MASTER in found else 0
    info = _attributes(found.get(_LINKINFO, b""), 0)
    flag = None
    if info.get(_INFO_KIND) == b"bridge\0":
        flag = _attributes(info.get(_INFO_DATA, b""), 0).get(_NF_CALL_IPTABLES, b"\0") != b"\0"
    return Link(index, _text(found[_IFNAME]), master, flag)


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


def _attributes(data: bytes, at: int) -> dict[int, bytes]:
    found = {}
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_MASK] = data[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return found


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)
