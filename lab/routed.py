"""Topologies whose private networks lie behind a router.

Zones on subnets of their own, and one public network for all of them:

    outside 203.0.113.10
       │ internet
    router 203.0.113.1 / 198.51.100.1 / 10.111.0.1 / 10.112.0.1
       │           │                   │
    ═══╪═══════════╪══╤════════════════╪══╤═════════════ public 198.51.100.0/24
       │           │  │ pub0           │  │ pub0            and the CLC, 198.51.100.10
       │           │ nc-1, nc-2        │ nc-3, nc-4
       │           │  │ br0            │  │ br0
       │        ═══╧══╧════ private-a ═╧══╧════ private-b
       │        10.111.0.0/16          10.112.0.0/16

Private addresses alone: no public network, and a CLC that knows the way back:

    outside 203.0.113.10       clc 192.0.2.10, 10.111.0.0/16 via 192.0.2.1
       │ internet                │ management 192.0.2.0/24
    router 203.0.113.1 / 192.0.2.1 / 10.111.0.1
       │
    ═══╧═══╤═══════════════════╤══════════════ private 10.111.0.0/16
           │ nc-1              │ nc-2 …
          br0 10.111.0.101    br0 10.111.0.102

Where the hypervisors are the gateway themselves, the router is another machine of the private network: `router=2`.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from lab.topology import (
    FLAT_SUBNET,
    OUTSIDE,
    PUBLIC_CLC,
    PUBLIC_ROUTER,
    PUBLIC_SUBNET,
    Attachment,
    Machine,
    Topology,
    Zone,
)

ZONES = {"a": FLAT_SUBNET, "b": IPv4Network("10.112.0.0/16")}
MANAGEMENT = IPv4Network("192.0.2.0/24")
MANAGEMENT_CLC = IPv4Address("192.0.2.10")
_INTERNET = Attachment("internet", "wan0", IPv4Interface("203.0.113.1/24"))
_OUTSIDE = Machine(
    "outside",
    (Attachment("internet", "eth0", IPv4Interface((OUTSIDE, 24))),),
    gateway=IPv4Address("203.0.113.1"),
)


def _on(segment: str, interface: str, network: IPv4Network, number: int, bridge: str | None = None) -> Attachment:
    return Attachment(segment, interface, IPv4Interface((network[number], network.prefixlen)), bridge)


def routed_zones(nodes: str = "aabb", router: int = 1) -> Topology:
    """A hypervisor for each letter, which is its zone. nc-1 is 10.111.0.101 and 198.51.100.101; the first of the other zone
    is 10.112.0.101, and on the public side goes on counting. Each reaches the other zone's subnet by the private router."""

    def hypervisor(number: int) -> Machine:
        here = nodes[number]
        there = "b" if here == "a" else "a"
        subnet = ZONES[here]
        return Machine(
            f"nc-{number + 1}",
            (
                _on(f"private-{here}", "up0", subnet, 101 + nodes[:number].count(here), "br0"),
                _on("public", "pub0", PUBLIC_SUBNET, 101 + number),
            ),
            gateway=PUBLIC_ROUTER,
            zone=Zone("br0", subnet, subnet[1]),
            routes=((ZONES[there], subnet[router]),),
        )

    lans = (_on(f"private-{zone}", f"lan-{zone}", subnet, router) for zone, subnet in ZONES.items())
    dmz = Attachment("public", "dmz0", IPv4Interface((PUBLIC_ROUTER, PUBLIC_SUBNET.prefixlen)))
    clc = Attachment("public", "eth0", IPv4Interface((PUBLIC_CLC, PUBLIC_SUBNET.prefixlen)))
    return Topology(
        name="routed zones",
        segments=("private-a", "private-b", "public", "internet"),
        machines=(
            Machine("router", (*lans, dmz, _INTERNET), forwards=True),
            _OUTSIDE,
            Machine("clc", (clc,), gateway=PUBLIC_ROUTER),
            *(hypervisor(number) for number in range(len(nodes))),
        ),
    )


def private_only(nodes: int = 3, router: int = 1) -> Topology:
    """nc-1 is 10.111.0.101, the next 10.111.0.102, …"""
    way_back = (FLAT_SUBNET, MANAGEMENT[1])
    return Topology(
        name="private only",
        segments=("private", "management", "internet"),
        machines=(
            Machine(
                "router",
                (_on("private", "lan0", FLAT_SUBNET, router), _on("management", "mgmt0", MANAGEMENT, 1), _INTERNET),
                forwards=True,
            ),
            _OUTSIDE,
            Machine("clc", (_on("management", "eth0", MANAGEMENT, 10),), routes=(way_back,)),
            *(
                Machine(
                    f"nc-{number + 1}",
                    (_on("private", "up0", FLAT_SUBNET, 101 + number, "br0"),),
                    gateway=FLAT_SUBNET[router],
                    zone=Zone("br0", FLAT_SUBNET, FLAT_SUBNET[1]),
                )
                for number in range(nodes)
            ),
        ),
    )
