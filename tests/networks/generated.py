"""Random networks: eight instances on three nodes of the flat network, and rules that overlap as people's do.

Chance is an argument, so that hypothesis can shrink what it finds, and a seed gives the same network each time. Ports, types
and networks are few, close together and at the edges of what there is: rules then meet each other, and messages meet rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from random import Random
from typing import Any

from lab.topology import flat
from tests.networks.flat import ZONE
from tests.networks.words import OTHER_TENANT, TENANT, Network, Vm, vm
from tests.oracle.message import ICMP, TCP, UDP, Message
from tests.oracle.objects import Value

GROUPS = ("sg-a", "sg-b", "sg-c", "sg-d")
NODES = ("nc-1", "nc-2", "nc-3")
FIRST = IPv4Address("10.111.101.60")
"""Four addresses below a /26 boundary, four above."""
COUNT = 8
FIRST_ELASTIC = IPv4Address("10.111.200.1")
OUTSIDERS = ("outside", "router", "clc")

_NETWORKS = (
    "0.0.0.0/0",
    "10.111.0.0/16",
    "10.111.101.0/26",
    "10.111.101.64/26",
    "10.111.101.62/31",
    "10.111.101.64/32",
    "203.0.113.0/24",
    "203.0.113.10/32",
    "10.111.0.1/32",
    "10.111.0.101/32",
    "10.111.200.0/24",
    "10.111.200.1/32",
    "10.111.200.2/31",
)

_PORTS = (0, 1, 2, 22, 23, 24, 80, 81, 65534, 65535)
_TYPES = (0, 3, 8, 13)
_CODES = (0, 1, 4)


def network(chance: Random) -> Network:
    """Each instance stays on the node that its number says, in every network, so that one lab fits them all."""
    two_zones = chance.random() < 0.3
    zone_of = dict.fromkeys(NODES, "zone-a")
    zones: dict[str, Value] = {"zone-a": ZONE}
    if two_zones:
        third = [str(FIRST + number) for number in range(COUNT) if NODES[number % len(NODES)] == "nc-3"]
        zone_of["nc-3"] = "zone-b"
        zones["zone-b"] = {**ZONE, "private_ips": third}
    vms = tuple(_vms(chance, zone_of))
    having = [one.name for one in vms if one.placed and chance.random() < 0.4]
    return Network(
        name="generated",
        topology=flat(len(NODES)),
        zones=zones,
        zone_of=zone_of,
        groups={name: _group(chance) for name in GROUPS},
        vms=vms,
        reach=(),
        settings={
            "same_group_traffic": chance.choice(["rules", "rules", "allow"]),
            "gateway_mode": chance.choice(["router", "impersonate"]),
            "private_nat": chance.choice(["none", "masquerade"]),
        },
        elastic={name: str(FIRST_ELASTIC + number) for number, name in enumerate(chance.sample(having, len(having)))},
    )


def messages() -> list[Message]:
    """All that rules can tell apart here, and what lies beside them."""
    return [
        *(Message(protocol, port) for protocol in (TCP, UDP) for port in (0, 1, 22, 24, 80, 81, 65535)),
        *(Message(ICMP, kind, code) for kind in (*_TYPES, 40) for code in _CODES[:2]),
        Message(132),
        Message(50),
        Message(89),
    ]


def begins_a_flow(message: Message) -> bool:
    """Only flows are translated: an ICMP message that neither asks nor belongs to one gets to no elastic IP."""
    return message.protocol != ICMP or message.first in (8, 13)


def _vms(chance: Random, zone_of: dict[str, str]) -> Iterator[Vm]:
    for number in range(COUNT):
        node = NODES[number % len(NODES)]
        placed = chance.random() < 0.9
        yield vm(
            f"vm-{number}",
            node,
            str(FIRST + number),
            *chance.sample(GROUPS, chance.choice([0, 1, 1, 2, 2, 3])),
            account=chance.choice([TENANT, OTHER_TENANT]),
            placed=placed,
            zone=None if placed else zone_of[node],
        )


def _group(chance: Random) -> Value:
    egress = None if chance.random() < 0.6 else [_rule(chance) for _ in range(chance.choice([0, 1, 3, 4]))]
    ingress = [_rule(chance) for _ in range(chance.choice([0, 1, 2, 3, 4]))]
    return {"name": "g", "account": chance.choice([TENANT, OTHER_TENANT]), "ingress": ingress, "egress": egress}


def _rule(chance: Random) -> dict[str, Any]:
    peer = {"group": chance.choice(GROUPS)} if chance.random() < 0.5 else {"cidr": chance.choice(_NETWORKS)}
    protocol = chance.choice(["tcp", "tcp", "udp", "icmp", "icmp", "all", 132, 50, TCP, UDP, ICMP])
    rule: dict[str, Any] = {"protocol": protocol, **peer}
    if protocol in ("tcp", "udp", TCP, UDP) and chance.random() < 0.9:
        low, high = sorted((chance.choice(_PORTS), chance.choice(_PORTS)))
        return {**rule, "from_port": low, "to_port": high}
    if protocol in ("icmp", ICMP) and chance.random() < 0.8:
        rule["icmp_type"] = chance.choice(_TYPES)
        if chance.random() < 0.5:
            rule["icmp_code"] = chance.choice(_CODES)
    return rule
