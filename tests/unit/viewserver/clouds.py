"""One small cloud, as the operations that make it: two zones, three nodes, three groups, four instances, three elastic IPs.

zone-a 10.1.0.0/24   nc-1 (i-web, i-app)   nc-2 (i-db)      sg-app admits sg-web
zone-b 10.2.0.0/24   nc-3 (i-far)                           sg-idle is nobody's
"""

# ruff: noqa: E501 - one line for each case

from copy import deepcopy

from viewserver.model.network import Network
from viewserver.model.updates import Applied, Refused, apply, parse

PUBLIC = ("203.0.113.1", "203.0.113.2", "203.0.113.3")


def put(kind, key, **value):
    return {"op": "put", "kind": kind, "id": key, "value": value}


def delete(kind, key):
    return {"op": "delete", "kind": kind, "id": key}


def instance(node, number, *groups, zone_net="10.1.0", **more):
    value = {
        "node": node,
        "mac": f"d0:0d:00:00:00:{number:02x}",
        "private_ip": f"{zone_net}.{number}",
        "groups": list(groups),
        "account": "alice",
    }
    return {**value, **more}


NETWORK = {
    "dns_servers": ["10.0.0.2"],
    "public_ips": [f"{PUBLIC[0]}-{PUBLIC[2]}", "203.0.113.9"],
    "metadata": {"host": "10.0.0.3"},
}

CLOUD = [
    put("network", "network", **NETWORK),
    put("zone", "zone-a", subnet="10.1.0.0/24", gateway="10.1.0.1", private_ips=["10.1.0.10-10.1.0.99"]),
    put("zone", "zone-b", subnet="10.2.0.0/24", gateway="10.2.0.1", private_ips=["10.2.0.10-10.2.0.99"]),
    put("node", "nc-1", zone="zone-a", address="192.0.2.1"),
    put("node", "nc-2", zone="zone-a", address="192.0.2.2"),
    put("node", "nc-3", zone="zone-b", address="192.0.2.3"),
    put("group", "sg-web", name="web", account="alice", ingress=[{"protocol": "tcp", "from_port": 80, "to_port": 80, "cidr": "0.0.0.0/0"}]),
    put("group", "sg-app", name="app", account="alice", ingress=[{"protocol": "tcp", "from_port": 8080, "to_port": 8080, "group": "sg-web"}]),
    put("group", "sg-idle", name="idle", account="bob"),
    put("instance", "i-web", **instance("nc-1", 10, "sg-web")),
    put("instance", "i-app", **instance("nc-1", 11, "sg-app")),
    put("instance", "i-db", **instance("nc-2", 12, "sg-app", "sg-web")),
    put("instance", "i-far", **instance("nc-3", 13, "sg-web", zone_net="10.2.0")),
    put("elastic_ip", PUBLIC[0], instance="i-web"),
    put("elastic_ip", PUBLIC[1], instance=None),
]  # fmt: skip


def value_of(key):
    """The value that CLOUD puts there, to be changed and put again."""
    return deepcopy(next(one["value"] for one in CLOUD if one["id"] == key))


def changed(key, **fields):
    """The operation that puts this object of CLOUD with other fields; None takes a field to null, ... takes it out."""
    found = deepcopy(next(one for one in CLOUD if one["id"] == key))
    found["value"] = {name: one for name, one in {**found["value"], **fields}.items() if one is not ...}
    return found


def network_of(*operations):
    outcome = apply(Network(), parse(list(operations)))
    assert isinstance(outcome, Applied), outcome.faults
    return outcome.network


def cloud():
    return network_of(*CLOUD)


def refused(*operations, network=None):
    """Every fault of the update, as (pointer, message), by pointer."""
    outcome = apply(cloud() if network is None else network, parse(list(operations)))
    assert isinstance(outcome, Refused), "nothing was found wrong"
    return sorted((fault.to_wire()["pointer"], fault.message) for fault in outcome.faults)


def in_use(*operations):
    outcome = apply(cloud(), parse(list(operations)))
    assert isinstance(outcome, Refused)
    return all(fault.in_use for fault in outcome.faults)


def accepted(*operations, network=None):
    outcome = apply(cloud() if network is None else network, parse(list(operations)))
    assert isinstance(outcome, Applied), outcome.faults
    return outcome
