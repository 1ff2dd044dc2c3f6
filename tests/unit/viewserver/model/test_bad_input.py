"""Every kind of bad input in the contract, each by itself: where it is said to be, and what is said of it."""

# ruff: noqa: E501 - one line for each case

import pytest

from tests.unit.viewserver.clouds import accepted, changed, delete, in_use, instance, put, refused, value_of
from viewserver.model.faults import Fault
from viewserver.model.network import Network
from viewserver.model.updates import parse

V = "/operations/0/value"
TCP22 = {"protocol": "tcp", "from_port": 22, "to_port": 22, "cidr": "0.0.0.0/0"}


def rule(**fields):
    """An operation whose one rule is this."""
    return changed("sg-idle", ingress=[{name: value for name, value in fields.items() if value is not ...}])


FAULTY = {
    # --- the frame of an operation
    "not an object": ([], "/operations/0", "must be an object"),
    "no op": ({"kind": "zone", "id": "z", "value": {}}, "/operations/0/op", "must be put or delete"),
    "an unknown op": ({**delete("zone", "z"), "op": "merge"}, "/operations/0/op", "must be put or delete"),
    "op of another type": ({**delete("zone", "z"), "op": 7}, "/operations/0/op", "must be put or delete"),
    "op that is a list": ({**delete("zone", "z"), "op": ["put"]}, "/operations/0/op", "must be put or delete"),
    "kind that is an object": ({**delete("zone", "z"), "kind": {}}, "/operations/0/kind", "must be one of"),
    "an unknown kind": (put("router", "r"), "/operations/0/kind", "must be one of network, zone"),
    "kind of another type": ({**delete("zone", "z"), "kind": None}, "/operations/0/kind", "must be one of"),
    "an unknown field beside": ({**delete("zone", "z"), "force": True}, "/operations/0/force", "is not a field"),
    "a value in a delete": ({**put("zone", "z"), "op": "delete"}, "/operations/0/value", "is not a field of a delete"),
    "no value": ({"op": "put", "kind": "zone", "id": "z"}, V, "is missing"),
    "no id": ({"op": "delete", "kind": "zone"}, "/operations/0/id", "must be a string"),
    "an id with a slash": (delete("instance", "i-1/2"), "/operations/0/id", "is not an id"),
    "an id too long": (delete("instance", "i" * 64), "/operations/0/id", "is not an id"),
    "an id with a newline": (delete("instance", "i-1\n"), "/operations/0/id", "is not an id"),
    "a node name that is none": (delete("node", "nc_1"), "/operations/0/id", "is not a DNS name"),
    "another network": (delete("network", "main"), "/operations/0/id", "the one network's id"),
    "an elastic IP that is no address": (delete("elastic_ip", "eip-1"), "/operations/0/id", "is not an IPv4 address"),
    "an elastic IP of version 6": (delete("elastic_ip", "2001:db8::1"), "/operations/0/id", "IPv6 is not modelled"),
    # --- values: types, formats, unknown and missing fields
    "value of another type": ({**put("zone", "z"), "value": "10.0.0.0/8"}, V, "must be an object"),
    "an unknown field": (changed("zone-a", colour="red"), f"{V}/colour", "is not a known field"),
    "an unknown field inside": (changed("network", metadata={"host": "10.0.0.3", "tls": 1}), f"{V}/metadata/tls", "is not a known field"),
    "a missing field": (changed("i-web", account=...), f"{V}/account", "is missing"),
    "a number for a string": (changed("sg-idle", name=7), f"{V}/name", "must be a string"),
    "a string for a list": (changed("i-web", groups="sg-web"), f"{V}/groups", "must be a list"),
    "an object for a list": (changed("network", public_ips={}), f"{V}/public_ips", "must be a list"),
    "a string for a number": (changed("network", mtu="1500"), f"{V}/mtu", "must be an integer"),
    "true for a number": (changed("network", mtu=True), f"{V}/mtu", "must be an integer"),
    "a fraction for a number": (changed("network", mtu=1500.5), f"{V}/mtu", "must be an integer"),
    "a number too large": (changed("network", mtu=65536), f"{V}/mtu", "less than or equal to 65535"),
    "a lease that is negative": (changed("network", address_lease_s=-1), f"{V}/address_lease_s", "greater than or equal to 0"),
    "a word not on the list": (changed("network", revoke="maybe"), f"{V}/revoke", "must be 'cut' or 'drain'"),
    "an unknown gateway mode": (changed("nc-1", gateway_mode="bridge"), f"{V}/gateway_mode", "must be 'impersonate'"),
    "a protocol of the network": (changed("network", additional_protocols=[256]), f"{V}/additional_protocols/0", "less than or equal to 255"),
    "an address that is none": (changed("network", dns_servers=["10.0.0.2", "ns"]), f"{V}/dns_servers/1", "is not an IPv4 address"),
    "an address with leading zeros": (changed("nc-1", address="192.0.2.01"), f"{V}/address", "is not an IPv4 address"),
    "a range that ends before it begins": (changed("network", public_ips=["203.0.113.9-203.0.113.1"]), f"{V}/public_ips/0", "ends before it begins"),
    "a domain with a leading dot": (changed("network", dns_domain=".internal"), f"{V}/dns_domain", "is not a domain name"),
    "a metadata port": (changed("network", metadata={"host": "10.0.0.3", "port": 0}), f"{V}/metadata/port", "greater than or equal to 1"),
    "a name with control characters": (changed("sg-idle", name="a\x1bb"), f"{V}/name", "control characters"),
    "a name too long": (changed("sg-idle", name="n" * 256), f"{V}/name", "at most 255"),
    "an account that is empty": (changed("sg-idle", account=""), f"{V}/account", "at least 1"),
    "a MAC that is none": (changed("i-web", mac="d0:0d:00:00:00"), f"{V}/mac", "is not a MAC address"),
    "a MAC of many": (changed("i-web", mac="d1:0d:00:00:00:01"), f"{V}/mac", "is not a unicast MAC"),
    "a MAC of nobody": (changed("i-web", mac="00:00:00:00:00:00"), f"{V}/mac", "is not a unicast MAC"),
    "a MAC prefix": (changed("zone-a", mac_prefix="d00d"), f"{V}/mac_prefix", "is not two octets"),
    "an interface too long": (changed("i-web", interface="vn_" + "i" * 13), f"{V}/interface", "is not an interface name"),
    "an interface with a slash": (changed("i-web", interface="vn/1"), f"{V}/interface", "is not an interface name"),
    # --- IPv6
    "IPv6 for an address": (changed("nc-1", address="2001:db8::1"), f"{V}/address", "IPv6 is not modelled"),
    "IPv6 for a subnet": (changed("zone-a", subnet="2001:db8::/64"), f"{V}/subnet", "IPv6 is not modelled"),
    "IPv6 for a pool": (changed("network", public_ips=["2001:db8::1-2001:db8::9"]), f"{V}/public_ips/0", "IPv6 is not modelled"),
    "IPv6 in a rule": (rule(protocol="tcp", cidr="::/0"), f"{V}/ingress/0/cidr", "IPv6 is not modelled"),
    # --- networks and rules
    "host bits in a subnet": (changed("zone-a", subnet="10.1.0.7/24"), f"{V}/subnet", "has host bits set; the network is 10.1.0.0/24"),
    "host bits in a rule": (rule(protocol="tcp", cidr="10.0.0.1/8"), f"{V}/ingress/0/cidr", "has host bits set; the network is 10.0.0.0/8"),
    "a netmask in a rule": (rule(protocol="tcp", cidr="10.0.0.0/255.0.0.0"), f"{V}/ingress/0/cidr", "write the prefix length"),
    "a rule that is none": (changed("sg-idle", ingress=["tcp"]), f"{V}/ingress/0", "must be an object"),
    "a rule without a protocol": (rule(cidr="0.0.0.0/0"), f"{V}/ingress/0/protocol", "is missing"),
    "a protocol that is none": (rule(protocol="sctp?", cidr="0.0.0.0/0"), f"{V}/ingress/0/protocol", "is not a protocol"),
    "a protocol number too large": (rule(protocol=256, cidr="0.0.0.0/0"), f"{V}/ingress/0/protocol", "must be -1..255"),
    "a protocol that is true": (rule(protocol=True, cidr="0.0.0.0/0"), f"{V}/ingress/0/protocol", "must be an integer"),
    "a rule with a field too many": (rule(**TCP22, comment="ssh"), f"{V}/ingress/0/comment", "is not a field of a rule"),
    "a rule without a peer": (rule(protocol="tcp"), f"{V}/ingress/0", "needs a cidr or a group"),
    "a rule with two peers": (rule(protocol="tcp", cidr="0.0.0.0/0", group="sg-web"), f"{V}/ingress/0/group", "not both"),
    "a port too large": (rule(**{**TCP22, "to_port": 65536}), f"{V}/ingress/0/to_port", "must be 0..65535"),
    "a port below zero": (rule(**{**TCP22, "from_port": -1}), f"{V}/ingress/0/from_port", "must be 0..65535"),
    "a port in quotes": (rule(**{**TCP22, "from_port": "22"}), f"{V}/ingress/0/from_port", "must be an integer"),
    "ports in the wrong order": (rule(**{**TCP22, "from_port": 23}), f"{V}/ingress/0/from_port", "23 is above to_port 22"),
    "one port of two": (rule(**{**TCP22, "to_port": ...}), f"{V}/ingress/0/to_port", "is missing beside from_port"),
    "a port with icmp": (rule(protocol="icmp", from_port=8, cidr="0.0.0.0/0"), f"{V}/ingress/0/from_port", "only tcp and udp have ports"),
    "a port with everything": (rule(protocol="all", to_port=8, cidr="0.0.0.0/0"), f"{V}/ingress/0/to_port", "only tcp and udp have ports"),
    "an icmp type with tcp": (rule(**TCP22, icmp_type=8), f"{V}/ingress/0/icmp_type", "only icmp has types"),
    "an icmp code without a type": (rule(protocol="icmp", icmp_code=0, cidr="0.0.0.0/0"), f"{V}/ingress/0/icmp_code", "means nothing without icmp_type"),
    "an icmp type too large": (rule(protocol="icmp", icmp_type=256, cidr="0.0.0.0/0"), f"{V}/ingress/0/icmp_type", "must be -1..255"),
    # --- what must be unique
    "another's MAC, in capitals": (changed("i-web", mac="D0:0D:00:00:00:0B"), f"{V}/mac", "is instance i-app's MAC"),
    "another's private IP": (changed("i-web", private_ip="10.1.0.12"), f"{V}/private_ip", "is instance i-db's private IP"),
    "another's port on the node": (changed("i-web", interface="vn_i-app"), f"{V}/interface", "is instance i-app's interface on node nc-1"),
    "a port of the same eight characters": (put("instance", "i-12345678b", **instance("nc-1", 20, interface="vn_i-web")), f"{V}/interface", "is instance i-web's interface"),
    "another node's address": (changed("nc-2", address="192.0.2.1"), f"{V}/address", "is node nc-1's address"),
    "a second elastic IP": (put("elastic_ip", "203.0.113.2", instance="i-web"), f"{V}/instance", "has elastic IP 203.0.113.1 already"),
    # --- addresses in their place
    "an IP outside the pool": (changed("i-web", private_ip="10.1.0.100"), f"{V}/private_ip", "is not in the pool of zone zone-a"),
    "an IP of another zone": (changed("i-web", private_ip="10.2.0.20"), f"{V}/private_ip", "is not in the pool of zone zone-a"),
    "the gateway": (changed("i-web", private_ip="10.1.0.1"), f"{V}/private_ip", "is the gateway of zone zone-a"),
    "the network's address": (changed("i-web", private_ip="10.1.0.0"), f"{V}/private_ip", "is the network or broadcast"),
    "the broadcast address": (changed("i-web", private_ip="10.1.0.255"), f"{V}/private_ip", "is the network or broadcast"),
    "an elastic IP outside the pool": (put("elastic_ip", "203.0.113.4", instance=None), "/operations/0/id", "is not in the network's public_ips"),
    "a gateway outside its zone": (changed("zone-a", gateway="10.9.0.1"), f"{V}/gateway", "is outside the zone's subnet"),
    "a gateway on the edge": (changed("zone-a", gateway="10.1.0.255"), f"{V}/gateway", "is the network or broadcast address"),
    "a pool outside its zone": (changed("zone-a", private_ips=["10.1.0.10-10.1.0.99", "10.1.1.0-10.1.1.9"]), f"{V}/private_ips/1", "is not wholly inside"),
    # --- references
    "a node that is not": (changed("i-web", node="nc-9"), f"{V}/node", "node nc-9 does not exist"),
    "a zone that is not": (changed("nc-1", zone="zone-z"), f"{V}/zone", "zone zone-z does not exist"),
    "a group that is not": (changed("i-web", groups=["sg-web", "sg-none"]), f"{V}/groups/1", "security group sg-none does not exist"),
    "an ingress group that is not": (changed("sg-web", ingress=[{"protocol": "all", "group": "sg-none"}]), f"{V}/ingress/0/group", "security group sg-none does not exist"),
    "an egress group that is not": (changed("sg-web", egress=[{"protocol": "all", "group": "sg-none"}]), f"{V}/egress/0/group", "security group sg-none does not exist"),
    "an instance that is not": (put("elastic_ip", "203.0.113.2", instance="i-none"), f"{V}/instance", "instance i-none does not exist"),
    "nowhere": (changed("i-web", node=None), f"{V}/zone", "is needed while the instance has no node"),
    "in two zones": (changed("i-web", zone="zone-b"), f"{V}/zone", "node nc-1 is in zone zone-a, not zone-b"),
    "migrating to nowhere": (changed("i-web", migrating_to="nc-9"), f"{V}/migrating_to", "node nc-9 does not exist"),
    "migrating to itself": (changed("i-web", migrating_to="nc-1"), f"{V}/migrating_to", "is where the instance is already"),
    "migrating from nowhere": (changed("i-web", node=None, zone="zone-a", migrating_to="nc-1"), f"{V}/migrating_to", "needs a node that the instance is on"),
    "migrating into another zone": (changed("i-web", migrating_to="nc-3"), f"{V}/migrating_to", "node nc-3 is in zone zone-b, the instance in zone-a"),
}  # fmt: skip


@pytest.mark.parametrize(("operation", "pointer", "message"), FAULTY.values(), ids=FAULTY.keys())
def test_it_is_refused_there_and_nowhere_else(operation, pointer, message):
    ((found_pointer, found_message),) = refused(operation)
    assert found_pointer == pointer
    assert message in found_message


IN_USE = {
    "a zone with nodes": (delete("zone", "zone-b"), "zone zone-b is in use by node nc-3"),
    "a node with instances": (delete("node", "nc-1"), "node nc-1 is in use by instance i-app, instance i-web"),
    "a group with instances": (delete("group", "sg-app"), "group sg-app is in use by instance i-app, instance i-db"),
    "a group that a rule names": (delete("group", "sg-web"), "instance i-far, instance i-web, security group sg-app"),
    "an instance with an elastic IP": (delete("instance", "i-web"), "instance i-web is in use by elastic IP 203.0.113.1"),
    "the network of elastic IPs": (delete("network", "network"), "in use by elastic IP 203.0.113.1, elastic IP 203.0.113.2"),
}  # fmt: skip


@pytest.mark.parametrize(("operation", "message"), IN_USE.values(), ids=IN_USE.keys())
def test_what_is_in_use_cannot_go_and_its_users_are_named(operation, message):
    ((pointer, found),) = refused(operation)
    assert pointer == "/operations/0/id"
    assert message in found
    assert in_use(operation)


def test_what_is_in_use_may_go_with_all_of_its_users():
    everything = [
        delete("zone", "zone-b"),
        delete("node", "nc-3"),
        delete("group", "sg-web"),
        changed("sg-app", ingress=[]),
        delete("instance", "i-far"),
        delete("instance", "i-web"),
        delete("elastic_ip", "203.0.113.1"),
        changed("i-db", groups=["sg-app"]),
    ]
    for order in (everything, everything[::-1]):
        assert len(accepted(*order).changed) == len(everything)


def test_a_node_that_an_instance_migrates_to_is_in_use():
    network = accepted(changed("i-web", migrating_to="nc-2"), delete("instance", "i-db")).network
    ((pointer, message),) = refused(delete("node", "nc-2"), network=network)
    assert (pointer, message) == ("/operations/0/id", "node nc-2 is in use by instance i-web")


def test_neither_end_of_a_migration_changes_its_zone():
    moving = put("instance", "i-new", **instance("nc-1", 20), migrating_to="nc-4")
    network = accepted(put("node", "nc-4", zone="zone-a", address="192.0.2.4"), moving).network
    ((pointer, message),) = refused(
        changed("nc-2", zone="zone-b", address="192.0.2.4") | {"id": "nc-4"}, network=network
    )
    assert (pointer, message) == (f"{V}/zone", "instance i-new is migrating between it and another zone")


SHRINKING = {
    "elastic IPs": (changed("network", public_ips=["203.0.113.2"]), "/public_ips", "elastic IP 203.0.113.1 exists"),
    "private IPs": (changed("zone-b", private_ips=["10.2.0.14-10.2.0.99"]), "/private_ips", "i-far holds 10.2.0.13"),
    "a gateway moved onto one": (changed("zone-b", gateway="10.2.0.13"), "/private_ips", "i-far holds 10.2.0.13"),
}


@pytest.mark.parametrize(("operation", "pointer", "message"), SHRINKING.values(), ids=SHRINKING.keys())
def test_a_pool_cannot_shrink_under_an_address_in_use(operation, pointer, message):
    ((found_pointer, found),) = refused(operation)
    assert found_pointer == V + pointer
    assert message in found
    assert in_use(operation)


def test_a_node_cannot_leave_the_zone_that_its_instances_addresses_are_of():
    ((pointer, message),) = refused(changed("nc-3", zone="zone-a"))
    assert pointer == f"{V}/zone"
    assert "i-far on it holds 10.2.0.13, which is not in zone zone-a's pool" in message


def test_an_address_of_a_node_is_nobody_elses():
    network = accepted(
        changed("network", public_ips=["203.0.113.1-203.0.113.3", "192.0.2.0/24".replace("0/24", "1-192.0.2.9")]),
        put("zone", "flat", subnet="192.0.2.0/24", gateway="192.0.2.254", private_ips=["192.0.2.1-192.0.2.99"]),
        put("node", "nc-4", zone="flat", address="192.0.2.4"),
    ).network
    assert [message for _, message in refused(put("instance", "i-flat", **instance("nc-4", 4, zone_net="192.0.2")), network=network)] == ["192.0.2.4 is node nc-4's address"]  # fmt: skip
    assert [message for _, message in refused(put("elastic_ip", "192.0.2.4", instance=None), network=network)] == ["192.0.2.4 is node nc-4's address"]  # fmt: skip
    network = accepted(put("instance", "i-flat", **instance("nc-4", 5, zone_net="192.0.2", mac="d0:0d:00:00:01:05")), network=network).network  # fmt: skip
    assert [message for _, message in refused(put("node", "nc-5", zone="flat", address="192.0.2.5"), network=network)] == ["192.0.2.5 is the private IP of instance i-flat"]  # fmt: skip
    assert [message for _, message in refused(put("elastic_ip", "192.0.2.5", instance=None), network=network)] == ["192.0.2.5 is the private IP of instance i-flat"]  # fmt: skip


def test_a_port_is_unique_on_the_node_that_an_instance_migrates_to():
    ((pointer, message),) = refused(changed("i-db", migrating_to="nc-1", interface="vn_i-web"))
    assert (pointer, message) == (f"{V}/interface", "vn_i-web is instance i-web's interface on node nc-1")
    accepted(changed("i-db", interface="vn_i-web"))


def test_elastic_ips_need_a_network():
    ((pointer, message),) = refused(put("elastic_ip", "203.0.113.3", instance=None), network=Network())
    assert (pointer, message) == ("/operations/0/id", "there is no network yet, so no pool of elastic IPs")


def test_all_faults_of_one_operation_are_told():
    value = {
        "node": "nc-9",
        "mac": "x",
        "groups": ["sg-none", 7],
        "account": "",
        "private_ip": "10.1.0.12",
        "colour": 1,
    }
    found = dict(refused({**put("instance", "i-new"), "value": value}))
    assert found.keys() == {f"{V}/{name}" for name in ("node", "mac", "groups/0", "groups/1", "account", "private_ip", "colour")}  # fmt: skip


def test_all_faults_of_one_rule_are_told():
    found = refused(rule(protocol="gre!", from_port=70000, icmp_type=300, cidr="10.0.0.1/8", colour=1))
    assert [pointer.removeprefix(f"{V}/ingress/0/") for pointer, _ in found] == [
        "cidr",
        "colour",
        "from_port",
        "icmp_type",
        "protocol",
    ]


@pytest.mark.parametrize(
    "value",
    [
        changed("i-web", node=5)["value"],
        changed("i-web", node="no such name!")["value"],
    ],
)
def test_what_only_follows_from_a_fault_is_not_told(value):
    assert [pointer for pointer, _ in refused({**put("instance", "i-web"), "value": value})] == [f"{V}/node"]


def test_a_faulty_value_is_not_held_against_others():
    found = refused(
        {**put("instance", "i-x"), "value": {**value_of("i-web"), "mac": "x", "private_ip": "10.1.0.50"}},
        put("instance", "i-y", **instance("nc-1", 51, mac="02:00:00:00:00:00")),
        changed("nc-2", zone=7),
        changed("i-db", zone="zone-a"),
    )
    assert [pointer for pointer, _ in found] == ["/operations/0/value/mac", "/operations/2/value/zone"]


@pytest.mark.parametrize("depth", [100, 500, 1000])
def test_nesting_is_refused_like_anything_else(depth):
    nested = []
    for _ in range(depth):
        nested = [nested]
    assert [pointer for pointer, _ in refused(changed("zone-a", deep=nested))] == [f"{V}/deep"]
    assert [pointer for pointer, _ in refused(changed("i-web", groups=nested))] == [f"{V}/groups/0"]


@pytest.mark.parametrize("wire", [None, {}, "operations", 7, True])
def test_operations_are_a_list(wire):
    assert [fault.to_wire()["pointer"] for fault in parse(wire).faults] == ["/operations"]


def test_what_cannot_be_said_in_utf8_is_quoted():
    fault = Fault(("half \ud800",), "quotes '\udfff'")
    assert fault.to_wire() == {"pointer": "/half \\ud800", "message": "quotes '\\udfff'"}
