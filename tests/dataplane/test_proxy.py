"""`gateway_mode: proxy`: the node speaks for its instances, and the wire knows its MAC address alone."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress

import pytest

from lab.flows import Flow
from lab.frames import ARP, ARP_REQUEST, BROADCAST, NOWHERE, RARP, Frame, arp, ethernet
from lab.probes import expect, probe
from lab.topology import CLC, GATEWAY, OUTSIDE
from lab.wire import capture, send_frame
from tests.dataplane.arp import answers, is_reply
from tests.dataplane.cloud import FACTS
from tests.dataplane.place import Place, named, place

FLAT_PROXY, TWO_PROXY = ("flat", "proxy"), ("two", "proxy")
both = pytest.mark.parametrize("kind", [FLAT_PROXY, TWO_PROXY], ids=named)


@both
def test_an_instance_is_answered_for_all_of_its_subnet_by_its_node(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        targets = [at.b.ip, at.d.ip, GATEWAY, "10.111.77.77", *([] if at.is_separate else [CLC, at.elastic(2)])]
        found = {str(one): answers(at.a.host, "eth0", str(at.a.ip), str(one), str(at.c.ip)) for one in targets}
        assert found == {str(one): [FACTS.gateway_mac] for one in targets}


def test_an_instance_that_asks_for_its_own_address_is_not_told_that_it_is_taken() -> None:
    with place(FLAT_PROXY) as at, capture(at.a.host, "eth0", is_reply, incoming=True) as heard:
        for sender in ("0.0.0.0", str(at.a.ip)):
            body = arp(ARP_REQUEST, at.a.mac, sender, NOWHERE, at.a.ip)
            send_frame(at.a.host, "eth0", ethernet(BROADCAST, at.a.mac, ARP, body))
        body = arp(ARP_REQUEST, at.a.mac, at.a.ip, NOWHERE, at.b.ip)
        send_frame(at.a.host, "eth0", ethernet(BROADCAST, at.a.mac, ARP, body))
        assert heard.wait_for(lambda frame: frame.src == at.b.ip)
        assert [str(frame.src) for frame in heard.frames] == [str(at.b.ip)]


def test_everybody_is_answered_for_an_instance_by_its_node() -> None:
    with place(FLAT_PROXY) as at:
        asking = {"router": ("lan0", str(GATEWAY)), "clc": ("eth0", str(CLC)), "nc-2": ("up0", at.address("nc-2"))}
        for name, (link, own) in asking.items():
            found = answers(at.lab[name], link, own, str(at.c.ip), at.address("nc-1"))
            assert found == [at.node.mac("br0")], name
        flows = [Flow.tcp(at.lab[name], at.c.host, at.c.ip, 80) for name in asking]
        assert {outcome.answered for outcome in probe(flows, awaited=flows).values()} == {True}


@pytest.mark.parametrize("nat", ["none", "masquerade"])
@both
def test_no_instances_mac_address_is_on_the_wire(kind: tuple[str, str], nat: str) -> None:
    """Whatever they do: by private and elastic addresses, to servers, by DHCP, announcing themselves, to whomever's MAC."""
    with place(kind, private_nat=nat) as at, ExitStack() as open_:
        macs = {vm.mac for vm in at.vms.values()}
        segments = ["private", "public"] if at.is_separate else ["underlay"]

        def theirs(frame: Frame) -> bool:
            return frame.raw[:6].hex(":") in macs or frame.raw[6:12].hex(":") in macs

        heard = [open_.enter_context(capture(at.lab[name], link, theirs)) for name in segments for link in ("nc-1",)]
        flows = [
            Flow.tcp(at.a.host, at.d.host, at.d.ip, 80),
            Flow.tcp(at.c.host, at.f.host, at.f.ip, 80),
            Flow.tcp(at.c.host, at.b.host, at.b.ip, 80),
            Flow.tcp(at.c.host, at.d.host, at.elastic(3), 80),
            Flow.tcp(at.a.host, at.b.host, at.elastic(2), 80),
            Flow.tcp(at.a.host, at.a.host, at.elastic(1), 80),
            Flow.tcp(at.a.host, at.outside, OUTSIDE, 80),
            Flow.tcp(at.a.host, at.clc, at.clc_address, 80),
            Flow.tcp(at.outside, at.a.host, at.elastic(1), 80),
            Flow.tcp(at.clc, at.d.host, at.elastic(3), 80),
        ]
        assert not expect(flows, [])
        for _ in range(2):  # the second finds the way to the service known
            with at.a.host.socket(socket.AF_INET, socket.SOCK_STREAM) as client, suppress(ConnectionRefusedError):
                client.settimeout(5)
                client.connect(("169.254.169.254", 80))
        rarp = arp(3, at.a.mac, "0.0.0.0", at.a.mac, "0.0.0.0")
        send_frame(at.a.host, "eth0", ethernet(BROADCAST, at.a.mac, RARP, rarp))
        at.a.host.ip(f"neigh replace {at.d.ip} lladdr {at.d.mac} dev eth0 nud permanent")
        probe([Flow.udp(at.a.host, at.d.host, at.d.ip, 80)], wait=0.1)
        with capture(at.lab[segments[0]], "nc-1", lambda frame: b"last of all" in frame.raw) as last:
            with at.c.host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"last of all", (str(at.f.ip), 80))
            assert last.wait_for(lambda _: True)
        assert [frame.raw[:34].hex() for one in heard for frame in one.frames] == []


@pytest.mark.parametrize("kind", [FLAT_PROXY, ("flat", "impersonate")], ids=named)
def test_who_asked_the_node_that_an_instance_left_is_told(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        asking = [at.lab["router"], *([at.clc] if kind == FLAT_PROXY else [])]
        flows = [Flow.tcp(host, at.c.host, at.c.ip, 80) for host in asking]
        assert not expect(flows, [])
        for host in asking:
            assert at.node.mac("br0") in host.run("ip", "neigh", "show", str(at.c.ip))
        moved(at)
        assert not expect(flows, [])
        for host in asking:
            assert at.other_node.mac("br0") in host.run("ip", "neigh", "show", str(at.c.ip))


def test_an_instance_does_not_hear_that_its_address_is_announced() -> None:
    """Its stack would take it for a conflict (RFC 5227)."""
    with (
        place(FLAT_PROXY) as at,
        capture(at.c.host, "eth0", lambda frame: frame.ethertype == ARP, incoming=True) as heard,
    ):
        at.c.host.run("ip", "neigh", "flush", "all")
        with capture(at.lab["router"], "lan0", is_reply, incoming=True) as announced:
            moved(at, back=True)
            assert announced.wait_for(lambda frame: frame.src == at.c.ip)
        assert not expect([Flow.tcp(at.c.host, at.b.host, at.b.ip, 80)], [])
        assert [frame for frame in heard.frames if frame.src == at.c.ip] == []


def moved(at: Place, *, back: bool = False) -> None:
    """`c` is on the other node, as by a stop and a start there; with `back`, and on its own again."""
    for node in ("nc-2", "nc-1") if back else ("nc-2",):
        at.lab.move(at.c.interface, node)
        at.c.host.ip(f"route replace default via {GATEWAY} dev eth0 onlink")
        at.cloud.enforce()
