"""What was found on the host, before anybody judges it. Each part is gathered as a whole, and None where it was not yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network
from typing import Any


@dataclass(frozen=True, slots=True)
class Interface:
    kind: str
    """`bridge`, `veth`, …; empty for a device of hardware."""
    is_up: bool
    mtu: int
    master: str | None
    """The bridge or bond it is part of."""
    addresses: tuple[IPv4Interface, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """Of the main table."""

    to: IPv4Network
    interface: str
    is_direct: bool
    """The network is on the link, not behind a router."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A file below /proc/sys."""

    value: str
    writable: bool


@dataclass(frozen=True, slots=True)
class Links:
    """Cheap enough for every pass."""

    interfaces: Mapping[str, Interface]
    routes: tuple[Route, ...]
    bridges_filtered: bool
    """br_netfilter is there."""


@dataclass(frozen=True, slots=True)
class Kernel:
    capable: bool
    """CAP_NET_ADMIN."""
    library: bool
    """libnftables can be loaded."""
    settings: Mapping[str, Setting]
    """Those of our settings that exist, by their path below /proc/sys."""
    most_flows: int | None
    """nf_conntrack_max."""


@dataclass(frozen=True, slots=True)
class Features:
    release: str
    """The kernel's."""
    refused: Mapping[str, str]
    """Of what our ruleset is made of, what the kernel does not take, and its words."""


@dataclass(frozen=True, slots=True)
class Table:
    """A foreign table, by the chains that its rules are in."""

    family: str
    name: str
    hooks: tuple["Hook", ...]
    chains: Mapping[str, tuple[tuple[Any, ...], ...]]
    """Each rule as the statements of libnftables-json(5)."""
    sets: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    is_legacy: bool = False
    """Of iptables-legacy."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A base chain."""

    chain: str
    hook: str
    drops: bool
    """By policy."""


@dataclass(frozen=True, slots=True)
class Firewalls:
    tables: tuple[Table, ...]
    """Those with a chain where packets of instances come by."""
    has_iptables: bool
    """The command iptables-nft is there: whoever writes rules with it should be asked in his own language."""
    flushing_units: tuple[str, ...]
    """Units that are enabled and flush the ruleset, by the link that enables them."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has UDP port 67."""

    who: str
    pid: int | None
    """None: nobody that can be seen."""
    program: str | None
    hears_us: bool
    """What comes in by our bridge reaches him; not so if he is bound to another interface."""


@dataclass(frozen=True, slots=True)
class DhcpPort:
    holders: tuple[Holder, ...]
    """Ours left out."""
    free: bool
    """A server that shares as dnsmasq does could have the port."""


@dataclass(frozen=True, slots=True)
class Tools:
    """By the version that they say; None: not installed."""

    nft: str | None
    dnsmasq: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Somebody was asked: who, and why he did not answer. None: he did."""

    who: str
    problem: str | None


@dataclass(frozen=True, slots=True)
class Reach:
    gateway: Answer | None
    """None: he cannot be asked, or there is nobody to ask."""
    metadata: Answer | None
    servers: tuple[Answer, ...]
    clock_synchronised: bool | None
    """By the kernel's own word; None: it gives none."""
    clock_ahead_s: float | None
    """Of the server's Date, which has whole seconds; None: no server said one."""


@dataclass(frozen=True, slots=True)
class Facts:
    links: Links | None = None
    kernel: Kernel | None = None
    features: Features | None = None
    firewalls: Firewalls | None = None
    dhcp: DhcpPort | None = None
    tools: Tools | None = None
    reach: Reach | None = None
    unread: Mapping[str, str] = field(default_factory=dict)
    """Parts that could not be gathered, and why."""
