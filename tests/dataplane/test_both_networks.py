"""Rows 5, 7, 22 and 24 of the outcomes with public and private networks in one and apart: at the edges of what is allowed."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from lab import frames
from lab.build import Vm
from lab.flows import Flow
from lab.frames import ARP, ARP_REQUEST, BROADCAST, IPV4, NOWHERE, SCTP, TCP, UDP, arp, ethernet, ipv4
from lab.probes import expect
from lab.session import Session, Side, deliveries
from lab.wire import capture, send_frame
from tests.dataplane.place import FLAT, TWO, Place, named, place
from tests.unit.nodeagent.wires import group, rule

both_networks = pytest.mark.parametrize("kind", [FLAT, TWO], ids=named)
ANYWHERE = "0.0.0.0/0"
LAST = b"honest and last"
UNKNOWN = "10.111.101.250"


def datagram(sender: Vm, to: str, name: str) -> bytes:
    return ipv4(sender.ip, to, UDP, frames.udp(sender.ip, to, 5000, 5000, name.encode()))


def not_for(victim: Vm, sender: Vm, third: Vm) -> dict[str, bytes]:
    """What `sender` may well send, and `victim` is not to hear."""

    def packet(mac: str, to: str, name: str) -> bytes:
        return ethernet(mac, sender.mac, IPV4, datagram(sender, to, name))

    def question(to: str, name: str) -> bytes:
        body = arp(ARP_REQUEST, sender.mac, sender.ip, NOWHERE, to) + bytes(18) + name.encode()
        return ethernet(BROADCAST, sender.mac, ARP, body)

    return {
        "to the victim's MAC and another's address": packet(
            victim.mac, str(third.ip), "to the victim's MAC and another's address"
        ),
        "to the victim's MAC and nobody's address": packet(
            victim.mac, UNKNOWN, "to the victim's MAC and nobody's address"
        ),
        "to everyone": packet(BROADCAST, "255.255.255.255", "to everyone"),
        "to the subnet": packet(BROADCAST, "10.111.255.255", "to the subnet"),
        "to all hosts": packet("01:00:5e:00:00:01", "224.0.0.1", "to all hosts"),
        "to a multicast group": packet("01:00:5e:00:00:fb", "224.0.0.251", "to a multicast group"),
        "to a group by broadcast": packet(BROADCAST, "239.1.2.3", "to a group by broadcast"),
        "to everyone, by the victim's MAC": packet(victim.mac, "255.255.255.255", "to everyone, by the victim's MAC"),
        "ARP for another": question(str(third.ip), "ARP for another"),
        "ARP for nobody": question(UNKNOWN, "ARP for nobody"),
    }


@both_networks
def test_instances_hear_from_each_other_only_what_is_for_them(kind: tuple[str, str]) -> None:
    """Groups are open, so it is the port that stops what is not for its instance; multicast is for none."""
    with place(kind) as at:
        at.cloud.groups["sg"] = group(rule("all", cidr=ANYWHERE))
        at.cloud.enforce()
        victim, third = at.a, at.f
        for sender in (at.b, at.d):
            attempts = not_for(victim, sender, third)
            with capture(victim.host, "eth0", incoming=True) as heard:
                for frame in attempts.values():
                    send_frame(sender.host, "eth0", frame)
                honest = ethernet(victim.mac, sender.mac, IPV4, datagram(sender, str(victim.ip), LAST.decode()))
                send_frame(sender.host, "eth0", honest)
                assert heard.wait_for(lambda frame: LAST in frame.raw)
                arrived = [name for name in attempts for frame in heard.frames if name.encode() in frame.raw]
            assert not arrived, sender.host.name


@both_networks
def test_multicast_from_the_network_reaches_no_instance(kind: tuple[str, str]) -> None:
    with place(kind) as at, ExitStack() as open_:
        at.cloud.groups["sg"] = group(rule("all", cidr=ANYWHERE))
        at.cloud.enforce()
        router = at.lab["router"]
        link = "lan0"
        mac, own = router.mac(link), router.addresses(link)[0].ip

        def packet(to_mac: str, to: str, name: bytes) -> bytes:
            return ethernet(to_mac, mac, IPV4, ipv4(own, to, UDP, frames.udp(own, to, 5000, 5000, name)))

        heard = [(vm, open_.enter_context(capture(vm.host, "eth0", incoming=True))) for vm in (at.a, at.d)]
        for to_mac, to in (("01:00:5e:00:00:fb", "224.0.0.251"), (BROADCAST, "255.255.255.255")):
            send_frame(router, link, packet(to_mac, to, b"to many"))
        for vm, _ in heard:
            send_frame(router, link, packet(vm.mac, str(vm.ip), LAST))
        for _, captured in heard:
            assert captured.wait_for(lambda frame: LAST in frame.raw)
            assert not [frame for frame in captured.frames if b"to many" in frame.raw]


@both_networks
def test_without_a_rule_nothing_gets_in(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        at.cloud.groups["shut"] = group()
        at.cloud.groups_of[at.a.interface] = ["shut"]
        at.cloud.enforce()
        ways = [(at.b, at.a.ip), (at.d, at.a.ip), (at.b, at.elastic(1)), (at.d, at.elastic(1)), (at.f, at.a.ip)]
        blocked = [
            flow
            for source, address in [*((vm.host, address) for vm, address in ways), (at.outside, at.elastic(1))]
            for flow in (
                Flow.tcp(source, at.a.host, address, 80),
                Flow.udp(source, at.a.host, address, 53),
                Flow.icmp(source, at.a.host, address),
                Flow.raw(source, at.a.host, address, SCTP, 1),
            )
        ]
        assert not expect(
            [Flow.tcp(at.d.host, at.b.host, at.b.ip, 80), Flow.icmp(at.outside, at.b.host, at.elastic(2))], blocked
        )


@both_networks
@pytest.mark.parametrize("speaker", list(Side), ids=lambda side: side.value)
def test_what_is_revoked_is_dead_though_only_one_side_speaks(kind: tuple[str, str], speaker: Side) -> None:
    """A server that pushes over TCP, a client that goes on talking, UDP in one direction: from the same node, another node and
    outside, by private address and by elastic IP."""
    with place(kind) as at, ExitStack() as open_:
        web = rule("tcp", 80, cidr=ANYWHERE)
        at.cloud.groups["sg"] = group(web, rule("tcp", 22, cidr=ANYWHERE), rule("udp", (53, 57), cidr=ANYWHERE))
        at.cloud.enforce()
        elastic = at.elastic(1)
        clients = [(at.b.host, at.a.ip), (at.d.host, at.a.ip), (at.d.host, elastic), (at.outside, elastic)]
        if kind == FLAT:
            clients.append((at.outside, at.a.ip))
        revoked, others = [], []
        for number, (client, address) in enumerate(clients):
            revoked += [
                open_.enter_context(Session.tcp(client, at.a.host, address, 22)),
                open_.enter_context(Session.udp(client, at.a.host, address, 53 + number)),
            ]
            others.append(open_.enter_context(Session.tcp(client, at.a.host, address, 80)))
        said = [(session, speaker) for session in revoked]
        assert all(deliveries(said, awaited=said).values())
        at.cloud.groups["sg"] = group(web)
        at.cloud.enforce()
        lasting = [(session, side) for session in others for side in Side]
        for _ in range(3):
            arrived = deliveries(said, awaited=lasting, wait=0.1)
            assert not [session.name for session, _ in said if arrived[session, speaker]]
            assert all(arrived[one] for one in lasting)


@both_networks
def test_ports_types_and_protocols_are_what_the_rule_says(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        at.cloud.groups["edges"] = group(
            rule("udp", (0, 80), cidr=ANYWHERE),
            rule("tcp", 0, cidr=ANYWHERE),
            rule("tcp", 65535, cidr=ANYWHERE),
            rule("icmp", icmp_type=8, icmp_code=0, cidr=ANYWHERE),
            rule("icmp", icmp_type=13, cidr=ANYWHERE),
            rule("icmp", icmp_type=3, icmp_code=4, cidr=ANYWHERE),
            rule(SCTP, cidr=ANYWHERE),
        )
        at.cloud.groups["pinged"] = group(rule("icmp", cidr=ANYWHERE))
        at.cloud.groups_of[at.a.interface] = ["edges"]
        at.cloud.groups_of[at.b.interface] = ["pinged"]
        at.cloud.enforce()
        passes, blocked = [], []
        for source, address in (
            (at.c.host, at.a.ip),
            (at.d.host, at.a.ip),
            (at.outside, at.elastic(1)),
            (at.d.host, at.elastic(1)),
        ):
            passes += [
                *(Flow.udp(source, at.a.host, address, port) for port in (1, 80)),
                Flow.tcp(source, at.a.host, address, 65535),
                *(Flow.icmp(source, at.a.host, address, *message) for message in ((8, 0), (13, 0), (13, 7))),
                Flow.raw(source, at.a.host, address, SCTP, 1),
            ]
            blocked += [
                *(Flow.udp(source, at.a.host, address, port) for port in (81, 65535)),
                *(Flow.tcp(source, at.a.host, address, port) for port in (1, 80, 65534)),
                *(Flow.icmp(source, at.a.host, address, *message) for message in ((8, 1), (3, 3), (5, 0), (17, 0))),
                *(Flow.raw(source, at.a.host, address, protocol) for protocol in (47, 99)),
            ]
        # ICMP messages that neither ask nor belong to a flow are translated by nobody
        for source in (at.c.host, at.d.host):
            passes.append(Flow.icmp(source, at.a.host, at.a.ip, 3, 4))
            passes += [
                Flow.icmp(source, at.b.host, at.b.ip, *message) for message in ((8, 9), (13, 0), (3, 1), (40, 9))
            ]
            blocked.append(Flow.tcp(source, at.b.host, at.b.ip, 80))
        assert not expect(passes, blocked)
        _port_0(at, at.c)
        _port_0(at, at.d)


def _port_0(at: Place, sender: Vm) -> None:
    """No stack sends to it, so by hand."""
    target = at.a
    with capture(target.host, "eth0", lambda frame: frame.protocol in (TCP, UDP), incoming=True) as heard:
        for protocol, port in ((UDP, 0), (TCP, 0), (TCP, 1), (UDP, 81), (UDP, 80)):
            make = frames.udp if protocol == UDP else frames.tcp
            packet = ipv4(sender.ip, target.ip, protocol, make(sender.ip, target.ip, 6000, port))
            send_frame(sender.host, "eth0", ethernet(target.mac, sender.mac, IPV4, packet))
        assert heard.wait_for(lambda frame: (frame.protocol, frame.dport) == (UDP, 80))
        assert [(frame.protocol, frame.dport) for frame in heard.frames] == [(UDP, 0), (TCP, 0), (UDP, 80)]
