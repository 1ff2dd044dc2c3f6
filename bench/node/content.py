"""One node's share of a large cloud, as values: what both rule sets are made of.

Thirty VMs, each in up to three groups; every group names four others by their members, the rest of its rules are CIDRs; every
second VM has an elastic IP. The last rule of every group lets `PROBE_PORT` in from the cloud: the packets that are measured.
The same size and seed give the same content.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

SUBNET = "10.111.0.0/16"
GATEWAY = "10.111.0.1"
NODE = "10.111.0.101"
CLC = "10.111.1.1"
POOL = "10.111.101.1-10.111.101.250"
PUBLIC = "10.111.200.1-10.111.200.250"
PROBE_PORT = 7000
ACCOUNT = "000111222333"
_NAMES = 4
"""Groups that a group names as sources."""
_CLOUD_GROUPS = 2000
_ELSEWHERE = IPv4Address("10.128.0.0")


@dataclass(frozen=True, slots=True)
class Size:
    groups: int
    rules: int
    """Of all groups together."""
    members: int
    """Addresses in all groups' sets together."""
    vms: int = 30

    def __str__(self) -> str:
        return f"{self.groups} groups, {self.rules} rules"


@dataclass(frozen=True, slots=True)
class Vm:
    number: int
    groups: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"i-{self.number:08x}"

    @property
    def interface(self) -> str:
        return f"vn_{self.id}"

    @property
    def mac(self) -> str:
        return f"d0:0d:00:00:00:{self.number:02x}"

    @property
    def private_ip(self) -> str:
        return f"10.111.101.{self.number}"

    @property
    def elastic_ip(self) -> str | None:
        return f"10.111.200.{self.number}" if self.number % 2 else None


@dataclass(frozen=True, slots=True)
class Rule:
    """`cidr` or `group`, never both. Ports are None for ICMP, which is of any type."""

    protocol: str
    ports: tuple[int, int] | None
    cidr: str | None = None
    group: str | None = None

    def wire(self) -> dict[str, Any]:
        whose = {"cidr": self.cidr} if self.cidr else {"group": self.group}
        ports = {"from_port": self.ports[0], "to_port": self.ports[1]} if self.ports else {}
        return {"protocol": self.protocol, **ports, **whose}


@dataclass(frozen=True, slots=True)
class Content:
    vms: tuple[Vm, ...]
    groups: dict[str, tuple[Rule, ...]]
    members: dict[str, tuple[str, ...]]
    """Of the VMs' groups and of those their rules name."""

    @property
    def addresses(self) -> int:
        return sum(map(len, self.members.values()))

    @property
    def rules(self) -> int:
        return sum(map(len, self.groups.values()))


def content(size: Size, seed: int = 1) -> Content:
    chance = random.Random(seed)
    names = [_name(number) for number in range(size.groups)]
    groups = {}
    for index, name in enumerate(names):
        count = size.rules * (index + 1) // size.groups - size.rules * index // size.groups
        groups[name] = (*_rules(chance, count - 1), Rule("udp", (PROBE_PORT, PROBE_PORT), cidr=SUBNET))
    vms = tuple(Vm(number + 1, _groups_of(number, size, names)) for number in range(size.vms))
    return Content(vms, groups, _members(size, vms, groups))


def _name(number: int) -> str:
    return f"sg-{0x1000 + number:08x}"


def _groups_of(number: int, size: Size, names: list[str]) -> tuple[str, ...]:
    """Neighbours share some; the last VM's are the last."""
    first = min(number * size.groups // size.vms, size.groups - 3) if size.groups > 3 else 0
    return tuple(names[first : first + 3])


def _rules(chance: random.Random, count: int) -> Iterator[Rule]:
    for number in range(count):
        whose: dict[str, Any] = (
            {"group": _name(chance.randrange(_CLOUD_GROUPS))}
            if number % 5 in (1, 3) and number < 5 * _NAMES // 2
            else {"cidr": f"{chance.choice((11, 12, 13, 198))}.{chance.randrange(256)}.{chance.randrange(256)}.0/24"}
        )
        if number % 5 == 4:
            yield Rule("icmp", None, **whose)
            continue
        low = 10_000 + chance.randrange(40_000)
        high = low + chance.randrange(1, 100) if number % 4 == 3 else low
        yield Rule("udp" if number % 5 == 3 else "tcp", (low, high), **whose)


def _members(size: Size, vms: tuple[Vm, ...], groups: dict[str, tuple[Rule, ...]]) -> dict[str, tuple[str, ...]]:
    """Each group has its VMs here, and others elsewhere that make up the number."""
    local: dict[str, list[str]] = {name: [] for name in groups}
    for rules in groups.values():
        for rule in rules:
            if rule.group:
                local.setdefault(rule.group, [])
    for vm in vms:
        for name in vm.groups:
            local[name] += [vm.private_ip, *([vm.elastic_ip] if vm.elastic_ip else [])]
    missing = max(0, size.members - sum(map(len, local.values())))
    result, next_one = {}, int(_ELSEWHERE)
    for index, (name, held) in enumerate(local.items()):
        share = missing * (index + 1) // len(local) - missing * index // len(local)
        result[name] = (*held, *(str(IPv4Address(next_one + n)) for n in range(share)))
        next_one += share
    return result


def wire(made: Content) -> dict[str, Any]:
    """The view that travels."""
    return {
        "schema": 1,
        "node": "nc-1",
        "host": {"address": NODE, "gateway_mode": "router"},
        "network": {
            "dns_servers": ["10.111.0.2"],
            "dns_domain": "cloud.internal",
            "metadata": {"host": CLC, "port": 8773, "identity": "elastic"},
            "public_ips": [PUBLIC],
            "private_ranges": [POOL],
            "mtu": None,
            "additional_protocols": [],
            "same_group_traffic": "rules",
            "private_nat": "none",
            "revoke": "cut",
            "vm_to_host": "deny",
            "host_to_vm": "allow",
        },
        "zone": {"name": "zone-a", "subnet": SUBNET, "gateway": GATEWAY},
        "instances": {
            vm.id: {
                "node": "nc-1",
                "mac": vm.mac,
                "private_ip": vm.private_ip,
                "elastic_ip": vm.elastic_ip,
                "interface": vm.interface,
                "groups": sorted(vm.groups),
                "account": ACCOUNT,
            }
            for vm in made.vms
        },
        "groups": {
            name: {"name": name, "account": ACCOUNT, "ingress": [rule.wire() for rule in rules], "egress": None}
            for name, rules in made.groups.items()
        },
        "members": {name: list(addresses) for name, addresses in made.members.items()},
    }
