"""The host as the agent is told about it, and as the kernel shows it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface

from nodeagent.state import scratch
from nodeagent.state.limits import DEFAULTS, Limits

_PATTERN = re.compile(r"[A-Za-z0-9_.-]{1,14}\*")


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What holds for this host whatever its view says.

    `ports` is the naming pattern of instances' interfaces, shared with the unit that closes them at boot. nftables
    knows a trailing `*` only, so a pattern is a prefix and a star. Raises ValueError when the bridge or an uplink
    matches it: the ruleset would then close the host's own connection.
    """

    bridge: str
    public_interface: str
    """On a flat network the bridge itself."""
    ports: str = "vn_*"
    uplinks: tuple[str, ...] = ()
    """Other interfaces of the host that no instance may have."""
    transit: bool = True
    """May this host forward what concerns none of its instances? Else it is dropped, bridged or routed."""
    limits: Limits = DEFAULTS
    gateway_mac: str = "02:76:65:72:67:65"
    """By which instances know their gateway and elastic IPs, on every node: one that has moved keeps its neighbour entries.
    Locally administered; no interface has it."""
    self_test: bool = False
    """Are there scratch ports in the ruleset, for packets that show that it is enforced?"""

    def __post_init__(self) -> None:
        if not _PATTERN.fullmatch(self.ports):
            raise ValueError(f"the pattern of ports {self.ports!r} is not a prefix and a star, such as vn_*")
        for name in sorted(self.own_interfaces):
            if self.is_port(name):
                raise ValueError(f"{name} is an interface of the host, yet matches the pattern of ports {self.ports}")

    @property
    def is_separate(self) -> bool:
        """Are elastic IPs on another network than instances?"""
        return self.public_interface != self.bridge

    @property
    def own_interfaces(self) -> frozenset[str]:
        return frozenset((self.bridge, self.public_interface, "lo", *self.uplinks))

    def is_port(self, name: str) -> bool:
        """Does the kernel's wildcard match this name? (`vn_*` matches `vn_` too.)"""
        return name.startswith(self.ports[:-1])

    def is_scratch(self, name: str) -> bool:
        """Is it a port of the self-test?"""
        return any(name == port.name for port in scratch.pair(self.ports) or ())


@dataclass(frozen=True, slots=True)
class Identity:
    """What the host is on its networks, as the kernel shows it, without what we made of it. It changes rarely, and the
    ruleset follows."""

    bridge_mac: str | None = None
    uplinks: frozenset[str] = frozenset()
    """Ports of our bridge that are no instances'."""
    addresses: frozenset[IPv4Address] = frozenset()
    """On all interfaces, those of loopback left out."""
    bridge_addresses: frozenset[IPv4Address] = frozenset()
    next_hops: frozenset[IPv4Address] = frozenset()
    """Routers that the host itself uses."""


@dataclass(frozen=True, slots=True)
class Port:
    """A link that matches the pattern, as the kernel shows it."""

    bridge: str | None
    """The bridge it is enslaved to."""
    ipv6_disabled: bool
    hairpin: bool = False
    """May frames leave by the port they came from? Only then can an instance reach its own elastic IP."""


@dataclass(frozen=True, slots=True)
class Links:
    """The links and settings this agent has to do with."""

    bridge_filtered: bool | None
    """`nf_call_iptables` of our bridge: do bridged packets pass the ip family's hooks? None: there is no such bridge."""
    ports: Mapping[str, Port] = field(default_factory=dict)
    identity: Identity = Identity()
    own_addresses: frozenset[IPv4Interface] = frozenset()
    """Addresses of the bridge that carry our label."""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    """By name, as far as they exist."""


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A kernel setting: the name is the path below /proc/sys."""

    name: str
    value: str
