"""Row 20: whom the outside sees where an instance has no elastic IP."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from lab.flows import Flow
from lab.frames import UDP
from lab.probes import expect, probe
from lab.session import Session, Side
from lab.topology import OUTSIDE
from lab.wire import capture
from tests.dataplane.place import EVERYWHERE, FLAT, TWO, named, place

everywhere = pytest.mark.parametrize("kind", EVERYWHERE, ids=named)


@everywhere
def test_without_translation_the_private_source_leaves(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        flow = Flow.udp(at.c.host, at.outside, OUTSIDE, 80)
        assert probe([flow], awaited=[flow])[flow].seen == at.c.ip
        if at.is_separate:
            return
        # in a flat network the way back is known
        assert not expect([Flow.tcp(at.outside, at.c.host, at.c.ip, 80), Flow.tcp(at.clc, at.c.host, at.c.ip, 80)], [])
        back = Flow.tcp(at.c.host, at.outside, OUTSIDE, 80)
        assert probe([back], awaited=[back])[back].answered


@everywhere
def test_masqueraded_it_shows_the_nodes_address_and_private_ones_stay(kind: tuple[str, str]) -> None:
    with place(kind, private_nat="masquerade") as at:
        nc1, nc2 = (IPv4Address(at.address(name)) for name in ("nc-1", "nc-2"))
        expected = {
            Flow.tcp(at.c.host, at.outside, OUTSIDE, 80): nc1,
            Flow.tcp(at.f.host, at.outside, OUTSIDE, 80): nc2,
            Flow.tcp(at.c.host, at.clc, at.clc_address, 80): nc1,
            Flow.tcp(at.a.host, at.outside, OUTSIDE, 80): IPv4Address(at.elastic(1)),
            Flow.tcp(at.c.host, at.f.host, at.f.ip, 80): at.c.ip,
            Flow.tcp(at.c.host, at.b.host, at.b.ip, 80): at.c.ip,
            # row 11
            Flow.tcp(at.c.host, at.b.host, at.elastic(2), 80): nc1,
            Flow.tcp(at.c.host, at.d.host, at.elastic(3), 80): nc1,
        }
        outcomes = probe(expected, awaited=expected)
        assert {flow: outcomes[flow].seen for flow in expected} == expected
        assert all(outcomes[flow].answered for flow in expected)
        # who shows the node's address is not the node: rules judge it
        assert not expect(
            [Flow.tcp(at.node, at.a.host, at.a.ip, 81)],
            [Flow.tcp(at.c.host, at.b.host, at.elastic(2), 81), Flow.tcp(at.c.host, at.b.host, at.elastic(2), 22)],
        )


@pytest.mark.parametrize("kind", [FLAT, TWO], ids=named)
def test_what_is_translated_is_translated_for_icmp_errors_too(kind: tuple[str, str]) -> None:
    """Row 21: a port that is closed, told to the instance that asked; and by one, to who asked its elastic IP."""
    with place(kind, private_nat="masquerade") as at:
        for src, dst, address in (
            (at.c.host, at.outside, OUTSIDE),
            (at.a.host, at.outside, OUTSIDE),
        ):
            with src.socket(2, 2) as asking:
                asking.settimeout(5)
                asking.connect((str(address), 9))
                asking.send(b"?")
                with pytest.raises(ConnectionRefusedError):
                    asking.recv(1)
            assert dst
        at.cloud.groups["sg"]["ingress"].append({"protocol": "udp", "from_port": 9, "to_port": 9, "cidr": "0.0.0.0/0"})
        at.cloud.enforce()
        with at.outside.socket(2, 2) as asking:
            asking.settimeout(5)
            asking.connect((at.elastic(1), 9))
            asking.send(b"?")
            with pytest.raises(ConnectionRefusedError):
                asking.recv(1)


@pytest.mark.parametrize("kind", [FLAT, TWO], ids=named)
def test_running_sessions_keep_their_source_when_an_elastic_ip_comes(kind: tuple[str, str]) -> None:
    with place(kind, private_nat="masquerade") as at, Session.tcp(at.c.host, at.outside, OUTSIDE, 80) as session:
        at.cloud.elastic[at.elastic(9)] = at.c.interface
        at.cloud.enforce()
        assert session.passes(Side.CLIENT)
        assert session.passes(Side.SERVER)
        new = Flow.tcp(at.c.host, at.outside, OUTSIDE, 81)
        assert probe([new], awaited=[new])[new].seen == IPv4Address(at.elastic(9))


def test_nothing_private_leaves_masqueraded_nodes() -> None:
    with place(TWO, private_nat="masquerade") as at:
        link = at.public_segment
        pool = IPv4Address("10.111.101.0")

        def is_private(frame: object) -> bool:
            src = getattr(frame, "src", None)
            return getattr(frame, "protocol", None) == UDP and src is not None and int(src) >> 8 == int(pool) >> 8

        with capture(at.lab["router"], link, is_private, incoming=True) as private:
            flows = [Flow.udp(vm.host, at.outside, OUTSIDE, 80) for vm in at.vms.values()]
            assert not expect(flows, [])
            assert private.frames == []
