"""The gateway that instances see, who answers for it, and the settings that go with it (rows 5 and 14, and drift of row 23)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.flows import Flow
from lab.frames import ARP, ARP_REQUEST, BROADCAST, NOWHERE, arp, ethernet
from lab.probes import expect, ping
from lab.topology import GATEWAY, OUTSIDE
from lab.wire import capture, send_frame
from tests.dataplane.arp import answers
from tests.dataplane.cloud import FACTS
from tests.dataplane.place import EVERYWHERE, FLAT, TWO, Place, named, place

everywhere = pytest.mark.parametrize("kind", EVERYWHERE, ids=named)
routed = pytest.mark.parametrize("kind", [FLAT, TWO, ("two", "impersonate"), ("flat", "proxy")], ids=named)
METADATA = "169.254.169.254"
GATEWAY_MAC = FACTS.gateway_mac


def vm_hears(at: Place, name: str, target: str) -> list[str]:
    """Its neighbour, whose answer is the control, is the last port to be reached."""
    vm, neighbour = at.vms[name], at.vms["b" if name != "b" else "a"]
    return answers(vm.host, "eth0", str(vm.ip), target, str(neighbour.ip))


@routed
def test_the_node_answers_for_the_gateway_with_one_mac_on_all_nodes(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        assert vm_hears(at, "a", str(GATEWAY)) == [GATEWAY_MAC]
        assert answers(at.d.host, "eth0", str(at.d.ip), str(GATEWAY), str(at.e.ip)) == [GATEWAY_MAC]
        assert ping(at.a.host, GATEWAY, wait=5)
        assert not expect([Flow.tcp(at.a.host, at.outside, OUTSIDE, 80)], [])


def test_where_the_router_is_the_first_hop_it_answers_itself() -> None:
    with place(("flat", "router")) as at:
        assert vm_hears(at, "a", str(GATEWAY)) == [at.lab["router"].mac("lan0")]
        assert not expect([Flow.icmp(at.a.host, at.lab["router"], GATEWAY)], [])


@everywhere
def test_instances_hear_of_elastic_ips_only_where_they_share_a_network(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        for elastic in (at.elastic(1), at.elastic(2), at.elastic(3)):
            assert vm_hears(at, "a", elastic) == ([] if at.is_separate else [GATEWAY_MAC])
        if at.is_separate:
            assert vm_hears(at, "a", at.address("nc-1")) == []
            assert vm_hears(at, "a", at.address("nc-2")) == []


@routed
def test_the_host_keeps_its_own_network(kind: tuple[str, str]) -> None:
    """Its gateway, its neighbours, and its answers about itself; and it answers for nobody else."""
    with place(kind) as at:
        router, link = at.lab["router"], at.public_segment
        own = str(router.addresses(link)[0].ip)
        node = at.address("nc-1")
        for host in at.lab.nodes:
            host.run("ip", "neigh", "flush", "all")
        flows = [
            Flow.icmp(at.node, router, own),
            Flow.icmp(at.node, at.other_node, at.address("nc-2")),
            Flow.tcp(at.node, at.outside, OUTSIDE, 80),
            Flow.icmp(at.clc, at.node, node),
            Flow.tcp(at.outside, at.node, node, 22),
        ]
        assert not expect(flows, [])
        nobodys = "198.51.100.77" if at.is_separate else "10.111.77.77"
        assert answers(router, link, own, nobodys, node) == []
        assert answers(router, link, own, at.elastic(9), node) == []
        assert answers(router, link, own, node, at.address("nc-2")) == [at.node.mac(at.public_interface)]


def test_the_router_reaches_instances_by_the_node_alone() -> None:
    """Both directions are routed there, so that what is translated on one way is translated back on the other."""
    with place(FLAT) as at:
        router = at.lab["router"]
        assert not expect([Flow.tcp(router, at.a.host, at.a.ip, 80)], [Flow.tcp(router, at.a.host, at.a.ip, 22)])
        assert answers(router, "lan0", str(GATEWAY), str(at.a.ip), at.address("nc-1")) == [at.node.mac("br0")]
        assert answers(router, "lan0", str(GATEWAY), str(at.d.ip), at.address("nc-1")) == [at.other_node.mac("br0")]


def test_an_instance_that_moves_keeps_its_neighbours() -> None:
    with place(FLAT) as at:
        elastic = at.elastic(1)
        out, across = Flow.tcp(at.c.host, at.outside, OUTSIDE, 80), Flow.tcp(at.c.host, at.a.host, elastic, 80)
        assert not expect([out, across], [])
        for address in (str(GATEWAY), elastic):
            assert GATEWAY_MAC in at.c.host.run("ip", "neigh", "show", address)
            # the lab's way of moving takes the carrier away, which a hypervisor's does not: so the guest would forget
            at.c.host.ip(f"neigh replace {address} lladdr {GATEWAY_MAC} dev eth0 nud permanent")
        at.lab.move(at.c.interface, "nc-2")
        at.c.host.ip(f"route replace default via {GATEWAY} dev eth0 onlink")
        at.cloud.enforce()
        assert not expect([out, across], [])


def test_the_gateways_address_stays_on_this_node() -> None:
    """Every node has it; none tells the others, or answers for them."""
    with place(TWO) as at:
        other = at.other_node
        assert str(GATEWAY) in {str(address.ip) for address in other.addresses("br0")}
        assert answers(at.node, "up0", "10.111.0.101", str(GATEWAY), "10.111.0.102") == [at.lab["router"].mac("lan0")]


# -- settings


DRIFT = {
    "forwarding": ("net.ipv4.ip_forward", 0, "1"),
    "the answers": ("net.ipv4.conf.{public}.proxy_arp_pvlan", 0, "1"),
    "the delay": ("net.ipv4.neigh.{public}.proxy_delay", 80, "0"),
    "redirects": ("net.ipv4.conf.br0.send_redirects", 1, "0"),
    "redirects of all": ("net.ipv4.conf.all.send_redirects", 1, "0"),
    "strict sources": ("net.ipv4.conf.br0.rp_filter", 1, "2"),
    "announcements": ("net.ipv4.conf.br0.arp_announce", 0, "2"),
}


@pytest.fixture(params=[FLAT, TWO], ids=named)
def at(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param) as made:
        yield made


def test_a_changed_setting_is_noticed_and_repaired(at: Place) -> None:
    node, view = at.cloud.nodes["nc-1"], at.cloud.view("nc-1")
    node.apply(view)
    for name, wrong, right in DRIFT.values():
        setting = name.format(public=at.public_interface)
        assert at.node.sysctl(setting) == right
        assert not node.moved()
        at.node.set_sysctl(setting, wrong)
        assert node.moved(), setting
        outcome = node.resync(view)
        assert outcome.state == "applied"
        path = setting.replace(".", "/")
        assert f"sysctl {path}={right}  # was {wrong}" in outcome.settings
        assert at.node.sysctl(setting) == right
    assert not node.moved()
    assert not expect([Flow.tcp(at.outside, at.a.host, at.elastic(1), 80)], [])


def test_a_ports_hairpin_is_repaired(at: Place) -> None:
    node, view = at.cloud.nodes["nc-1"], at.cloud.view("nc-1")
    node.apply(view)
    assert not node.moved()
    own = Flow.tcp(at.a.host, at.a.host, at.elastic(1), 80)
    assert not expect([own], [])
    at.node.run("bridge", "link", "set", "dev", at.a.interface, "hairpin", "off")
    assert node.moved()
    assert node.plan(view) == (f"bridge link set dev {at.a.interface} hairpin on",)
    node.resync(view)
    assert not node.moved()
    assert not expect([own], [])


def test_a_port_sends_back_nothing_but_what_is_for_its_own_elastic_ip(at: Place) -> None:
    with capture(at.a.host, "eth0", incoming=True) as heard:
        body = arp(ARP_REQUEST, at.a.mac, at.a.ip, NOWHERE, at.b.ip)
        send_frame(at.a.host, "eth0", ethernet(BROADCAST, at.a.mac, ARP, body))
        assert heard.wait_for(lambda frame: frame.src == at.b.ip)
        assert [frame for frame in heard.frames if frame.src == at.a.ip] == []


def test_a_host_does_not_take_the_address_of_its_own_router() -> None:
    """`node` on the flat network: refused, and said; the host stands in for the router instead, and keeps its own way out."""
    with place(FLAT) as at:
        node = at.cloud.nodes["nc-1"]
        at.cloud.gateway_mode = "node"
        outcome = node.apply(at.cloud.view("nc-1"))
        assert outcome.state == "degraded"
        assert [failure.object for failure in outcome.failures] == ["host/br0"]
        assert str(GATEWAY) in outcome.failures[0].reason
        assert not node.moved()
        flows = [Flow.tcp(at.node, at.outside, OUTSIDE, 80), Flow.tcp(at.a.host, at.outside, OUTSIDE, 80)]
        assert not expect(flows, [])
        # its router is another one now: so it can be what it was told to be
        at.lab["router"].ip("address add 10.111.0.2/16 dev lan0")
        at.node.ip("route replace default via 10.111.0.2")
        assert node.moved()
        assert node.resync(at.cloud.view("nc-1")).state == "applied"
        assert GATEWAY in {address.ip for address in at.node.addresses("br0")}


def test_a_deleted_address_comes_back_and_one_of_the_operators_stays() -> None:
    with place(TWO) as at:
        node, view = at.cloud.nodes["nc-1"], at.cloud.view("nc-1")
        node.apply(view)
        assert not node.moved()
        at.node.ip(f"address delete {GATEWAY}/16 dev br0")
        assert node.moved()
        node.resync(view)
        assert not node.moved()
        assert ping(at.a.host, GATEWAY, wait=5)
        # no longer wanted, ours goes; theirs, on another node, was there before and is not ours
        at.cloud.gateway_mode = "impersonate"
        at.cloud.enforce()
        assert str(GATEWAY) not in {str(address.ip) for address in at.node.addresses("br0")}
        assert "10.111.0.101" in {str(address.ip) for address in at.node.addresses("br0")}
        at.node.ip(f"address add {GATEWAY}/16 dev br0")
        at.cloud.gateway_mode = "node"
        at.cloud.enforce()
        at.cloud.gateway_mode = "impersonate"
        at.cloud.enforce()
        assert str(GATEWAY) in {str(address.ip) for address in at.node.addresses("br0")}


def test_an_address_more_of_the_host_is_answered_after_a_look() -> None:
    with place(FLAT) as at:
        node, view = at.cloud.nodes["nc-1"], at.cloud.view("nc-1")
        node.apply(view)
        router = at.lab["router"]
        at.node.ip("address add 10.111.0.200/16 dev br0")
        assert node.moved()
        node.resync(view)
        assert not node.moved()
        assert answers(router, "lan0", str(GATEWAY), "10.111.0.200", at.address("nc-1")) == [at.node.mac("br0")]
        assert ping(router, "10.111.0.200", wait=5)


def test_the_bridge_gets_another_mac() -> None:
    with place(FLAT) as at:
        node, view = at.cloud.nodes["nc-1"], at.cloud.view("nc-1")
        node.apply(view)
        at.node.ip("link set br0 address 02:00:00:00:00:99")
        assert node.moved()
        node.resync(view)
        at.lab["router"].run("ip", "neigh", "flush", "all")
        assert not expect([Flow.tcp(at.c.host, at.outside, OUTSIDE, 80)], [])
