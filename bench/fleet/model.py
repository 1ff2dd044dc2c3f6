"""Clouds of any size, in the shape of `GET /v1/model`.

    sg-on-100    a group with one instance on each of the first 100 nodes: a rule of it touches exactly those
    sg-0 …       2,000 groups that name each other, with the instances among them

Placement says how the instances of a group lie: `random`, each on any node, so that everybody sees everybody; `packed`, a
tenant's groups and instances on twenty nodes of its own, as schedulers and clouds in use have it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Literal

Placement = Literal["random", "packed"]

ACCOUNT = "000111222333"
TENANT_NODES = 20
_FIRST_PRIVATE = int(IPv4Address("10.0.1.0"))
_FIRST_NODE = int(IPv4Address("172.16.0.1"))


@dataclass(frozen=True, slots=True)
class Size:
    nodes: int
    instances: int
    """Beside those of the groups in `touching`."""
    groups: int = 2000
    placement: Placement = "random"
    touching: tuple[int, ...] = ()
    """For each of these numbers, a group on exactly so many nodes."""
    fifties: int = 0
    """So many groups `sg-fifty-N`, on fifty nodes each, together on all."""


def node_name(number: int) -> str:
    return f"nc-{number:05d}"


def cloud(size: Size, seed: int = 1) -> dict[str, Any]:
    """The same for the same size and seed."""
    chance = random.Random(seed)
    addresses = iter(range(_FIRST_PRIVATE, _FIRST_PRIVATE + 0x00F0_0000))
    instances: dict[str, Any] = {}

    def place(node: int, groups: list[str]) -> None:
        number = len(instances)
        instances[f"i-{number:08x}"] = {
            "node": node_name(node),
            "mac": f"d0:0d:{number >> 24 & 255:02x}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",
            "private_ip": str(IPv4Address(next(addresses))),
            "groups": groups,
            "account": ACCOUNT,
        }

    for _ in range(size.instances):
        node = chance.randrange(size.nodes)
        place(node, _groups_of(size, node, chance))
    groups = {f"sg-{number}": group(_rules(size, number, chance)) for number in range(size.groups)}
    for count in size.touching:
        groups[f"sg-on-{count}"] = group([_port(1)])
        for node in range(count):
            place(node, [f"sg-on-{count}"])
    for number in range(size.fifties):
        groups[f"sg-fifty-{number}"] = group([_port(1)])
        for step in range(50):
            place((number * 50 + step) % size.nodes, [f"sg-fifty-{number}"])
    return {
        "network": {"dns_servers": ["10.0.0.2"], "public_ips": ["198.18.0.1-198.18.255.254"]},
        "zones": {
            "zone-a": {"subnet": "10.0.0.0/8", "gateway": "10.0.0.1", "private_ips": ["10.0.1.0-10.255.0.0"]},
        },
        "nodes": {
            node_name(number): {"zone": "zone-a", "address": str(IPv4Address(_FIRST_NODE + number))}
            for number in range(size.nodes)
        },
        "groups": groups,
        "instances": instances,
        "elastic_ips": {},
    }


def group(rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": "g", "account": ACCOUNT, "ingress": rules, "egress": None}


def rule_change(name: str, number: int) -> dict[str, Any]:
    """An operation: the group gets a rule that it did not have the last time."""
    return {"op": "put", "kind": "group", "id": name, "value": group([_port(1000 + number % 60_000)])}


def _port(port: int) -> dict[str, Any]:
    return {"protocol": "tcp", "from_port": port, "to_port": port, "cidr": "0.0.0.0/0"}


def _groups_of(size: Size, node: int, chance: random.Random) -> list[str]:
    if not size.groups:
        return []
    if size.placement == "random":
        return [f"sg-{chance.randrange(size.groups)}" for _ in range(2)]
    mine = _tenant(size, node)
    return [f"sg-{chance.choice(mine)}" for _ in range(2)]


def _tenant(size: Size, node: int) -> range:
    """The groups of the tenant whose nodes these are."""
    tenants = max(1, size.nodes // TENANT_NODES)
    each = max(1, size.groups // tenants)
    first = min(node // TENANT_NODES, tenants - 1) * each % max(1, size.groups - each + 1)
    return range(first, first + each)


def _rules(size: Size, number: int, chance: random.Random) -> list[dict[str, Any]]:
    """Four; two of them name a group, of the same tenant where there are tenants."""
    rules = [_port(chance.randrange(1, 60_000)) for _ in range(2)]
    if size.placement == "packed":
        each = max(1, size.groups // max(1, size.nodes // TENANT_NODES))
        peers = range(number // each * each, min(size.groups, number // each * each + each))
    else:
        peers = range(size.groups)
    return rules + [{"protocol": "tcp", "group": f"sg-{chance.choice(peers)}"} for _ in range(2)]
