"""Row 19: 169.254.169.254, port 80, is the cloud's metadata service, which knows who asks."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from lab.flows import Flow
from lab.probes import expect
from tests.dataplane.metadata import ADDRESS, identity, service
from tests.dataplane.place import EVERYWHERE, FLAT, TWO, Place, named, place
from tests.unit.nodeagent.wires import rule

everywhere = pytest.mark.parametrize("kind", EVERYWHERE, ids=named)


@everywhere
def test_an_instance_is_known_by_its_elastic_ip_or_its_private_one(kind: tuple[str, str]) -> None:
    with place(kind) as at, service(at.clc):
        _route_back(at)
        assert identity(at.a.host) == at.elastic(1)
        assert identity(at.d.host) == at.elastic(3)
        assert identity(at.c.host) == str(at.c.ip)


@pytest.mark.parametrize("nat", ["none", "masquerade"])
@everywhere
def test_with_private_identity_it_always_is_the_private_one(kind: tuple[str, str], nat: str) -> None:
    with place(kind, private_nat=nat) as at, service(at.clc):
        _route_back(at)
        at.cloud.network["metadata"] = {"host": str(at.clc_address), "port": 8773, "identity": "private"}
        at.cloud.enforce()
        assert identity(at.a.host) == str(at.a.ip)
        assert identity(at.c.host) == str(at.c.ip)
        assert identity(at.f.host) == str(at.f.ip)


def _route_back(at: Place) -> None:
    """Who sees private sources must know where they are: on a separate network each node's instances are behind it."""
    if at.is_separate:
        for vm in at.vms.values():
            at.clc.ip(f"route replace {vm.ip}/32 via {at.address(vm.node)}")


@everywhere
def test_nothing_else_is_there(kind: tuple[str, str]) -> None:
    with place(kind) as at, service(at.clc):
        _route_back(at)
        blocked = [
            Flow.tcp(at.a.host, at.clc, ADDRESS, 8773),
            Flow.tcp(at.a.host, at.node, ADDRESS, 22),
            Flow.tcp(at.a.host, at.lab["router"], ADDRESS, 443),
            Flow.udp(at.a.host, at.clc, ADDRESS, 80),
            Flow.icmp(at.a.host, at.clc, ADDRESS),
            Flow.icmp(at.a.host, at.node, ADDRESS),
        ]
        at.clc.ip(f"address add {ADDRESS}/32 dev lo")  # it would answer, if it were asked
        blocked = [flow for flow in blocked if flow.port != 8773]
        assert not expect([Flow.tcp(at.a.host, at.clc, at.clc_address, 80)], blocked)
        assert identity(at.a.host) == at.elastic(1)


@pytest.mark.parametrize("kind", [FLAT, TWO], ids=named)
def test_egress_rules_do_not_speak_of_it(kind: tuple[str, str]) -> None:
    with place(kind) as at, service(at.clc):
        at.cloud.groups["sg"]["egress"] = [rule("tcp", 443, cidr="192.0.2.0/24")]
        at.cloud.enforce()
        assert not expect([], [Flow.tcp(at.a.host, at.clc, at.clc_address, 80)])
        assert identity(at.a.host) == at.elastic(1)


@pytest.mark.parametrize("kind", [FLAT, TWO], ids=named)
def test_without_a_service_there_is_nothing(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        at.cloud.network["metadata"] = None
        at.cloud.enforce()
        control = Flow.tcp(at.a.host, at.clc, at.clc_address, 80)
        at.clc.ip(f"address add {ADDRESS}/32 dev lo")
        assert not expect(
            [control], [Flow.tcp(at.a.host, at.clc, ADDRESS, 80), Flow.tcp(at.a.host, at.node, ADDRESS, 80)]
        )


def test_the_service_may_be_on_the_host_itself() -> None:
    with place(FLAT) as at, service(at.node):
        at.cloud.network["metadata"] = {"host": at.address("nc-1"), "port": 8773, "identity": "private"}
        at.cloud.enforce("nc-1")
        assert identity(at.c.host) == str(at.c.ip)
        assert not expect(
            [Flow.tcp(at.c.host, at.outside, IPv4Address("203.0.113.10"), 80)],
            [Flow.tcp(at.c.host, at.node, at.address("nc-1"), 80)],
        )
