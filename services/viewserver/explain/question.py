"""Who sends what to whom. An end is looked up in a network, since what an address means there depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Final, Literal

from verge.contract.rule import ICMP, PROTOCOL_NUMBERS, TCP, UDP
from viewserver.compile.view import NO_SETTINGS
from viewserver.model.network import Network
from viewserver.model.objects import Node
from viewserver.model.text import NO_IPV6, parse_ipv4

METADATA: Final = IPv4Address("169.254.169.254")
ECHO: Final = 8
_BEGINNING: Final = (ECHO, 13, 15, 17)
"""The kinds of ICMP that ask for something: connection tracking, and so translation, knows no other beginnings."""

EndKind = Literal["instance", "node", "metadata", "outside", "vacant"]


@dataclass(frozen=True, slots=True)
class Message:
    """`first` is the destination port of TCP and UDP, or the type of ICMP; `second` is the code of ICMP."""

    protocol: int
    first: int = 0
    second: int = 0

    @property
    def begins_a_flow(self) -> bool:
        return self.protocol != ICMP or self.first in _BEGINNING

    def __str__(self) -> str:
        match self.protocol:
            case number if number == TCP:
                return f"tcp {self.first}"
            case number if number == UDP:
                return f"udp {self.first}"
            case number if number == ICMP:
                return f"icmp {self.first}/{self.second}"
            case number:
                return f"protocol {number}"

    def to_wire(self) -> dict[str, Any]:
        names = {number: name for name, number in PROTOCOL_NUMBERS.items()}
        wire: dict[str, Any] = {"protocol": names.get(self.protocol, self.protocol)}
        if self.protocol in (TCP, UDP):
            return wire | {"port": self.first}
        return wire | ({"icmp_type": self.first, "icmp_code": self.second} if self.protocol == ICMP else {})


@dataclass(frozen=True, slots=True)
class End:
    given: str
    """As it was asked for."""
    kind: EndKind
    """`vacant`: an address of the cloud's that no instance has."""
    address: IPv4Address
    """As the other side writes it. Of an instance: its private one, unless it was asked for by its elastic IP."""
    name: str | None = None
    """The instance's id, or the node's name."""
    by_elastic: bool = False
    """It was asked for by an elastic IP, whoever has it."""

    def __str__(self) -> str:
        if self.name is None or self.name == self.given:
            return self.given if self.name is not None or self.kind != "metadata" else f"{self.given} (metadata)"
        return f"{self.given} ({self.name})"

    def to_wire(self, network: Network) -> dict[str, Any]:
        instance = network.instance(self.name) if self.kind == "instance" and self.name else None
        return {
            "given": self.given,
            "kind": self.kind,
            "name": self.name,
            "address": str(self.address),
            "node": instance.node if instance else self.name if self.kind == "node" else None,
            "private_ip": str(instance.private_ip) if instance else None,
            "elastic_ip": network.elastic_ip_of.get(self.name) if instance and self.name else None,
            "groups": list(instance.groups) if instance else [],
        }


@dataclass(frozen=True, slots=True)
class Question:
    source: str
    destination: str
    """Ends as texts: an instance's id, a node's name, or an address."""
    message: Message


def resolve(network: Network, text: str) -> End:
    """Raises ValueError: it is nothing that the network knows, nor an address that a host can have."""
    instance = network.instance(text)
    if instance is not None:
        return End(text, "instance", instance.private_ip, text)
    node = network.node(text)
    if node is not None:
        return End(text, "node", node.address, text)
    address = _address(text)
    if address == METADATA:
        return End(text, "metadata", address)
    holder = network.holder(str(address))
    if network.elastic_ip(str(address)) is not None or _in_pool(network, address):
        return End(text, "instance" if holder else "vacant", address, holder, by_elastic=True)
    if holder is not None:
        return End(text, "instance", address, holder)
    at = network.by_node_address.get(address)
    if at is not None:
        return End(text, "node", address, at)
    pools = (pair for _, zone in network.of_kind("zone") for pair in zone.private_ips)
    if any(low <= address <= high for low, high in pools):
        return End(text, "vacant", address)
    return End(text, "outside", address)


def _address(text: str) -> IPv4Address:
    try:
        address = parse_ipv4(text)
    except ValueError as wrong:
        if str(wrong) == NO_IPV6:
            raise
        raise ValueError(f"{text!r} is no instance, no node and no IPv4 address") from None
    if address.is_multicast or address.is_loopback or int(address) in (0, 0xFFFF_FFFF):
        raise ValueError(f"{text} is not the address of one host")
    return address


def _in_pool(network: Network, address: IPv4Address) -> bool:
    """An elastic IP that the cloud has not written as an object, and that is nobody else's."""
    settings = network.settings or NO_SETTINGS
    if address in network.by_node_address or address in settings.dns_servers:
        return False
    return any(low <= address <= high for low, high in settings.public_ips)


def read_message(protocol: str, port: int | None, icmp_type: int | None, icmp_code: int | None) -> Message:
    """Raises Unasked for every parameter that does not fit the protocol."""
    faults: dict[str, str] = {}
    number = PROTOCOL_NUMBERS.get(protocol.lower())
    if number is None and protocol.isascii() and protocol.isdigit():
        number = int(protocol)
    if number is None or not 0 <= number <= 255:
        raise Unasked({"protocol": f"{protocol!r} is none of tcp, udp, icmp and 0..255"})
    if number in (TCP, UDP):
        if port is None:
            faults["port"] = f"{protocol} has ports: which one is sent to?"
    elif port is not None:
        faults["port"] = f"{protocol} has no ports"
    if number != ICMP:
        given = {"icmp_type": icmp_type, "icmp_code": icmp_code}
        faults |= {name: "means nothing without icmp" for name, value in given.items() if value is not None}
    if faults:
        raise Unasked(faults)
    if number == ICMP:
        return Message(number, ECHO if icmp_type is None else icmp_type, icmp_code or 0)
    return Message(number, port or 0)


class Unasked(Exception):
    """A question that cannot be asked: by parameter, what is wrong with it."""

    def __init__(self, faults: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {why}" for name, why in faults.items()))
        self.faults = faults


def node_of(network: Network, name: str) -> Node:
    found = network.node(name)
    assert found is not None  # an instance's node exists
    return found


def is_separate(network: Network, node: str) -> bool:
    """Are elastic IPs on another network than instances? A node is known by its address on the public side, so that is so
    where the address is none of its zone's subnet. Only its agent's `--public-interface` says for certain."""
    found = node_of(network, node)
    zone = network.zone(found.zone)
    return zone is not None and found.address not in zone.subnet
