"""Where the story is set: the lab's topology, and the addresses that the cloud controller knows it by."""

from dataclasses import dataclass
from ipaddress import IPv4Address

from lab import topology
from lab.topology import Topology


@dataclass(frozen=True, slots=True)
class Setting:
    topology: Topology
    what: str
    clc: str
    first_node: IPv4Address
    """nc-1's address on the network of the components; nc-2 has the next."""
    public_ips: str
    elastic_ip: str
    public_interface: str
    uplink: tuple[str, str]
    """Host and interface from which neighbours resolve elastic IPs: where two owners would be seen."""

    def node_address(self, number: int) -> str:
        return str(self.first_node + number - 1)


def flat() -> Setting:
    return Setting(
        topology.flat(nodes=3),
        "one flat network, whose router is also the hypervisors' default route",
        str(topology.CLC),
        topology.FIRST_NODE,
        "10.111.101.91-10.111.101.99",
        "10.111.101.91",
        "br0",
        ("clc", "eth0"),
    )


def two_networks() -> Setting:
    return Setting(
        topology.two(nodes=3),
        "separate public and private networks",
        str(topology.PUBLIC_CLC),
        topology.PUBLIC_SUBNET[101],
        "198.51.100.200-198.51.100.209",
        "198.51.100.200",
        "pub0",
        ("clc", "eth0"),
    )


SETTINGS = {"flat": flat, "two-networks": two_networks}
