"""Rows 7, 8, 9 and 24 of the outcomes, and egress: who reaches whom is what the groups say, on one node and across nodes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lab import frames
from lab.build import Lab, Vm
from lab.flows import Flow
from lab.frames import ARP, ARP_REPLY, IPV4, SCTP, ethernet
from lab.probes import expect
from lab.topology import CLC, GATEWAY, OUTSIDE
from lab.wire import capture, send_frame
from tests.dataplane.cloud import Cloud
from tests.unit.nodeagent.wires import group, rule

ANYWHERE = "0.0.0.0/0"
ECHO = {"icmp_type": 8, "icmp_code": 0}


@pytest.fixture
def cloud(flat: Lab, vms: list[Vm]) -> Iterator[Cloud]:
    with Cloud(flat, vms) as cloud:
        yield cloud


def put(cloud: Cloud, **groups_of: list[Vm]) -> None:
    """Which VMs each group has: `a=[…]` for sg-a."""
    cloud.groups_of = {}
    for name, members in groups_of.items():
        for vm in members:
            cloud.groups_of.setdefault(vm.interface, []).append(f"sg-{name}")


def test_without_a_rule_nothing_gets_in_and_everything_out(cloud: Cloud, flat: Lab, vms: list[Vm]) -> None:
    cloud.groups = {"sg-a": group(), "sg-open": group(rule("all", cidr=ANYWHERE))}
    put(cloud, a=[vms[0], vms[1], vms[2]], open=[vms[3]])
    cloud.enforce()
    closed, neighbour, remote, opened = vms[:4]
    groupless = vms[4]
    outside, nc1 = flat["outside"], flat["nc-1"]
    blocked = [
        flow
        for target in (closed, groupless)
        for source in (neighbour.host, remote.host, opened.host, outside, flat["clc"], flat["router"], flat["nc-2"])
        for flow in (
            Flow.tcp(source, target.host, target.ip, 22),
            Flow.udp(source, target.host, target.ip, 53),
            Flow.icmp(source, target.host, target.ip),
        )
    ]
    passes = [
        Flow.tcp(closed.host, opened.host, opened.ip, 22),
        Flow.udp(groupless.host, opened.host, opened.ip, 53),
        Flow.tcp(closed.host, outside, OUTSIDE, 80),
        Flow.icmp(closed.host, flat["router"], GATEWAY),
        Flow.udp(closed.host, flat["clc"], CLC, 53),
        Flow.tcp(nc1, closed.host, closed.ip, 22),  # host_to_vm: allow
    ]
    assert not expect(passes, blocked)


def test_cidr_rules(cloud: Cloud, flat: Lab, vms: list[Vm]) -> None:
    target, neighbour, remote = vms[0], vms[1], vms[2]
    cloud.groups = {
        "sg-a": group(
            rule("tcp", 22, cidr=f"{remote.ip}/32"),
            rule("tcp", (20, 25), cidr="203.0.113.0/24"),
            rule("tcp", 24, cidr="203.0.113.10/32"),  # inside another rule
            rule("udp", 53, cidr="10.111.0.0/16"),
        )
    }
    put(cloud, a=[target])
    cloud.enforce()
    outside, clc = flat["outside"], flat["clc"]
    passes = [
        Flow.tcp(remote.host, target.host, target.ip, 22),
        Flow.tcp(outside, target.host, target.ip, 20),
        Flow.tcp(outside, target.host, target.ip, 24),
        Flow.tcp(outside, target.host, target.ip, 25),
        Flow.udp(neighbour.host, target.host, target.ip, 53),
        Flow.udp(clc, target.host, target.ip, 53),
    ]
    blocked = [
        Flow.tcp(neighbour.host, target.host, target.ip, 22),
        Flow.tcp(remote.host, target.host, target.ip, 23),
        Flow.tcp(outside, target.host, target.ip, 19),
        Flow.tcp(outside, target.host, target.ip, 26),
        Flow.udp(outside, target.host, target.ip, 53),
        Flow.udp(outside, target.host, target.ip, 22),
        Flow.icmp(outside, target.host, target.ip),
    ]
    assert not expect(passes, blocked)


def test_group_rules_follow_members_on_any_node(cloud: Cloud, flat: Lab, vms: list[Vm]) -> None:
    target, neighbour, remote, stranger, later = vms[:5]
    cloud.groups = {
        "sg-a": group(rule("tcp", (80, 81), group="sg-b"), rule("icmp", group="sg-b"), rule(SCTP, group="sg-b")),
        "sg-b": group(),
        "sg-c": group(rule("all", group="sg-a")),
    }
    put(cloud, a=[target], b=[neighbour, remote], c=[stranger])
    cloud.enforce()

    def reaching(*sources: Vm) -> list[Flow]:
        return [
            flow
            for source in sources
            for flow in (
                Flow.tcp(source.host, target.host, target.ip, 80),
                Flow.tcp(source.host, target.host, target.ip, 81),
                Flow.icmp(source.host, target.host, target.ip),
                Flow.raw(source.host, target.host, target.ip, SCTP, 7),
            )
        ]

    never = [
        Flow.tcp(neighbour.host, target.host, target.ip, 79),
        Flow.udp(neighbour.host, target.host, target.ip, 80),
        Flow.raw(neighbour.host, target.host, target.ip, 47),
        Flow.tcp(flat["outside"], target.host, target.ip, 80),
        Flow.tcp(neighbour.host, stranger.host, stranger.ip, 80),
    ]
    all_of_a = [
        Flow.udp(target.host, stranger.host, stranger.ip, 9),
        Flow.raw(target.host, stranger.host, stranger.ip, 99),
    ]
    assert not expect([*reaching(neighbour, remote), *all_of_a], [*reaching(stranger, later), *never])
    put(cloud, a=[target], b=[neighbour, later], c=[stranger])
    cloud.enforce()
    assert not expect([*reaching(neighbour, later), *all_of_a], [*reaching(stranger, remote), *never])
    cloud.extra_members = {"sg-b": [str(OUTSIDE)]}  # as an elastic address would be
    cloud.enforce()
    assert not expect([Flow.tcp(flat["outside"], target.host, target.ip, 80)], never[:3])


def test_the_same_group_reaches_itself_if_the_network_says_so(cloud: Cloud, flat: Lab, vms: list[Vm]) -> None:
    one, neighbour, remote, stranger = vms[:4]
    cloud.groups = {"sg-a": group(), "sg-b": group(rule("tcp", 22, group="sg-b"))}
    put(cloud, a=[one, neighbour, remote], b=[stranger, vms[4]])

    def within(*pairs: tuple[Vm, Vm]) -> list[Flow]:
        return [
            flow
            for source, target in pairs
            for flow in (
                Flow.tcp(source.host, target.host, target.ip, 99),
                Flow.icmp(source.host, target.host, target.ip),
            )
        ]

    inner = [(one, neighbour), (neighbour, one), (remote, one), (one, remote)]
    ruled = [Flow.tcp(vms[4].host, stranger.host, stranger.ip, 22), Flow.tcp(stranger.host, vms[4].host, vms[4].ip, 22)]
    crossing = [
        *within((one, stranger), (stranger, one), (vms[5], one)),
        Flow.tcp(one.host, stranger.host, stranger.ip, 22),
    ]
    cloud.enforce()
    assert not expect(ruled, [*within(*inner), *crossing, *within((vms[4], stranger))])
    cloud.network["same_group_traffic"] = "allow"
    cloud.enforce()
    assert not expect([*ruled, *within(*inner), *within((vms[4], stranger))], crossing)
    cloud.network["same_group_traffic"] = "rules"
    cloud.enforce()
    assert not expect(ruled, [*within(*inner), *crossing])


@pytest.mark.parametrize("source", [1, 2], ids=["same node", "another node"])
@pytest.mark.parametrize("by_group", [False, True], ids=["cidr", "group"])
def test_edges_of_ports_types_and_protocols(
    cloud: Cloud, flat: Lab, vms: list[Vm], source: int, by_group: bool
) -> None:
    target, sender = vms[0], vms[source]
    peer = {"group": "sg-peer"} if by_group else {"cidr": f"{sender.ip}/32"}
    cloud.groups = {
        "sg-peer": group(),
        "sg-a": group(
            rule("udp", (0, 80), **peer),
            rule("tcp", 0, **peer),
            rule("tcp", 65535, **peer),
            rule("icmp", icmp_type=8, icmp_code=0, **peer),
            rule("icmp", icmp_type=13, **peer),
            rule("icmp", icmp_type=3, icmp_code=4, **peer),
            rule(SCTP, **peer),
        ),
    }
    put(cloud, a=[target], peer=[sender])
    cloud.enforce()

    def icmp(kind: int, code: int) -> Flow:
        return Flow.icmp(sender.host, target.host, target.ip, kind, code)

    passes = [
        Flow.udp(sender.host, target.host, target.ip, 1),
        Flow.udp(sender.host, target.host, target.ip, 80),
        Flow.tcp(sender.host, target.host, target.ip, 65535),
        icmp(8, 0),
        icmp(13, 0),
        icmp(13, 7),
        icmp(3, 4),
        Flow.raw(sender.host, target.host, target.ip, SCTP, 1),
    ]
    blocked = [
        Flow.udp(sender.host, target.host, target.ip, 81),
        Flow.udp(sender.host, target.host, target.ip, 65535),
        Flow.tcp(sender.host, target.host, target.ip, 1),
        Flow.tcp(sender.host, target.host, target.ip, 65534),
        icmp(8, 1),
        icmp(3, 3),
        icmp(5, 0),
        icmp(17, 0),
        Flow.raw(sender.host, target.host, target.ip, 47),
        Flow.raw(sender.host, target.host, target.ip, 99),
    ]
    assert not expect(passes, blocked)
    # no stack sends to port 0, so by hand
    with capture(target.host, "eth0", lambda frame: frame.protocol in (frames.TCP, frames.UDP), incoming=True) as at:
        for protocol, port in ((frames.UDP, 0), (frames.TCP, 0), (frames.TCP, 1), (frames.UDP, 81), (frames.UDP, 80)):
            make = frames.udp if protocol == frames.UDP else frames.tcp
            body = make(sender.ip, target.ip, 6000, port)
            packet = frames.ipv4(sender.ip, target.ip, protocol, body)
            send_frame(sender.host, "eth0", ethernet(target.mac, sender.mac, IPV4, packet))
        assert at.wait_for(lambda frame: (frame.protocol, frame.dport) == (frames.UDP, 80))
        assert [(frame.protocol, frame.dport) for frame in at.frames] == [
            (frames.UDP, 0),
            (frames.TCP, 0),
            (frames.UDP, 80),
        ]


def test_any_icmp_and_everything(cloud: Cloud, flat: Lab, vms: list[Vm]) -> None:
    pinged, opened, sender = vms[0], vms[1], vms[2]
    cloud.groups = {"sg-a": group(rule("icmp", cidr=ANYWHERE)), "sg-b": group(rule("all", cidr=ANYWHERE))}
    put(cloud, a=[pinged], b=[opened])
    cloud.enforce()
    messages = [(8, 0), (8, 9), (13, 0), (3, 1), (5, 3), (40, 200)]
    passes = [Flow.icmp(sender.host, vm.host, vm.ip, *message) for vm in (pinged, opened) for message in messages]
    passes += [
        Flow.tcp(sender.host, opened.host, opened.ip, 1),
        Flow.udp(sender.host, opened.host, opened.ip, 65535),
        Flow.raw(sender.host, opened.host, opened.ip, 99),
    ]
    blocked = [
        Flow.tcp(sender.host, pinged.host, pinged.ip, 1),
        Flow.udp(sender.host, pinged.host, pinged.ip, 65535),
        Flow.raw(sender.host, pinged.host, pinged.ip, 99),
    ]
    assert not expect(passes, blocked)


@pytest.mark.parametrize("source", [1, 2], ids=["same node", "another node"])
def test_fragments_are_judged_as_the_message_that_they_are(cloud: Cloud, flat: Lab, vms: list[Vm], source: int) -> None:
    target, sender = vms[0], vms[source]
    cloud.groups = {"sg-a": group(rule("udp", 53, cidr=ANYWHERE))}
    put(cloud, a=[target])
    cloud.enforce()
    with ExitStack() as open_:
        sockets = {
            port: open_.enter_context(target.host.socket(socket.AF_INET, socket.SOCK_DGRAM)) for port in (53, 54)
        }
        client = open_.enter_context(sender.host.socket(socket.AF_INET, socket.SOCK_DGRAM))
        for port, receiver in sockets.items():
            receiver.bind(("0.0.0.0", port))
            receiver.settimeout(5 if port == 53 else 0.3)
        client.sendto(b"forbidden" * 500, (str(target.ip), 54))
        client.sendto(b"allowed" * 500, (str(target.ip), 53))
        assert sockets[53].recv(9000) == b"allowed" * 500
        with pytest.raises(TimeoutError):
            sockets[54].recv(9000)


def test_egress_rules_limit_what_a_vm_begins_and_not_what_it_answers(cloud: Cloud, flat: Lab, vms: list[Vm]) -> None:
    limited, neighbour, remote, free = vms[:4]
    cloud.groups = {
        "sg-limited": group(
            rule("all", cidr=ANYWHERE), egress=[rule("tcp", 80, group="sg-open"), rule("icmp", cidr="203.0.113.0/24")]
        ),
        "sg-open": group(rule("all", cidr=ANYWHERE)),
    }
    put(cloud, limited=[limited], open=[neighbour, remote, free])
    cloud.enforce()
    outside = flat["outside"]
    passes = [
        Flow.tcp(limited.host, neighbour.host, neighbour.ip, 80),
        Flow.tcp(limited.host, remote.host, remote.ip, 80),
        Flow.icmp(limited.host, outside, OUTSIDE),
        Flow.tcp(neighbour.host, limited.host, limited.ip, 22),
        Flow.udp(outside, limited.host, limited.ip, 53),
        Flow.tcp(free.host, neighbour.host, neighbour.ip, 443),
    ]
    blocked = [
        Flow.tcp(limited.host, neighbour.host, neighbour.ip, 81),
        Flow.udp(limited.host, remote.host, remote.ip, 80),
        Flow.tcp(limited.host, outside, OUTSIDE, 80),
        Flow.icmp(limited.host, neighbour.host, neighbour.ip),
        Flow.icmp(limited.host, flat["router"], GATEWAY),
    ]
    assert not expect(passes, blocked)
    # a second group without egress rules lifts the limit
    put(cloud, limited=[limited], open=[limited, neighbour, remote, free])
    cloud.enforce()
    assert not expect([*passes, *blocked], [])


def test_vms_and_their_hosts(cloud: Cloud, flat: Lab, vms: list[Vm]) -> None:
    vm, remote, nc1 = vms[0], vms[2], flat["nc-1"]
    to_hosts = [
        Flow.tcp(vm.host, nc1, "10.111.0.101", 22),
        Flow.udp(vm.host, nc1, "10.111.0.101", 53),
        Flow.tcp(remote.host, nc1, "10.111.0.101", 22),
    ]
    from_host = [Flow.tcp(nc1, vm.host, vm.ip, 22), Flow.icmp(nc1, vm.host, vm.ip)]
    others = [Flow.tcp(flat["clc"], nc1, "10.111.0.101", 22), Flow.tcp(nc1, flat["clc"], CLC, 22)]
    cloud.enforce()
    assert not expect([*from_host, *others], to_hosts)
    cloud.network |= {"vm_to_host": "allow", "host_to_vm": "deny"}
    cloud.enforce()
    assert not expect([*to_hosts, *others], from_host)


def test_the_host_cannot_be_played(cloud: Cloud, flat: Lab, vms: list[Vm]) -> None:
    """host_to_vm is for what the host itself sends, not for whoever writes its address."""
    vm, clc = vms[0], flat["clc"]
    cloud.enforce()
    mac = clc.mac("eth0")
    forged = frames.ipv4("10.111.0.101", vm.ip, frames.UDP, frames.udp("10.111.0.101", vm.ip, 1, 2, b"forged"))
    question = frames.arp(ARP_REPLY, mac, CLC, vm.mac, vm.ip) + bytes(18) + b"and last"
    with capture(vm.host, "eth0", incoming=True) as at:
        send_frame(clc, "eth0", ethernet(vm.mac, mac, IPV4, forged))
        send_frame(clc, "eth0", ethernet(vm.mac, mac, ARP, question))
        assert at.wait_for(lambda frame: b"and last" in frame.raw)
        assert not [frame for frame in at.frames if b"forged" in frame.raw]
