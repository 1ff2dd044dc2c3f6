"""Networks as data: segments, the hosts on them, and where a hypervisor's VMs are attached. `build` realises them; `routed`
has more of them.

The flat network, in which the gateway is a real router and the hypervisors' own default route:

    outside 203.0.113.10
       │ internet
    router 203.0.113.1 / 10.111.0.1
       │
    ═══╪═══════════╤═══════════════════╤══════════════ underlay 10.111.0.0/16
       │           │                   │
      clc         up0                 up0
    10.111.1.1     │ nc-1              │ nc-2 …
                  br0 10.111.0.101    br0 10.111.0.102
                 ╱   ╲                 │
            vn_i-…   vn_i-…          vn_i-…
               │       │               │
              VM      VM              VM       default route via 10.111.0.1

Separate public and private networks, each hypervisor on both:

    outside 203.0.113.10
       │ internet
    router 203.0.113.1 / 198.51.100.1 / 10.111.0.1
       │            │
    ═══╪════════════╪══╤═══════════╤══════════════ public 198.51.100.0/24
       │              clc         pub0
       │         198.51.100.10    198.51.100.101 nc-1 …
       │                          br0 10.111.0.101
    ═══╧═══════════════════════════╧══════════════ private 10.111.0.0/16
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network


@dataclass(frozen=True, slots=True)
class Attachment:
    """A host's interface on a segment. With `bridge`, the interface is that bridge's uplink and the bridge has the address."""

    segment: str
    interface: str
    address: IPv4Interface | None
    bridge: str | None = None
    mac: str | None = None


@dataclass(frozen=True, slots=True)
class Zone:
    """What VMs on a hypervisor get: the bridge they hang on, their subnet and its gateway."""

    bridge: str
    subnet: IPv4Network
    gateway: IPv4Address


@dataclass(frozen=True, slots=True)
class Machine:
    """A host of the topology; a hypervisor where it has a zone. `on_link`: networks that it finds right behind one of its
    interfaces, though it has no address in them. `routes`: networks, each with the router that leads there."""

    name: str
    attachments: tuple[Attachment, ...]
    gateway: IPv4Address | None = None
    forwards: bool = False
    zone: Zone | None = None
    on_link: tuple[tuple[IPv4Network, str], ...] = ()
    routes: tuple[tuple[IPv4Network, IPv4Address], ...] = ()

    @property
    def face(self) -> Attachment:
        """Where others know it: a hypervisor on its public side, which comes last, anybody else where it comes first."""
        return self.attachments[-1 if self.zone else 0]


@dataclass(frozen=True, slots=True)
class Topology:
    """Segments are switches; every name is a namespace, so at most 15 characters and unique."""

    name: str
    segments: tuple[str, ...]
    machines: tuple[Machine, ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        """The hypervisors, in order."""
        return tuple(machine.name for machine in self.machines if machine.zone)

    @property
    def public_interface(self) -> str:
        """Of the hypervisors. On a flat network it is the bridge."""
        face = next(machine for machine in self.machines if machine.zone).face
        return face.bridge or face.interface

    @property
    def is_separate(self) -> bool:
        """Are elastic IPs on another network than VMs?"""
        return next(machine for machine in self.machines if machine.zone).face.bridge is None


FLAT_SUBNET = IPv4Network("10.111.0.0/16")
GATEWAY = IPv4Address("10.111.0.1")
CLC = IPv4Address("10.111.1.1")
OUTSIDE = IPv4Address("203.0.113.10")
FIRST_NODE = IPv4Address("10.111.0.101")
FIRST_VM = IPv4Address("10.111.101.94")


def flat(nodes: int = 3) -> Topology:
    """Components, public and private addresses share 10.111.0.0/16; nc-1 is 10.111.0.101, nc-2 the next, …"""

    def inside(interface: str, address: IPv4Address, bridge: str | None = None) -> Attachment:
        return Attachment("underlay", interface, IPv4Interface((address, FLAT_SUBNET.prefixlen)), bridge)

    internet_router = Attachment("internet", "wan0", IPv4Interface("203.0.113.1/24"))
    internet_client = Attachment("internet", "eth0", IPv4Interface((OUTSIDE, 24)))
    zone = Zone("br0", FLAT_SUBNET, GATEWAY)
    return Topology(
        name="flat",
        segments=("underlay", "internet"),
        machines=(
            Machine("router", (inside("lan0", GATEWAY), internet_router), forwards=True),
            Machine("outside", (internet_client,), gateway=IPv4Address("203.0.113.1")),
            Machine("clc", (inside("eth0", CLC),), gateway=GATEWAY),
            *(
                Machine(f"nc-{n + 1}", (inside("up0", FIRST_NODE + n, "br0"),), gateway=GATEWAY, zone=zone)
                for n in range(nodes)
            ),
        ),
    )


PUBLIC_SUBNET = IPv4Network("198.51.100.0/24")
PUBLIC_ROUTER = IPv4Address("198.51.100.1")
PUBLIC_CLC = IPv4Address("198.51.100.10")


def two(nodes: int = 3, router: int = 1) -> Topology:
    """VMs live on 10.111.0.0/16; hypervisors, the CLC and elastic IPs on 198.51.100.0/24. nc-1 is 10.111.0.101 and
    198.51.100.101. The router joins both, and is the hypervisors' default route on the public side. `router` is its number
    on the private one; where the hypervisors are the gateway, it is not 1."""

    def public(interface: str, address: IPv4Address) -> Attachment:
        return Attachment("public", interface, IPv4Interface((address, PUBLIC_SUBNET.prefixlen)))

    def private(interface: str, address: IPv4Address, bridge: str | None = None) -> Attachment:
        return Attachment("private", interface, IPv4Interface((address, FLAT_SUBNET.prefixlen)), bridge)

    internet_router = Attachment("internet", "wan0", IPv4Interface("203.0.113.1/24"))
    internet_client = Attachment("internet", "eth0", IPv4Interface((OUTSIDE, 24)))
    zone = Zone("br0", FLAT_SUBNET, GATEWAY)
    return Topology(
        name="two",
        segments=("private", "public", "internet"),
        machines=(
            Machine(
                "router",
                (private("lan0", FLAT_SUBNET[router]), public("dmz0", PUBLIC_ROUTER), internet_router),
                forwards=True,
            ),
            Machine("outside", (internet_client,), gateway=IPv4Address("203.0.113.1")),
            Machine("clc", (public("eth0", PUBLIC_CLC),), gateway=PUBLIC_ROUTER),
            *(
                Machine(
                    f"nc-{n + 1}",
                    (private("up0", FIRST_NODE + n, "br0"), public("pub0", PUBLIC_SUBNET[101 + n])),
                    gateway=PUBLIC_ROUTER,
                    zone=zone,
                )
                for n in range(nodes)
            ),
        ),
    )
