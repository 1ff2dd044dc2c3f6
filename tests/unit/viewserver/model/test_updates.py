"""One update: what it makes of the network, in whatever order its operations come."""

# ruff: noqa: E501 - one line for each case

import pytest

from tests.unit.viewserver.clouds import CLOUD, accepted, changed, cloud, delete, instance, network_of, put
from viewserver.model.invariants import check_all
from viewserver.model.network import Network
from viewserver.model.updates import replay, rewind


def rebuilt(network):
    """The same objects in a network that never held others."""
    return Network.from_objects({(f"{kind}", key): value for kind, key, value in objects(network)})


def objects(network):
    wire = network.to_wire()
    for kind in ("zone", "node", "group", "instance", "elastic_ip"):
        for key, value in wire[f"{kind}s"].items():
            yield kind, key, value
    if wire["network"]:
        yield "network", "network", wire["network"]


def test_operations_may_come_in_any_order():
    assert network_of(*CLOUD[::-1]) == cloud()
    assert check_all(cloud()) == []


def test_an_update_that_says_what_is_so_changes_nothing():
    assert accepted(*CLOUD).changed == ()
    assert accepted(delete("instance", "i-none")).changed == ()


def test_the_same_value_in_another_form_changes_nothing():
    assert (
        accepted(
            changed("i-web", mac="D0:0D:00:00:00:0A", interface="vn_i-web", zone=None, migrating_to=None),
            changed("i-db", groups=["sg-web", "sg-app", "sg-web"]),
            changed(
                "sg-web",
                ingress=[
                    {"protocol": protocol, "from_port": 80, "to_port": 80, "cidr": "0.0.0.0/0"}
                    for protocol in (6, "6", "TCP", "tcp")
                ],
            ),
        ).changed
        == ()
    )


@pytest.mark.parametrize(
    ("form", "normal"),
    [
        ({"protocol": -1, "cidr": "10.0.0.0/8"}, {"protocol": "all", "cidr": "10.0.0.0/8"}),
        ({"protocol": "-1", "cidr": "10.0.0.7"}, {"protocol": "all", "cidr": "10.0.0.7/32"}),
        ({"protocol": "17", "group": "sg-web"}, {"protocol": "udp", "from_port": 0, "to_port": 65535, "group": "sg-web"}),
        ({"protocol": 1, "icmp_type": -1, "icmp_code": -1, "cidr": "10.0.0.0/8"}, {"protocol": "icmp", "cidr": "10.0.0.0/8"}),
        ({"protocol": "icmp", "icmp_type": 3, "icmp_code": -1, "cidr": "10.0.0.0/8"}, {"protocol": "icmp", "icmp_type": 3, "cidr": "10.0.0.0/8"}),
        ({"protocol": "icmp", "icmp_type": 0, "icmp_code": 0, "cidr": "10.0.0.0/8"}, {"protocol": "icmp", "icmp_type": 0, "icmp_code": 0, "cidr": "10.0.0.0/8"}),
        ({"protocol": 132, "cidr": "10.0.0.0/8"}, {"protocol": 132, "cidr": "10.0.0.0/8"}),
        ({"protocol": "tcp", "from_port": 0, "to_port": 0, "cidr": "10.0.0.0/8"}, {"protocol": "tcp", "from_port": 0, "to_port": 0, "cidr": "10.0.0.0/8"}),
    ],
)  # fmt: skip
def test_a_rule_has_one_normal_form(form, normal):
    network = accepted(changed("sg-idle", ingress=[form], egress=[form])).network
    assert network.to_wire()["groups"]["sg-idle"]["ingress"] == [normal]
    assert network.to_wire()["groups"]["sg-idle"]["egress"] == [normal]


def test_an_interface_is_named_as_eucalyptus_names_it():
    network = accepted(put("instance", "i-1a2b3c4d5e6f", **instance("nc-1", 20))).network
    assert network.instance("i-1a2b3c4d5e6f").port == "vn_i-1a2b3c4d"


def test_instances_may_swap_all_that_must_be_unique():
    network = accepted(
        changed("i-web", private_ip="10.1.0.11", mac="d0:0d:00:00:00:0b", interface="vn_i-app"),
        changed("i-app", private_ip="10.1.0.10", mac="d0:0d:00:00:00:0a", interface="vn_i-web"),
        changed("nc-1", address="192.0.2.2"),
        changed("nc-2", address="192.0.2.1"),
    ).network
    assert network == rebuilt(network)


TWICE = {
    "an elastic IP": [put("elastic_ip", "203.0.113.2", instance="i-web"), put("elastic_ip", "203.0.113.2", instance=None)],
    "an address": [put("instance", "i-new", **instance("nc-1", 12, mac="d0:0d:00:00:01:00")), delete("instance", "i-new")],
    "a MAC": [put("instance", "i-new", **instance("nc-1", 12)), put("instance", "i-new", **instance("nc-1", 40))],
    "a node's address": [put("node", "nc-9", zone="zone-a", address="192.0.2.2"), delete("node", "nc-9")],
}  # fmt: skip


@pytest.mark.parametrize("operations", TWICE.values(), ids=TWICE.keys())
def test_of_several_operations_on_one_object_the_last_says_what_shall_be(operations):
    """What the earlier ones take meanwhile must not be lost by those who hold it."""
    network = accepted(*operations, changed("sg-idle", name="changed")).network
    assert network == rebuilt(network)


def test_a_record_leads_back_as_well_as_on():
    outcome = accepted(
        changed("i-web", node="nc-2", groups=[], interface="eth7"),
        delete("instance", "i-far"),
        changed("sg-app", ingress=[], egress=[]),
        put("node", "nc-4", zone="zone-b", address="192.0.2.4"),
        put("elastic_ip", "203.0.113.1", instance="i-db"),
    )
    assert replay(cloud(), outcome.changed) == outcome.network
    assert rewind(outcome.network, outcome.changed) == cloud()
    assert {(item.kind, item.id) for item in outcome.changed} == {
        ("instance", "i-web"),
        ("instance", "i-far"),
        ("group", "sg-app"),
        ("node", "nc-4"),
        ("elastic_ip", "203.0.113.1"),
    }


@pytest.mark.parametrize(("length", "gateway"), [(31, "10.9.0.0"), (32, "10.9.0.0")])
def test_a_zone_without_a_broadcast_address(length, gateway):
    """RFC 3021: with 31 bits both addresses are hosts'; with 32 there is one."""
    pool = ["10.9.0.1"] if length == 31 else []
    operations = [
        put("zone", "point", subnet=f"10.9.0.0/{length}", gateway=gateway, private_ips=pool),
        put("node", "nc-9", zone="point", address="192.0.2.9"),
    ]
    if length == 31:
        operations.append(put("instance", "i-p", **{**instance("nc-9", 60), "private_ip": "10.9.0.1"}))
    accepted(*operations)
