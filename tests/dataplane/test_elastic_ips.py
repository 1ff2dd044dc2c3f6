"""Rows 10 to 13 of the outcomes: who reaches an elastic IP, and whom its instance sees and shows."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from lab.flows import Flow
from lab.probes import expect, probe
from lab.topology import OUTSIDE
from tests.dataplane.place import EVERYWHERE, FLAT, TWO, named, named_by_no_rule, place

everywhere = pytest.mark.parametrize("kind", EVERYWHERE, ids=named)
flat_and_two = pytest.mark.parametrize("kind", [FLAT, TWO], ids=named)


@everywhere
def test_who_reaches_an_elastic_ip_and_whom_it_sees(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        node, elastic = IPv4Address(at.address("nc-1")), at.elastic
        without = node if at.is_separate else at.c.ip
        expected = {
            Flow.tcp(at.outside, at.a.host, elastic(1), 80): OUTSIDE,
            Flow.tcp(at.clc, at.a.host, elastic(1), 80): at.clc_address,
            Flow.tcp(at.other_node, at.a.host, elastic(1), 80): IPv4Address(at.address("nc-2")),
            # an instance's, on the same node and on another
            Flow.tcp(at.a.host, at.b.host, elastic(2), 80): IPv4Address(elastic(1)),
            Flow.tcp(at.a.host, at.d.host, elastic(3), 80): IPv4Address(elastic(1)),
            Flow.tcp(at.c.host, at.b.host, elastic(2), 80): without,
            Flow.tcp(at.c.host, at.d.host, elastic(3), 80): without,
            # its own
            Flow.tcp(at.a.host, at.a.host, elastic(1), 80): IPv4Address(elastic(1)),
            # out of it
            Flow.tcp(at.a.host, at.outside, OUTSIDE, 80): IPv4Address(elastic(1)),
            Flow.tcp(at.a.host, at.clc, at.clc_address, 80): IPv4Address(elastic(1)),
            # private addresses stay what they are
            Flow.tcp(at.a.host, at.b.host, at.b.ip, 80): at.a.ip,
            Flow.tcp(at.a.host, at.d.host, at.d.ip, 80): at.a.ip,
        }
        outcomes = probe(expected, awaited=expected)
        assert {flow: outcomes[flow].seen for flow in expected} == expected
        assert all(outcomes[flow].answered for flow in expected)


@everywhere
def test_rules_are_judged_for_an_elastic_ip_as_for_a_private_one(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        elastic = at.elastic
        passes = [
            Flow.tcp(at.outside, at.a.host, elastic(1), 80),
            Flow.icmp(at.outside, at.a.host, elastic(1)),
            # group rules know members by both addresses, on the same node and on another
            Flow.tcp(at.a.host, at.b.host, elastic(2), 22),
            Flow.tcp(at.a.host, at.d.host, elastic(3), 22),
            Flow.tcp(at.a.host, at.b.host, at.b.ip, 22),
            Flow.tcp(at.d.host, at.a.host, elastic(1), 22),
            Flow.tcp(at.a.host, at.a.host, elastic(1), 22),
        ]
        # the node's address is in no group
        passes_flat = [Flow.tcp(at.c.host, at.b.host, elastic(2), 22), Flow.tcp(at.c.host, at.d.host, elastic(3), 22)]
        blocked = [
            Flow.tcp(at.outside, at.a.host, elastic(1), 22),
            Flow.udp(at.outside, at.a.host, elastic(1), 80),
            Flow.tcp(at.outside, at.d.host, elastic(3), 81),
            Flow.tcp(at.a.host, at.a.host, elastic(1), 81),
            Flow.tcp(at.a.host, at.b.host, elastic(2), 81),
            Flow.tcp(at.a.host, at.d.host, elastic(3), 81),
        ]
        if at.is_separate:
            assert not expect(passes, [*blocked, *passes_flat])
        else:
            assert not expect([*passes, *passes_flat], blocked)


@everywhere
def test_the_host_reaches_elastic_and_private_addresses_as_it_may(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        flows = [
            Flow.tcp(at.node, at.a.host, at.elastic(1), 81),
            Flow.tcp(at.node, at.a.host, at.a.ip, 81),
            Flow.tcp(at.node, at.a.host, at.elastic(1), 80),
        ]
        assert not expect(flows, [])
        at.cloud.network["host_to_vm"] = "deny"
        at.cloud.enforce()
        assert not expect([flows[2]], flows[:2])


@flat_and_two
def test_an_elastic_ip_comes_and_goes_by_elements_alone(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        elastic = at.elastic(1)
        inward, outward = Flow.tcp(at.outside, at.a.host, elastic, 80), Flow.tcp(at.a.host, at.clc, at.clc_address, 80)
        named_by_no_rule(at)
        assert not expect([inward, outward], [])
        node = at.cloud.nodes["nc-1"]
        holder = at.cloud.elastic.pop(elastic)
        assert all(line.startswith("delete element ") for line in node.plan(at.cloud.view("nc-1")))
        gone = at.cloud.enforce()["nc-1"]
        assert gone.sessions_judged_again == 0
        assert not expect([], [inward])
        at.cloud.elastic[elastic] = holder
        assert all(line.startswith("add element ") for line in node.plan(at.cloud.view("nc-1")))
        assert at.cloud.enforce()["nc-1"].changes == gone.changes == 4
        assert not expect([inward, outward], [])
