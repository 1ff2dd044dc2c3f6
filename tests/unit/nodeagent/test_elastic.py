"""Elastic IPs, and the host's settings, as a view means them."""

from ipaddress import IPv4Address, IPv4Interface
from typing import Any

import pytest

from nodeagent.desired import elastic
from nodeagent.desired.node import Desired, desired
from nodeagent.plan.host import AddAddress, DeleteAddress, ReflectPort, SetSysctl, closing, opening
from nodeagent.state import ownership
from nodeagent.state.host import HostFacts, Identity, Links, Port
from nodeagent.state.ruleset import Span
from tests.unit.nodeagent.wires import GATEWAY, NODE_ADDRESS, instance, view
from verge.contract.members import parse_address
from verge.contract.view import View

FACTS = HostFacts("br0", "br0")
PUBLIC = ["10.111.200.1-10.111.200.50"]
HOST = Identity("02:00:00:00:00:01", frozenset({"up0"}), frozenset({IPv4Address(NODE_ADDRESS)}))


def given(*addresses: str | None, identity: Identity = HOST, **network: Any) -> Desired:
    instances = {f"i-{n}": instance(n, elastic_ip=ip) for n, ip in enumerate(addresses, 1)}
    return desired(view(instances, **{"public_ips": PUBLIC, **network}), FACTS, identity=identity)


def test_a_binding_is_in_every_place_at_once() -> None:
    found = given("10.111.200.7", None)
    pair = parse_address("10.111.200.7"), parse_address("10.111.101.1")
    table = found.ruleset[ownership.IP]
    assert found.elastic == (pair,)
    assert table.sets[elastic.PAIRS].elements == frozenset({pair})
    assert table.maps[elastic.DNAT].elements == {pair[0]: pair[1]}
    assert table.maps[elastic.SNAT].elements == {pair[1]: pair[0]}
    assert pair[0] in found.ruleset[ownership.BRIDGE].sets["elastic_here4"].elements
    assert found.failures == ()


@pytest.mark.parametrize(
    ("address", "why", "network"),
    [
        ("192.0.2.1", "in none of the network's public ranges", {}),
        (NODE_ADDRESS, "the node itself", {"public_ips": ["10.111.0.0-10.111.200.50"]}),
        (GATEWAY, "the gateway", {"public_ips": ["10.111.0.0-10.111.200.50"]}),
        ("10.111.0.2", "a DNS server", {"public_ips": ["10.111.0.0-10.111.200.50"]}),
        ("10.111.1.1", "the metadata service", {"public_ips": ["10.111.0.0-10.111.200.50"]}),
    ],
)
def test_one_that_must_not_be_is_refused_and_its_instance_enforced(address: str, why: str, network: Any) -> None:
    found = given(address, "10.111.200.2", **network)
    (failure,) = found.failures
    assert failure.object == f"elastic_ips/{address}"
    assert why in failure.reason
    assert "i-1" in failure.reason
    assert "i-1" in found.interfaces
    assert found.elastic == ((parse_address("10.111.200.2"), parse_address("10.111.101.2")),)


def test_one_that_two_claim_is_nobodys() -> None:
    found = given("10.111.200.2", "10.111.200.2")
    assert [failure.object for failure in found.failures] == ["elastic_ips/10.111.200.2"]
    assert "i-1, i-2" in found.failures[0].reason
    assert found.elastic == ()


def test_the_pool_has_nothing_of_the_hosts() -> None:
    """Whatever is sent to an address of the pool never reaches the host."""
    wide = view(public_ips=["10.111.0.0-10.111.0.255", "10.111.1.0-10.111.1.1", "10.111.0.200-10.111.0.255"])
    spans = elastic.pool(wide, HOST)
    own = {parse_address(one) for one in (NODE_ADDRESS, GATEWAY, "10.111.0.2", "10.111.1.1")}
    assert not any(low <= address <= high for low, high in spans for address in own)
    assert sum(high - low + 1 for low, high in spans) == 258 - len(own)
    assert list(spans) == sorted(spans)
    assert elastic.joined([Span(1, 2), Span(3, 4), Span(6, 6)]) == [Span(1, 4), Span(6, 6)]


def test_an_address_more_of_the_host_leaves_the_pool() -> None:
    own = IPv4Address("10.111.200.9")
    found = given("10.111.200.9", identity=Identity(addresses=frozenset({own})))
    assert found.elastic == ()
    assert found.failures[0].object == "elastic_ips/10.111.200.9"


# -- settings


def with_mode(mode: str) -> View:
    made = view({"i-1": instance(1)}, public_ips=PUBLIC).wire
    wire = {"schema": 1, "node": made.node, **made.parts, **made.objects, "members": {}}
    return View.parse(wire | {"host": {"address": NODE_ADDRESS, "gateway_mode": mode}})


def settled(found: Desired) -> Links:
    return Links(
        bridge_filtered=True,
        ports={"vn_i-1": Port("br0", ipv6_disabled=True, hairpin=True)},
        own_addresses=found.addresses,
        sysctls={one.name: one.value for one in found.sysctls},
    )


@pytest.mark.parametrize("mode", ["impersonate", "node", "router", "proxy"])
def test_what_is_as_it_should_be_is_not_touched(mode: str) -> None:
    found = desired(with_mode(mode), FACTS)
    links = settled(found)
    assert closing(links) == opening(links, found, FACTS) == ()


def test_what_is_not_is_set_behind_the_ruleset() -> None:
    found = desired(with_mode("node"), FACTS)
    steps = opening(Links(bridge_filtered=True, ports={"vn_i-1": Port("br0", ipv6_disabled=True)}), found, FACTS)
    assert AddAddress(IPv4Interface(f"{GATEWAY}/16")) in steps
    assert ReflectPort("vn_i-1") in steps
    assert {step.sysctl for step in steps if isinstance(step, SetSysctl)} == set(found.sysctls)


def test_only_addresses_of_ours_are_taken_away() -> None:
    found = desired(with_mode("impersonate"), FACTS)
    ours = IPv4Interface(f"{GATEWAY}/16")
    theirs = Identity(bridge_addresses=frozenset({IPv4Address("10.111.0.9")}))
    links = Links(
        bridge_filtered=True, identity=theirs, own_addresses=frozenset({ours}), sysctls=settled(found).sysctls
    )
    assert opening(links, found, FACTS) == (DeleteAddress(ours),)


def test_without_a_view_or_a_bridge_nothing_is_opened() -> None:
    assert opening(Links(bridge_filtered=True), desired(None, FACTS), FACTS) == ()
    assert opening(Links(None), desired(with_mode("node"), FACTS), FACTS) == ()


def test_a_host_does_not_take_the_address_of_its_own_router() -> None:
    found = desired(with_mode("node"), FACTS, identity=Identity(next_hops=frozenset({IPv4Address(GATEWAY)})))
    assert found.addresses == frozenset()
    assert [(failure.object, failure.stage) for failure in found.failures] == [("host/br0", "links")]
    assert GATEWAY in found.failures[0].reason
    stands_in = desired(with_mode("impersonate"), FACTS)
    assert (found.ruleset, found.sysctls) == (stands_in.ruleset, stands_in.sysctls)


def test_given_the_gateways_address_the_ruleset_stays_what_it_is() -> None:
    before = desired(with_mode("node"), FACTS, identity=HOST)
    own = frozenset((IPv4Address(GATEWAY), IPv4Address("169.254.169.254")))
    after = desired(
        with_mode("node"), FACTS, identity=Identity("02:00:00:00:00:01", HOST.uplinks, HOST.addresses | own, own)
    )
    assert before.ruleset == after.ruleset
