"""Row 3, the ruleset's part: requests reach this node and answers their instance, whatever the first hop and the rules are."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import frames
from lab.flows import Flow
from lab.frames import UDP, Frame, ethernet, ipv4
from lab.probes import expect
from lab.topology import GATEWAY, OUTSIDE
from lab.wire import capture, send_frame
from nodeagent.desired.reserved import IDENTIFIER
from nodeagent.dnsmasq.server import Dnsmasq
from tests.dataplane.clients import Client, forget_address
from tests.dataplane.place import EVERYWHERE, named, place
from tests.unit.nodeagent.wires import group

everywhere = pytest.mark.parametrize("kind", EVERYWHERE, ids=named)


def is_answer(frame: Frame) -> bool:
    return frame.protocol == UDP and (frame.sport, frame.dport) == (67, 68)


@everywhere
def test_leases_are_given_and_renewed_where_rules_allow_nothing(kind: tuple[str, str], tmp_path: Path) -> None:
    """No ingress, no egress, and a host that may not reach instances."""
    with place(kind) as at:
        at.cloud.groups = {"sg": group(egress=[])}
        at.cloud.network["host_to_vm"] = "deny"
        at.cloud.nodes["nc-1"].enforcement.dnsmasq = Dnsmasq(tmp_path / "nc-1", "br0")
        at.cloud.enforce()
        vm = at.a
        forget_address(vm.host)
        with Client.udhcpc(vm.host, tmp_path / "client") as client:
            bound = client.event("bound")
            assert bound["ip"] == str(vm.ip)
            assert bound["router"] == str(GATEWAY)
            client.renew()
            client.event("renew")
            assert not expect([], [Flow.icmp(at.node, vm.host, vm.ip), Flow.tcp(vm.host, at.outside, OUTSIDE, 80)])


@everywhere
def test_a_lease_of_another_server_is_renewed_here(kind: tuple[str, str], tmp_path: Path) -> None:
    """As after a migration of the whole cloud: the client asks the gateway's address, from which its lease came."""
    with place(kind) as at:
        at.cloud.nodes["nc-1"].enforcement.dnsmasq = Dnsmasq(tmp_path / "nc-1", "br0")
        at.cloud.enforce()
        vm = at.c
        body = bytearray(frames.dhcp(3, vm.mac, xid=78))
        body[12:16] = vm.ip.packed
        body[10:12] = b"\0\0"  # answered by unicast
        vm.host.run("ping", "-c", "1", "-W", "2", str(GATEWAY), check=False)
        neighbour = vm.host.run("ip", "neigh", "show", str(GATEWAY)).split()
        mac = neighbour[neighbour.index("lladdr") + 1]
        with capture(vm.host, "eth0", is_answer, incoming=True) as heard:
            packet = ipv4(vm.ip, GATEWAY, UDP, frames.udp(vm.ip, GATEWAY, 68, 67, bytes(body)))
            send_frame(vm.host, "eth0", ethernet(mac, vm.mac, frames.IPV4, packet))
            answer = heard.wait_for()
        assert answer is not None
        assert answer.src in (GATEWAY, IDENTIFIER)
        assert answer.dst == vm.ip
