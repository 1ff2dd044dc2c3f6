"""Connection tracking's entries of flows by an elastic IP that has gone (ctnetlink; linux/netfilter/nfnetlink_conntrack.h).

The ruleset has ended those flows already. The entries must go too: a client that keeps its port would stay bound to the old
holder by them, and an instance that keeps its own could not be heard by another name. Two ways:

    forget      the kernel goes through its table once and deletes what fits: 20 ms where it holds 100,000 flows, nothing where
                it holds none (Linux 6.18 does, 6.1 does not)
    sent_to …   the kernel picks them out (35 ms, and 8 where it holds none: it locks each of its 262,144 buckets), and each is
                deleted by its tuple and id, so that no other that took its place is hit

Never by zone alone: Linux 6.1 then deletes everything.
"""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from nodeagent.kernel import KernelRefused
from nodeagent.kernel.netlink import Netlink, attribute, attributes

_COUNT: Final = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_NETFILTER: Final = 12
_GET: Final = 1 << 8 | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
_DELETE: Final = 1 << 8 | 2
_DUMP: Final = 0x300
_IPV4: Final = bytes([2, 0, 0, 0])  # struct nfgenmsg
_TUPLE_ORIGINAL, _TUPLE_REPLY, _STATUS, _ID, _ZONE, _FILTER = 1, 2, 3, 12, 18, 25
_TUPLE_IP, _IP_SRC, _IP_DST = 1, 1, 2
_FILTER_ORIGINAL, _FILTER_REPLY = 1, 2
_FILTER_OF: Final = {_TUPLE_ORIGINAL: _FILTER_ORIGINAL, _TUPLE_REPLY: _FILTER_REPLY}
_FILTER_SRC, _FILTER_DST = 1 << 0, 1 << 1
_End = tuple[int, int]
_SRC: Final[_End] = (_IP_SRC, _FILTER_SRC)
_DST: Final[_End] = (_IP_DST, _FILTER_DST)
"""The attribute that names an address, and the flag that it is looked at."""
_NESTED: Final = 0x8000
_TRANSLATED: Final = 0x30  # IPS_SRC_NAT | IPS_DST_NAT


class Flow(NamedTuple):
    first_dst: int
    """Where its first packet was sent."""
    reply_src: int
    """Who answers: the destination behind translation."""
    first_src: int
    reply_dst: int
    """The source behind translation."""
    translated: bool
    key: bytes
    """What names it for deletion."""


class Conntrack:
    forgets: bool = True
    """Can this kernel delete by both ends? It is asked once; one that cannot takes the order for one flow's whole tuple, which
    it is not, and refuses."""

    def __init__(self) -> None:
        self._netlink = Netlink(_NETFILTER)

    def close(self) -> None:
        self._netlink.close()

    def count(self) -> int:
        """Of all flows of this namespace. Raises OSError."""
        return int(_COUNT.read_text())

    def forget(self, *, sent_to: int, answered_by: int) -> bool:
        """Flows of which the first packet was sent to the one address and is answered by the other. False: this kernel cannot,
        and has done nothing."""
        return self._forget(((_TUPLE_ORIGINAL, _DST, sent_to), (_TUPLE_REPLY, _SRC, answered_by)))

    def forget_sources(self, *, sent_by: int, seen_as: int) -> bool:
        """Flows of which the first packet was sent by the one address and carries the other behind translation. False: this
        kernel cannot, and has done nothing."""
        return self._forget(((_TUPLE_ORIGINAL, _SRC, sent_by), (_TUPLE_REPLY, _DST, seen_as)))

    def _forget(self, ends: tuple[tuple[int, _End, int], ...]) -> bool:
        body, flags = _IPV4, b""
        for direction, (kind, flag), address in ends:
            ip = attribute(_TUPLE_IP | _NESTED, attribute(kind, address.to_bytes(4, "big")))
            body += attribute(direction | _NESTED, ip)
            flags += attribute(_FILTER_OF[direction], struct.pack("=I", flag))
        try:
            self.forgets = self.forgets and bool(
                self._netlink.order_all(_DELETE, [body + attribute(_FILTER | _NESTED, flags)])
            )
        except KernelRefused:  # whatever it is, the other way will say it too
            self.forgets = False
        return self.forgets

    def sent_to(self, address: int) -> Iterator[Flow]:
        """Flows whose first packet was sent to this address. Raises KernelRefused."""
        return self._picked(_TUPLE_ORIGINAL, _FILTER_ORIGINAL, address)

    def sent_as(self, address: int) -> Iterator[Flow]:
        """Flows that carry it as source, behind translation. Raises KernelRefused."""
        return self._picked(_TUPLE_REPLY, _FILTER_REPLY, address)

    def _picked(self, direction: int, which: int, address: int) -> Iterator[Flow]:
        """The kernel walks its whole table for it: 35 ms where it holds 100,000 flows."""
        ip = attribute(_TUPLE_IP | _NESTED, attribute(_IP_DST, address.to_bytes(4, "big")))
        wanted = attribute(direction | _NESTED, ip)
        flags = attribute(which, struct.pack("=I", _FILTER_DST))
        flags += attribute(_FILTER_ORIGINAL + _FILTER_REPLY - which, struct.pack("=I", 0))
        body = _IPV4 + wanted + attribute(_FILTER | _NESTED, flags)
        return map(_flow, self._netlink.ask(_GET, _DUMP, body))

    def everything(self) -> Iterator[Flow]:
        """5 µs each. Raises KernelRefused."""
        return map(_flow, self._netlink.ask(_GET, _DUMP, _IPV4))

    def delete(self, flows: Iterable[Flow]) -> int:
        """How many of them were still there. Raises KernelRefused."""
        return self._netlink.order_all(_DELETE, [_IPV4 + flow.key for flow in flows])


def _flow(body: bytes) -> Flow:
    found = attributes(body, 4)
    first, reply = _ip(found[_TUPLE_ORIGINAL]), _ip(found[_TUPLE_REPLY])
    key = attribute(_TUPLE_ORIGINAL | _NESTED, found[_TUPLE_ORIGINAL]) + attribute(_ID, found[_ID])
    if _ZONE in found:
        key += attribute(_ZONE, found[_ZONE])
    status = int.from_bytes(found.get(_STATUS, b""), "big")
    return Flow(first[1], reply[0], first[0], reply[1], bool(status & _TRANSLATED), key)


def _ip(tuple_: bytes) -> tuple[int, int]:
    """Source and destination."""
    ip = attributes(attributes(tuple_, 0)[_TUPLE_IP], 0)
    return int.from_bytes(ip[_IP_SRC], "big"), int.from_bytes(ip[_IP_DST], "big")
