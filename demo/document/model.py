"""What `GET /v1/model` answers, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Self

Wire = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Range:
    """Addresses from `first` to `last`, both included."""

    first: IPv4Address
    last: IPv4Address

    @classmethod
    def parse(cls, text: str) -> Self:
        first, _, last = text.partition("-")
        return cls(IPv4Address(first), IPv4Address(last or first))

    def __contains__(self, address: IPv4Address) -> bool:
        return self.first <= address <= self.last

    def overlaps(self, network: IPv4Network) -> bool:
        return self.first <= network.broadcast_address and network.network_address <= self.last


@dataclass(frozen=True, slots=True)
class Zone:
    subnet: IPv4Network
    gateway: IPv4Address
    pool: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    zone: str
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class Vm:
    """An instance that has been given a node."""

    id: str
    node: str
    interface: str
    mac: str
    ip: IPv4Address
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Model:
    """`ingress`: the rules of each group, as they are. `elastic`: the addresses that a VM holds. `others`: further private
    subnets of the site, in which nobody of the cloud lives."""

    zones: Mapping[str, Zone]
    nodes: Mapping[str, Node]
    vms: Mapping[str, Vm]
    ingress: Mapping[str, tuple[Wire, ...]]
    elastic: Mapping[IPv4Address, str]
    public: tuple[Range, ...]
    others: tuple[IPv4Network, ...]
    clc: IPv4Address | None
    same_group_allowed: bool

    def elastic_of(self, vm: str) -> IPv4Address | None:
        return next((address for address, holder in self.elastic.items() if holder == vm), None)

    def subnet_of(self, node: str) -> IPv4Network:
        return self.zones[self.nodes[node].zone].subnet

    def is_flat(self, node: str) -> bool:
        """The node's own address is one of its VMs' network."""
        return self.nodes[node].address in self.subnet_of(node)


def read(wire: Wire) -> Model:
    network = wire["network"]
    host = (network["metadata"] or {}).get("host")
    return Model(
        zones={
            name: Zone(
                IPv4Network(zone["subnet"]),
                IPv4Address(zone["gateway"]),
                tuple(map(Range.parse, zone["private_ips"])),
            )
            for name, zone in wire["zones"].items()
        },
        nodes={name: Node(name, node["zone"], IPv4Address(node["address"])) for name, node in wire["nodes"].items()},
        vms={
            name: Vm(
                name,
                vm["node"],
                vm["interface"],
                vm["mac"],
                IPv4Address(vm["private_ip"]),
                frozenset(vm["groups"]),
            )
            for name, vm in wire["instances"].items()
            if vm["node"] is not None
        },
        ingress={name: tuple(group["ingress"]) for name, group in wire["groups"].items()},
        elastic={
            IPv4Address(address): value["instance"]
            for address, value in wire["elastic_ips"].items()
            if value["instance"]
        },
        public=tuple(map(Range.parse, network["public_ips"])),
        others=tuple(map(IPv4Network, network["subnets"])),
        clc=IPv4Address(host) if host else None,
        same_group_allowed=network["same_group_traffic"] == "allow",
    )
