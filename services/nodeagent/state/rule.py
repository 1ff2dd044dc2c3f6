"""One rule of a chain, typed: what it looks at, what it compares with, what it does.

`nft/text.py` turns a rule into the kernel's language; tests walk a packet through the typed rules instead of reading
text. Only what our ruleset needs is here.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Literal


class KeyType(Enum):
    """nft data types, and so the types of set keys."""

    IFNAME = "ifname"
    ETHER = "ether_addr"
    IPV4 = "ipv4_addr"
    PROTOCOL = "inet_proto"
    PORT = "inet_service"
    ICMP_TYPE = "icmp_type"
    ICMP_CODE = "icmp_code"
    MARK = "mark"
    WORD = "word"
    """A value with names of its own, such as `arp operation request`: never a set key, printed as it is."""
    RAW = "raw"
    """Bits of a header that nft has no name for: never a set key, printed as hexadecimal."""


class Field(Enum):
    """Something of a packet that a rule can look at: (nft's name, its type).

    A rule whose field the packet does not have (the port of an ICMP message) does not match: the kernel ends the
    evaluation of that rule.
    """

    IIFNAME = ("iifname", KeyType.IFNAME)
    OIFNAME = ("oifname", KeyType.IFNAME)
    DADDR_TYPE = ("fib daddr type", KeyType.WORD)
    """`local` for any address of this host."""
    ETHER_SADDR = ("ether saddr", KeyType.ETHER)
    ETHER_DADDR = ("ether daddr", KeyType.ETHER)
    ETHER_TYPE = ("ether type", KeyType.WORD)
    PACKET_TYPE = ("meta pkttype", KeyType.WORD)
    ARP_OPERATION = ("arp operation", KeyType.WORD)
    ARP_SADDR_ETHER = ("arp saddr ether", KeyType.ETHER)
    ARP_SADDR_IP = ("arp saddr ip", KeyType.IPV4)
    ARP_DADDR_IP = ("arp daddr ip", KeyType.IPV4)
    RARP_OPERATION = ("@nh,48,16", KeyType.RAW)
    RARP_SENDER = ("@nh,64,48", KeyType.RAW)
    RARP_TARGET = ("@nh,144,48", KeyType.RAW)
    DHCP_SIADDR = ("@th,224,32", KeyType.RAW)
    DHCP_CHADDR = ("@th,288,48", KeyType.RAW)
    IP_SADDR = ("ip saddr", KeyType.IPV4)
    IP_DADDR = ("ip daddr", KeyType.IPV4)
    L4PROTO = ("meta l4proto", KeyType.PROTOCOL)
    SPORT = ("th sport", KeyType.PORT)
    DPORT = ("th dport", KeyType.PORT)
    TCP_DPORT = ("tcp dport", KeyType.PORT)
    UDP_SPORT = ("udp sport", KeyType.PORT)
    UDP_DPORT = ("udp dport", KeyType.PORT)
    TCP_FLAGS = ("tcp flags", KeyType.WORD)
    ICMP_TYPE = ("icmp type", KeyType.ICMP_TYPE)
    ICMP_CODE = ("icmp code", KeyType.ICMP_CODE)
    CT_MARK = ("ct mark", KeyType.MARK)
    CT_STATE = ("ct state", KeyType.WORD)
    CT_DIRECTION = ("ct direction", KeyType.WORD)
    CT_STATUS = ("ct status", KeyType.WORD)
    CT_FIRST_DADDR = ("ct original ip daddr", KeyType.IPV4)
    """Where the flow's first packet was sent, before any translation."""
    CT_REPLY_DADDR = ("ct reply ip daddr", KeyType.IPV4)
    """Where replies are sent: the flow's source, after translation."""

    @property
    def text(self) -> str:
        return self.value[0]

    @property
    def type(self) -> KeyType:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Is:
    """The field has one of these values (`negate`: none of them). An interface name may end in `*`."""

    field: Field
    values: tuple[str | int, ...]
    negate: bool = False


@dataclass(frozen=True, slots=True)
class In:
    """The concatenation of the fields is an element of the named set (`negate`: is none)."""

    fields: tuple[Field, ...]
    set: str
    negate: bool = False


@dataclass(frozen=True, slots=True)
class Flag:
    """That bit of the field is set (`negate`: is not)."""

    field: Field
    name: str
    negate: bool = False


@dataclass(frozen=True, slots=True)
class Bits:
    """Of the field's bits in `mask`, these are set, and no others."""

    field: Field
    mask: int
    value: int


@dataclass(frozen=True, slots=True)
class Faster:
    """Packets with this value of the field come at more than `rate` a second, behind the first `burst`. Counted in the
    named set, for each value apart."""

    field: Field
    set: str
    rate: int
    burst: int


@dataclass(frozen=True, slots=True)
class More:
    """With this value of the field there are more than `most` flows tracked, this one included. Counted in the named set;
    only for the first packet of a flow (some kernels count it again with each).

    In `shares`: each flow falls to one of so many counts, by chance, and each may hold its part of `most`. Without, the set has
    the field alone as its key."""

    field: Field
    set: str
    most: int
    shares: int | None = None


@dataclass(frozen=True, slots=True)
class OneOf:
    """One packet of so many, by chance."""

    number: int


Match = Is | In | Flag | Bits | Faster | More | OneOf


@dataclass(frozen=True, slots=True)
class Accept:
    """Ends the judgement of this base chain; later hooks still judge."""


@dataclass(frozen=True, slots=True)
class Drop:
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Jump:
    """Goes on behind this rule when the chain ends without a verdict."""

    chain: str


@dataclass(frozen=True, slots=True)
class Goto:
    """Does not come back to this chain."""

    chain: str


@dataclass(frozen=True, slots=True)
class Dispatch:
    """The verdict that the named map holds for the field; the next rule, where it holds none."""

    field: Field
    map: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """Sets the flow's mark to what the named map holds for the field, and goes on."""

    field: Field
    map: str


@dataclass(frozen=True, slots=True)
class Note:
    """Puts the field's value into the named set, for as long as that keeps it, and goes on."""

    field: Field
    set: str


@dataclass(frozen=True, slots=True)
class Write:
    """Puts the value into the packet's field, and goes on."""

    field: Field
    value: str


@dataclass(frozen=True, slots=True)
class Translate:
    """Gives the flow another destination (`dnat`) or source (`snat`), and ends the judgement of this base chain."""

    side: Literal["dnat", "snat"]
    address: int
    port: int | None = None


@dataclass(frozen=True, slots=True)
class TranslateBy:
    """Likewise to what the named map holds for the field; the next rule, where it holds none."""

    side: Literal["dnat", "snat"]
    field: Field
    map: str


Verdict = Accept | Drop | Jump | Goto
Action = Verdict | Dispatch | Stamp | Note | Write | Translate | TranslateBy


@dataclass(frozen=True, slots=True)
class Rule:
    matches: tuple[Match, ...]
    action: Action

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the sets it looks into (maps are not among them)."""
        return tuple(part.set for part in (*self.matches, self.action) if isinstance(part, In | Faster | More | Note))

    @property
    def maps(self) -> tuple[str, ...]:
        return (self.action.map,) if isinstance(self.action, Dispatch | Stamp | TranslateBy) else ()


ACCEPT = Accept()
DROP = Drop()
COUNTED_DROP = Drop(counted=True)


def rule(*parts: Match | Action) -> Rule:
    """`rule(match, …, action)`: reads as nft does."""
    *matches, action = parts
    assert not isinstance(action, Match)
    assert all(isinstance(match, Match) for match in matches)
    return Rule(tuple(match for match in matches if isinstance(match, Match)), action)


def equals(field: Field, *values: str | int) -> Is:
    return Is(field, values)


def differs(field: Field, *values: str | int) -> Is:
    return Is(field, values, negate=True)


def within(set_name: str, *fields: Field) -> In:
    return In(fields, set_name)


def outside(set_name: str, *fields: Field) -> In:
    return In(fields, set_name, negate=True)
