"""The host as the agent is told about it, and as the kernel shows it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

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

    def __post_init__(self) -> None:
        if not _PATTERN.fullmatch(self.ports):
            raise ValueError(f"the pattern of ports {self.ports!r} is not a prefix and a star, such as vn_*")
        for name in sorted(self.own_interfaces):
            if self.is_port(name):
                raise ValueError(f"{name} is an interface of the host, yet matches the pattern of ports {self.ports}")

    @property
    def own_interfaces(self) -> frozenset[str]:
        return frozenset((self.bridge, self.public_interface, "lo", *self.uplinks))

    def is_port(self, name: str) -> bool:
        """Does the kernel's wildcard match this name? (`vn_*` matches `vn_` too.)"""
        return name.startswith(self.ports[:-1])


@dataclass(frozen=True, slots=True)
class Port:
    """A link that matches the pattern, as the kernel shows it."""

    bridge: str | None
    """The bridge it is enslaved to."""
    ipv6_disabled: bool


@dataclass(frozen=True, slots=True)
class Links:
    """The links this agent has to do with."""

    bridge_filtered: bool | None
    """`nf_call_iptables` of our bridge: do bridged packets pass the ip family's hooks? None: there is no such bridge."""
    ports: Mapping[str, Port] = field(default_factory=dict)
