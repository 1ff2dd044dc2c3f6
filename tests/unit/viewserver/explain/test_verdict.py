"""Verdicts that no table of reachability has: DHCP, metadata, what is held back, migration, hosts and nobody's addresses."""

import pytest

from tests.unit.viewserver.clouds import accepted, changed, cloud
from verge.contract.rule import ICMP, TCP, UDP
from viewserver.explain.question import Message, Question, Unasked, read_message
from viewserver.explain.verdict import explain
from viewserver.model.objects import Withdrawal

SSH = Message(TCP, 22)
WEB = Message(TCP, 80)
PING = Message(ICMP, 8)


def said(network, source, destination, message):
    return explain(network, Question(source, destination, message))


def checks(found):
    return [(stage.node, stage.check, stage.outcome) for stage in found.stages]


def test_a_group_rule_is_named_with_its_membership():
    found = said(cloud(), "i-web", "i-db", Message(TCP, 8080))
    assert found.allowed
    judged = found.deciding.judged
    assert str(judged.ruled) == "sg-app ingress: tcp 8080 from sg-web"
    assert [(link.key, link.says) for link in judged.chain] == [
        (("group", "sg-web"), "i-web (10.1.0.10) is in sg-web"),
        (("group", "sg-app"), "tcp 8080 from sg-web"),
        (("group", "sg-app"), "i-db is in sg-app"),
    ]
    assert checks(found) == [
        ("nc-1", "port", "passes"),
        ("nc-1", "egress", "passes"),
        ("nc-1", "translation", "passes"),
        ("nc-2", "ingress", "passes"),
        ("nc-2", "port", "passes"),
    ]


def test_what_nearly_matched_comes_first():
    found = said(cloud(), "i-app", "i-db", Message(TCP, 8080))
    assert not found.allowed
    first, second = found.deciding.judged.misses
    assert (first.ruled.group, first.why) == ("sg-app", "i-app is not in sg-web")
    assert (second.ruled.group, second.why) == ("sg-web", "port 8080 is not in 80")
    both = said(cloud(), "i-app", "i-app", Message(UDP, 53))
    assert both.allowed
    assert [stage.text for stage in both.stages][-1] == "it is for itself: it never leaves the instance"


def test_an_elastic_ip_there_and_back():
    network = cloud()
    outside = said(network, "198.51.100.7", "203.0.113.1", WEB)
    assert outside.allowed
    assert checks(outside)[0] == ("nc-1", "translation", "translates")
    assert str(outside.seen) == "198.51.100.7"
    hairpin = said(network, "i-web", "203.0.113.1", WEB)
    assert hairpin.allowed
    assert str(hairpin.seen) == "203.0.113.1"
    without = said(network, "i-app", "203.0.113.1", WEB)
    assert str(without.seen) == "192.0.2.1"  # its node's address: the public network is separate
    assert said(network, "203.0.113.1", "i-db", Message(TCP, 8080)).allowed  # from: the instance that has it


def test_nobodys_addresses():
    for vacant in ("203.0.113.2", "203.0.113.9", "10.1.0.77"):
        found = said(cloud(), "i-web", vacant, WEB)
        assert checks(found)[-1] == (None, "nobody", "drops")


def test_private_sources_do_not_come_by_a_separate_public_network():
    found = said(cloud(), "10.1.0.50", "203.0.113.1", WEB)
    assert checks(found) == [("nc-1", "spoofing", "drops")]


def test_metadata_is_the_clouds_own():
    limited = accepted(changed("sg-web", egress=[]), network=cloud()).network
    assert not said(limited, "i-web", "198.51.100.7", WEB).allowed
    found = said(limited, "i-web", "169.254.169.254", WEB)
    assert found.allowed
    assert str(found.seen) == "203.0.113.1"
    assert str(said(limited, "i-app", "169.254.169.254", WEB).seen) == "10.1.0.11"
    assert not said(limited, "i-web", "169.254.169.254", SSH).allowed
    without = accepted(changed("network", metadata=None), network=limited).network
    assert "no metadata service" in said(without, "i-web", "169.254.169.254", WEB).deciding.text


def test_dhcp_goes_to_its_own_node_only():
    found = said(cloud(), "i-web", "10.1.0.1", Message(UDP, 67))
    assert checks(found)[-1] == ("nc-1", "dhcp", "drops")


def test_nodes_and_instances():
    network = cloud()
    assert not said(network, "i-web", "nc-1", SSH).allowed
    assert said(network, "nc-1", "i-web", SSH).deciding.text == "nc-1 is its own host, and host_to_vm is allow"
    assert not said(network, "nc-2", "i-web", SSH).allowed
    opened = accepted(changed("network", vm_to_host="allow", host_to_vm="deny"), network=network).network
    assert said(opened, "i-web", "nc-1", SSH).allowed
    assert not said(opened, "nc-1", "i-web", SSH).allowed
    # from its private address, an instance is not told from a spoof on another node's public side, whatever the setting
    assert checks(said(opened, "i-app", "nc-2", SSH))[-1] == ("nc-2", "spoofing", "drops")
    assert said(opened, "i-web", "nc-2", SSH).allowed


def test_a_ping_of_the_first_hop_where_that_is_the_node():
    network = accepted(changed("network", gateway_mode="node"), network=cloud()).network
    assert checks(said(network, "i-web", "10.1.0.1", PING))[-1] == ("nc-1", "host", "passes")
    assert checks(said(network, "i-web", "10.1.0.1", SSH))[-1] == ("nc-1", "host", "drops")
    assert said(cloud(), "i-web", "10.1.0.1", SSH).allowed  # a real router's, so not ours to judge


def test_masqueraded_an_instance_is_its_node():
    network = accepted(changed("network", private_nat="masquerade"), network=cloud()).network
    assert str(said(network, "i-app", "198.51.100.7", WEB).seen) == "192.0.2.1"
    assert said(network, "i-app", "nc-2", SSH).allowed
    assert str(said(network, "i-app", "i-db", WEB).seen) == "10.1.0.11"


def test_icmp_that_begins_no_flow_is_not_translated():
    opened = accepted(changed("sg-web", ingress=[{"protocol": "all", "cidr": "0.0.0.0/0"}]), network=cloud()).network
    assert said(opened, "198.51.100.7", "203.0.113.1", PING).allowed
    assert not said(opened, "198.51.100.7", "203.0.113.1", Message(ICMP, 3, 4)).allowed
    assert str(said(opened, "i-web", "198.51.100.7", Message(ICMP, 3, 4)).seen) == "10.1.0.10"


def test_same_group_traffic():
    assert not said(cloud(), "i-far", "i-web", SSH).allowed
    network = accepted(changed("network", same_group_traffic="allow"), network=cloud()).network
    found = said(network, "i-far", "i-web", SSH)
    assert found.allowed
    assert "are both in sg-web" in found.deciding.text


def test_an_instance_without_a_node_is_closed_both_ways():
    network = accepted(changed("i-app", node=None, zone="zone-a"), network=cloud()).network
    for source, destination in (("i-app", "i-db"), ("i-web", "i-app")):
        assert "on no node" in said(network, source, destination, Message(TCP, 8080)).deciding.text


def test_an_address_that_is_held_back():
    moved = accepted(changed("i-db", node="nc-1"), network=cloud()).network
    network = moved.put("withdrawal", "10.1.0.12", Withdrawal("nc-2", 7, fence=7))
    found = said(network, "i-web", "i-db", Message(TCP, 8080))
    assert "nc-1 gets 10.1.0.12 when nc-2 has reported" in found.deciding.text
    elastic = cloud().put("withdrawal", "203.0.113.1", Withdrawal("nc-2", 7, fence=7))
    assert "203.0.113.1 is held back" in said(elastic, "198.51.100.7", "203.0.113.1", WEB).deciding.text
    assert str(said(elastic, "i-web", "198.51.100.7", WEB).seen) == "10.1.0.10"  # nor is it shown


def test_the_target_of_a_migration_is_said():
    network = accepted(changed("i-app", migrating_to="nc-2"), network=cloud()).network
    found = said(network, "i-web", "i-app", Message(TCP, 8080))
    assert found.allowed
    assert found.notes == ("i-app is migrating to nc-2, where its port is closed until the cut-over",)


@pytest.mark.parametrize(
    ("source", "destination", "faulty"),
    [
        ("i-none", "i-web", {"from"}),
        ("i-web", "2001:db8::1", {"to"}),
        ("i-none", "224.0.0.1", {"from", "to"}),
        ("nc-1", "198.51.100.7", {"from"}),
        ("169.254.169.254", "i-web", {"from"}),
    ],
)
def test_ends_that_are_none(source, destination, faulty):
    with pytest.raises(Unasked) as refused:
        said(cloud(), source, destination, WEB)
    assert set(refused.value.faults) == faulty


@pytest.mark.parametrize(
    ("given", "faulty"),
    [
        (("tcp", None, None, None), {"port"}),
        (("icmp", 22, None, None), {"port"}),
        (("132", 22, 8, 0), {"port", "icmp_type", "icmp_code"}),
        (("udp", 53, None, 0), {"icmp_code"}),
        (("all", None, None, None), {"protocol"}),
        (("256", None, None, None), {"protocol"}),
    ],
)
def test_messages_that_are_none(given, faulty):
    with pytest.raises(Unasked) as refused:
        read_message(*given)
    assert set(refused.value.faults) == faulty


def test_messages():
    assert read_message("TCP", 22, None, None) == SSH
    assert read_message("6", 22, None, None) == SSH
    assert read_message("icmp", None, None, None) == PING
    assert read_message("132", None, None, None) == Message(132)
