"""Rows 14 to 16: what of the hypervisors instances can reach, and what a public network may send them."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from lab import frames
from lab.flows import Flow
from lab.frames import IPV4, UDP, ethernet, ipv4
from lab.probes import expect, ping, probe
from lab.topology import GATEWAY, OUTSIDE
from lab.wire import capture, send_frame
from tests.dataplane.place import EVERYWHERE, FLAT, TWO, Place, named, place
from tests.unit.nodeagent.wires import group, rule

everywhere = pytest.mark.parametrize("kind", EVERYWHERE, ids=named)
separate = pytest.mark.parametrize("kind", [kind for kind in EVERYWHERE if kind[0] == "two"], ids=named)


def to_nodes(at: Place) -> list[Flow]:
    """From instances with and without elastic IP, to every address of either node that has a way."""
    found = []
    for vm in (at.a, at.c):
        for name in ("nc-1", "nc-2"):
            for address in at.lab[name].addresses():
                if address.is_loopback or address.ip == GATEWAY or address.ip.is_link_local:
                    continue
                found += [Flow.tcp(vm.host, at.lab[name], address.ip, 22), Flow.icmp(vm.host, at.lab[name], address.ip)]
    return found


@everywhere
def test_instances_reach_no_hypervisor_save_as_first_hop(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        controls = [
            Flow.tcp(at.clc, at.node, at.address("nc-1"), 22),
            Flow.tcp(at.clc, at.other_node, at.address("nc-2"), 22),
            Flow.tcp(at.a.host, at.outside, OUTSIDE, 80),
        ]
        flows = to_nodes(at)
        assert len(flows) == (16 if at.is_separate else 8)
        assert not expect(controls, flows)
        assert ping(at.a.host, GATEWAY, wait=5)
        assert ping(at.c.host, GATEWAY, wait=5)
        if at.cloud.gateway_mode == "node":
            assert not expect(
                controls, [Flow.tcp(at.a.host, at.node, GATEWAY, 22), Flow.udp(at.a.host, at.node, GATEWAY, 53)]
            )
        at.cloud.network["vm_to_host"] = "allow"
        at.cloud.enforce()
        # on a separate public network a private source cannot be told from a spoof
        spoof = [
            flow
            for flow in flows
            if at.is_separate and (flow.src, str(flow.address)) == (at.c.host, at.address("nc-2"))
        ]
        assert len(spoof) == 2 * at.is_separate
        assert not expect([flow for flow in flows if flow not in spoof], spoof)


@pytest.mark.parametrize("kind", [FLAT, ("flat", "router"), TWO], ids=named)
def test_where_the_ranges_of_instances_hold_the_host_its_own_instances_do_not_reach_it(kind: tuple[str, str]) -> None:
    """Whoever else is in such a range may be an instance or not: nobody can tell. Those of this host are known."""
    with place(kind, private_ranges=["10.111.0.0-10.111.255.255"]) as at:
        flows = [flow for flow in to_nodes(at) if flow.dst is at.node]
        controls = [Flow.tcp(at.clc, at.node, at.address("nc-1"), 22), Flow.tcp(at.a.host, at.c.host, at.c.ip, 80)]
        assert expect(controls, flows) == []


@everywhere
def test_the_host_reaches_its_instances_and_hears_their_answers(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        flows = [Flow.tcp(at.node, at.a.host, at.a.ip, 81), Flow.icmp(at.node, at.c.host, at.c.ip)]
        outcomes = probe(flows, awaited=flows)
        assert all(outcome.answered for outcome in outcomes.values())


def forged(at: Place, source: str, destination: str, name: str) -> bytes:
    router, link = at.lab["router"], at.public_segment
    body = frames.udp(source, destination, 5000, 5000, name.encode())
    return ethernet(at.node.mac(at.public_interface), router.mac(link), IPV4, ipv4(source, destination, UDP, body))


@separate
def test_private_addresses_do_not_come_from_the_public_network(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        at.cloud.groups["sg"] = group(rule("all", cidr="0.0.0.0/0"))
        at.cloud.enforce()
        router, link = at.lab["router"], at.public_segment
        attempts = {
            "a private source to an elastic IP": (str(at.d.ip), at.elastic(1)),
            "a local private source": (str(at.c.ip), at.elastic(1)),
            "its own private source": (str(at.a.ip), at.elastic(1)),
            "a private source to a private address": (str(at.d.ip), str(at.a.ip)),
            "a private source to the host": (str(at.d.ip), at.address("nc-1")),
            "an outside source to a private address": (str(OUTSIDE), str(at.a.ip)),
            "an outside source to one without elastic IP": (str(OUTSIDE), str(at.c.ip)),
        }
        with (
            capture(at.a.host, "eth0", lambda f: f.protocol == UDP, incoming=True) as at_a,
            capture(at.c.host, "eth0", lambda f: f.protocol == UDP, incoming=True) as at_c,
        ):
            for name, (source, destination) in attempts.items():
                send_frame(router, link, forged(at, source, destination, name))
            send_frame(router, link, forged(at, str(OUTSIDE), at.elastic(1), "honest and last"))
            assert at_a.wait_for(lambda f: b"honest and last" in f.raw)
            arrived = [f.payload[8:] for heard in (at_a, at_c) for f in heard.frames]
            assert arrived == [b"honest and last"]


@pytest.mark.parametrize("kind", [FLAT, TWO], ids=named)
def test_an_elastic_ip_that_nobody_has_leads_nowhere(kind: tuple[str, str]) -> None:
    """Neither to the host, even where somebody gave it that address, nor past it."""
    with place(kind) as at:
        elastic = at.elastic(9)
        at.node.ip(f"address add {elastic}/32 dev lo scope host")
        router, link = at.lab["router"], at.public_segment
        router.ip(
            f"neigh replace {elastic} lladdr {at.node.mac(at.public_interface)} dev {link} nud permanent",
        )
        control = [Flow.tcp(at.outside, at.node, at.address("nc-1"), 80)]
        assert not expect(
            control, [Flow.tcp(at.outside, at.node, elastic, 80), Flow.icmp(at.outside, at.node, elastic)]
        )


@pytest.mark.parametrize("transit", [True, False], ids=["leave", "drop"])
@pytest.mark.parametrize("kind", [FLAT, TWO], ids=named)
def test_forwarding_between_others_is_untouched_or_dropped_as_the_host_is_set(
    kind: tuple[str, str], *, transit: bool
) -> None:
    """Row 16. The node is a router to them, by the operator's will; and its instances are served all the same."""
    with place(kind, transit=transit) as at:
        at.clc.ip(f"route add 192.0.2.0/24 via {at.address('nc-1')}")
        at.outside.ip("address add 192.0.2.1/32 dev lo")
        at.node.ip(f"route add 192.0.2.0/24 via {at.lab['router'].addresses(at.public_segment)[0].ip}")
        at.lab["router"].ip(f"route add 192.0.2.1/32 via {OUTSIDE}")
        through = Flow.tcp(at.clc, at.outside, IPv4Address("192.0.2.1"), 80)
        theirs = [
            Flow.tcp(at.outside, at.a.host, at.elastic(1), 80),
            Flow.tcp(at.a.host, at.d.host, at.elastic(3), 80),
            Flow.tcp(at.c.host, at.b.host, at.b.ip, 80),
            Flow.tcp(at.c.host, at.d.host, at.d.ip, 80),
            Flow.tcp(at.a.host, at.outside, OUTSIDE, 80),
            Flow.tcp(at.clc, at.node, at.address("nc-1"), 80),
            Flow.tcp(at.node, at.outside, OUTSIDE, 80),
        ]
        assert not expect([*theirs, *([through] if transit else [])], [] if transit else [through])


def test_a_masqueraded_instance_is_its_node_to_others_until_an_operators_rule_says_no() -> None:
    """The remedy that docs/dataplane.md names for the known limit."""
    with place(FLAT, private_nat="masquerade") as at:
        beyond = [Flow.tcp(at.c.host, at.other_node, at.address("nc-2"), 22)]
        own = [Flow.tcp(at.c.host, at.node, at.address("nc-1"), 22)]
        passes = [Flow.tcp(at.c.host, at.outside, OUTSIDE, 80), Flow.tcp(at.c.host, at.d.host, at.d.ip, 80)]
        assert not expect([*passes, *beyond], own)
        at.node.nft(
            f"add rule ip verge operator_pre ip saddr {at.c.ip} ip daddr 10.111.0.101-10.111.0.120 "
            "ct direction original drop"
        )
        at.cloud.nodes["nc-1"].resync(at.cloud.view("nc-1"))
        assert not expect(passes, [*beyond, *own])
        assert ping(at.c.host, GATEWAY, wait=5)
