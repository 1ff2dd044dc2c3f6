"""One instance floods: it is held to its own limits, and its neighbours notice nothing (row 27)."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from lab import frames
from lab.build import Lab, Vm
from lab.flows import Flow
from lab.frames import Frame
from lab.host import Host
from lab.listeners import Listeners
from lab.probes import expect
from lab.wire import capture, send_frame
from nodeagent.dnsmasq.server import Dnsmasq
from nodeagent.state.limits import Limits
from tests.dataplane.clients import Client, forget_address
from tests.dataplane.cloud import FACTS, Cloud
from tests.unit.nodeagent.wires import group
from tests.unit.nodeagent.wires import rule as policy_rule

QUIET_S = 0.3
"""So long nothing more has got through, though much that has was sent later."""
LIMITS = Limits(flows=40, new_flows=0, arp=20, dhcp=5, broadcasts=20)


@contextmanager
def limited(lab: Lab, vms: list[Vm], limits: Limits) -> Iterator[Cloud]:
    """TCP and UDP are open to all. The limits are those of nc-1."""
    with Cloud(lab, vms) as cloud:
        cloud.groups = {"sg-a": group(policy_rule("tcp", cidr="0.0.0.0/0"), policy_rule("udp", cidr="0.0.0.0/0"))}
        cloud.groups_of = {vm.interface: ["sg-a"] for vm in vms}
        cloud.nodes["nc-1"].restart(replace(FACTS, limits=limits))
        cloud.enforce()
        yield cloud


def dropped(cloud: Cloud, node: str = "nc-1") -> dict[str, int]:
    with cloud.nodes[node].host.entered():
        return {what: packets for what, packets in cloud.nodes[node].enforcement.dropped().items() if packets}


def connections(stack: ExitStack, host: Host, address: str, port: int, number: int) -> list[socket.socket]:
    """Of so many attempts at once those that were answered; the others are given up."""
    waiting = [stack.enter_context(host.socket(socket.AF_INET, socket.SOCK_STREAM)) for _ in range(number)]
    connected: set[socket.socket] = set()
    for one in waiting:
        one.settimeout(0)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing it resets it
        one.connect_ex((address, port))
    while more := select.select((), [one for one in waiting if one not in connected], (), QUIET_S)[1]:
        connected.update(more)
    assert all(one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 for one in connected)
    for one in waiting:
        if one not in connected:
            one.close()
    return [one for one in waiting if one in connected]


def spray(host: Host, address: str, number: int, port: int = 20_000) -> None:
    """So many datagrams, each a flow of its own."""
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for n in range(number):
            sending.sendto(b"x", (address, port + n))


def is_sprayed(frame: Frame) -> bool:
    return frame.protocol == frames.UDP and frame.dport >= 20_000


def test_flows_of_one_instance_end_at_its_limit(flat: Lab, vms: list[Vm]) -> None:
    greedy, neighbour, server = vms[0], vms[1], vms[2]
    with limited(flat, vms, LIMITS) as cloud, ExitStack() as stack:
        listening = stack.enter_context(Listeners()).open(server.host, frames.TCP, 8000)
        connected = connections(stack, greedy.host, str(server.ip), 8000, 60)
        assert len(connected) == 40
        assert dropped(cloud)["flows"] == 20
        # established ones go on, and neighbours know nothing of it
        for one in connected:
            one.send(b"x")
            accepted = stack.enter_context(listening.accept()[0])
            accepted.settimeout(5)
            assert accepted.recv(1) == b"x"
        assert len(connections(stack, neighbour.host, str(server.ip), 8000, 10)) == 10
        assert not expect(
            [Flow.tcp(neighbour.host, server.host, server.ip, 22), Flow.tcp(server.host, greedy.host, greedy.ip, 22)],
            [Flow.tcp(greedy.host, server.host, server.ip, 22), Flow.udp(greedy.host, server.host, server.ip, 53)],
        )
        # sets that fill by themselves are no drift, and their content is no difference
        node, view = cloud.nodes["nc-1"], cloud.view("nc-1")
        assert not node.moved()
        assert not node.plan(view)
        assert node.resync(view).changes == 0
        # what has ended is counted no more, as soon as the kernel gets to it
        for one in connected[:20]:
            one.close()
        found: list[socket.socket] = []
        deadline = time.monotonic() + 10
        while len(found) < 10 and time.monotonic() < deadline:
            found += connections(stack, greedy.host, str(server.ip), 8000, 1)
        assert len(found) == 10


def test_flows_to_one_instance_end_at_its_limit(flat: Lab, vms: list[Vm]) -> None:
    wanted, client, neighbour = vms[0], vms[2], vms[1]
    with limited(flat, vms, LIMITS) as cloud, ExitStack() as stack:
        for vm in (wanted, neighbour):
            stack.enter_context(Listeners()).open(vm.host, frames.TCP, 8000)
        assert len(connections(stack, client.host, str(wanted.ip), 8000, 30)) == 30
        assert len(connections(stack, vms[3].host, str(wanted.ip), 8000, 30)) == 10, "from whomever they come"
        assert len(connections(stack, client.host, str(neighbour.ip), 8000, 8)) == 8
        assert dropped(cloud)["flows"] == 20
        assert not expect([Flow.tcp(wanted.host, neighbour.host, neighbour.ip, 22)], [])


def test_a_rate_in_front(flat: Lab, vms: list[Vm]) -> None:
    sender, receiver = vms[0], vms[2]
    with limited(flat, vms, replace(LIMITS, flows=0, new_flows=10)) as cloud:
        with capture(receiver.host, "eth0", is_sprayed, incoming=True) as seen:
            spray(sender.host, str(receiver.ip), 200)
            assert not expect([Flow.tcp(vms[1].host, receiver.host, receiver.ip, 22)], [])
            arrived = len(seen.frames)
        assert 20 <= arrived < 190, "two seconds' worth at once, and then the rate"
        assert dropped(cloud)["new_flows"] == 200 - arrived


def test_a_number_that_chance_watches_over(flat: Lab, vms: list[Vm]) -> None:
    """Never less than was set; about twice that at most. The odds against either bound here: one to millions."""
    greedy, neighbour, server = vms[0], vms[1], vms[2]
    with limited(flat, vms, replace(LIMITS, flows=1024)) as cloud:
        with capture(server.host, "eth0", is_sprayed, incoming=True) as seen:
            spray(greedy.host, str(server.ip), 5000)
            assert not expect([Flow.tcp(neighbour.host, server.host, server.ip, 22)], [])
            arrived = len(seen.frames)
        assert 1024 <= arrived <= 3600
        assert dropped(cloud)["flows"] == 5000 - arrived
        node, view = cloud.nodes["nc-1"], cloud.view("nc-1")
        assert not node.moved()
        assert node.resync(view).changes == 0


def test_a_rate_in_front_of_a_great_number(flat: Lab, vms: list[Vm]) -> None:
    sender, receiver = vms[0], vms[2]
    with limited(flat, vms, replace(LIMITS, flows=1024, new_flows=1)) as cloud:
        with capture(receiver.host, "eth0", is_sprayed, incoming=True) as seen:
            spray(sender.host, str(receiver.ip), 1500)
            assert not expect([Flow.tcp(vms[1].host, receiver.host, receiver.ip, 22)], [])
            assert 900 <= len(seen.frames) < 1200, "as many at once as may be tracked"
        assert dropped(cloud)["new_flows"] > 0


def test_no_limits_at_all(flat: Lab, vms: list[Vm]) -> None:
    sender, receiver = vms[0], vms[2]
    with limited(flat, vms, Limits(0, 0, 0, 0, 0)) as cloud:
        with capture(receiver.host, "eth0", is_sprayed, incoming=True) as seen:
            spray(sender.host, str(receiver.ip), 200)
            assert not expect([Flow.tcp(vms[1].host, receiver.host, receiver.ip, 22)], [])
            assert len(seen.frames) == 200
        assert not dropped(cloud)


def test_a_flood_of_arp(flat: Lab, vms: list[Vm]) -> None:
    flooding, neighbour, other = vms[0], vms[1], vms[2]
    ask = frames.arp(frames.ARP_REQUEST, flooding.mac, flooding.ip, frames.NOWHERE, other.ip)
    with limited(flat, vms, LIMITS) as cloud:
        with capture(other.host, "eth0", lambda frame: frame.ethertype == frames.ARP, incoming=True) as seen:
            for _ in range(500):
                send_frame(flooding.host, "eth0", frames.ethernet(frames.BROADCAST, flooding.mac, frames.ARP, ask))
            neighbour.host.ip("neigh flush all")
            assert not expect([Flow.tcp(neighbour.host, other.host, other.ip, 22)], [])
            arrived = sum(frame.src_mac == flooding.mac for frame in seen.frames)
        assert 40 <= arrived < 450
        assert dropped(cloud)["arp"] == 500 - arrived


def test_a_flood_of_broadcasts(flat: Lab, vms: list[Vm]) -> None:
    flooding, other = vms[0], vms[2]
    with limited(flat, vms, LIMITS) as cloud:
        for address, mac in (("255.255.255.255", frames.BROADCAST), ("224.0.0.251", "01:00:5e:00:00:fb")):
            body = frames.ipv4(flooding.ip, address, frames.UDP, frames.udp(flooding.ip, address, 5353, 5353, b"x"))
            for _ in range(200):
                send_frame(flooding.host, "eth0", frames.ethernet(mac, flooding.mac, frames.IPV4, body))
        assert dropped(cloud)["broadcasts"] > 50
        assert not expect(
            [Flow.tcp(flooding.host, other.host, other.ip, 22), Flow.tcp(flooding.host, vms[1].host, vms[1].ip, 22)], []
        )


def test_a_flood_of_dhcp_starves_nobody(flat: Lab, vms: list[Vm], tmp_path: Path) -> None:
    flooding, neighbour = vms[0], vms[1]
    ask = frames.dhcp(1, flooding.mac)
    body = frames.ipv4("0.0.0.0", "255.255.255.255", frames.UDP, frames.udp("0.0.0.0", "255.255.255.255", 68, 67, ask))
    with limited(flat, vms, LIMITS) as cloud:
        cloud.nodes["nc-1"].enforcement.dnsmasq = Dnsmasq(tmp_path / "dhcp", "br0")
        cloud.enforce("nc-1")
        for _ in range(500):
            send_frame(flooding.host, "eth0", frames.ethernet(frames.BROADCAST, flooding.mac, frames.IPV4, body))
        assert dropped(cloud)["dhcp"] > 50
        forget_address(neighbour.host)
        with Client.udhcpc(neighbour.host, tmp_path / "client") as client:
            client.event("bound")
