"""Where the story is set: the lab's topology, and the addresses that the cloud controller knows it by."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab import routed, topology
from lab.topology import Topology

MODES = ("impersonate", "node", "router", "proxy")
"""Who is the instances' gateway: the node in the router's place, the node itself, the router, or the node for all of the
subnet."""


class Impossible(Exception):
    """The topology cannot be had in that gateway mode; the text says why."""


def _zone(second: int = 111, pool: str = "11-{}.60") -> dict[str, Any]:
    network = f"10.{second}"
    first, last = pool.format(f"{network}.101").split("-")
    return {
        "subnet": f"{network}.0.0/16",
        "gateway": f"{network}.0.1",
        "private_ips": [f"{network}.101.{first}-{last}"],
    }


@dataclass(frozen=True, slots=True)
class Setting:
    topology: Topology
    what: str
    clc: str
    public_ips: str | None
    """None: private addresses alone."""
    elastic_ip: str
    """The one that moves."""
    uplink: tuple[str, str] = ("clc", "eth0")
    """Host and interface from which neighbours resolve elastic IPs: where two owners would be seen."""
    mode: str = "impersonate"
    zones: Mapping[str, dict[str, Any]] = field(default_factory=lambda: {"zone-a": _zone()})
    zone_of: tuple[str, ...] = ("zone-a", "zone-a", "zone-a")
    """Of nc-1, nc-2, nc-3."""

    @property
    def public_interface(self) -> str:
        return self.topology.public_interface

    @property
    def router(self) -> str:
        """Its address on the first zone's network."""
        return self._face("router")

    def node_address(self, number: int) -> str:
        """Of nc-1, nc-2, … on the network of the components."""
        return self._face(f"nc-{number}")

    def private_ip(self, node: str, number: int) -> str:
        """Of an instance: in its zone's subnet."""
        zone = self.zones[self.zone_of[int(node.removeprefix("nc-")) - 1]]
        return f"{zone['subnet'].removesuffix('.0.0/16')}.101.{number}"

    def _face(self, name: str) -> str:
        face = next(machine.face.address for machine in self.topology.machines if machine.name == name)
        assert face is not None
        return str(face.ip)


def _flat_only(mode: str) -> None:
    if mode == "node":
        raise Impossible("the gateway is a real router there, and the hypervisors' own: they cannot have its address")


def flat(mode: str = "impersonate") -> Setting:
    _flat_only(mode)
    return Setting(
        topology.flat(nodes=3),
        "one flat network, whose router is also the hypervisors' default route",
        str(topology.CLC),
        "10.111.101.91-10.111.101.99",
        "10.111.101.91",
        mode=mode,
    )


def shared_subnet(mode: str = "impersonate") -> Setting:
    _flat_only(mode)
    return Setting(
        topology.flat(nodes=3),
        "one flat network, on whose subnet there are two zones: nc-3 is the second",
        str(topology.CLC),
        "10.111.101.91-10.111.101.99",
        "10.111.101.91",
        mode=mode,
        zones={"zone-a": _zone(pool="11-{}.14"), "zone-b": _zone(pool="15-{}.60")},
        zone_of=("zone-a", "zone-a", "zone-b"),
    )


def two_networks(mode: str = "impersonate") -> Setting:
    return Setting(
        topology.two(nodes=3, router=_beside(mode)),
        "separate public and private networks",
        str(topology.PUBLIC_CLC),
        "198.51.100.200-198.51.100.209",
        "198.51.100.200",
        mode=mode,
    )


def routed_zones(mode: str = "impersonate") -> Setting:
    return Setting(
        routed.routed_zones("aab", router=_beside(mode)),
        "two zones on subnets of their own behind a router, one public network: nc-3 is the second zone",
        str(topology.PUBLIC_CLC),
        "198.51.100.200-198.51.100.209",
        "198.51.100.200",
        mode=mode,
        zones={"zone-a": _zone(), "zone-b": _zone(112)},
        zone_of=("zone-a", "zone-a", "zone-b"),
    )


def private_only(mode: str = "impersonate") -> Setting:
    return Setting(
        routed.private_only(nodes=3, router=_beside(mode)),
        "private addresses alone; the CLC is behind a router and knows the way back",
        str(routed.MANAGEMENT_CLC),
        None,
        "198.51.100.200",
        mode=mode,
    )


def _beside(mode: str) -> int:
    """The router's number: where the nodes are the gateway, number 1 is theirs."""
    return 2 if mode == "node" else 1


SETTINGS: Mapping[str, Callable[[str], Setting]] = {
    "flat": flat,
    "two-networks": two_networks,
    "shared-subnet": shared_subnet,
    "routed-zones": routed_zones,
    "private-only": private_only,
}
