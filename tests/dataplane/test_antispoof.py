"""Rows 1, 2, 4, 5 and 6 of the outcomes: a port sends as its instance, gets what is its instance's, and is closed otherwise.

Every security group is open here, so that nothing but the bridge table can be what stops a frame. Frames take one path and
in order: when the honest frame behind them has arrived, a forged one would have.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lab import frames
from lab.build import Lab, Vm
from lab.flows import Flow
from lab.frames import ARP, ARP_REPLY, ARP_REQUEST, BROADCAST, IPV4, NOWHERE, QINQ, RARP, UDP, arp, ethernet, ipv4, vlan
from lab.host import Host
from lab.probes import expect, ping
from lab.topology import GATEWAY, OUTSIDE
from lab.wire import Capture, capture, send_frame
from nodeagent.kernel.netlink import Netlink
from tests.dataplane.cloud import Cloud
from tests.unit.nodeagent.wires import group, rule

OPEN = "sg-open"
NODE = "10.111.0.101"
LAST = b"honest and last"


@pytest.fixture
def cloud(flat: Lab, vms: list[Vm]) -> Iterator[Cloud]:
    with Cloud(flat, vms) as cloud:
        cloud.groups = {OPEN: group(rule("all", cidr="0.0.0.0/0"))}
        cloud.groups_of = {vm.interface: [OPEN] for vm in vms}
        cloud.enforce()
        yield cloud


def datagram(src: str, dst: str, sport: int = 5000, dport: int = 5000, payload: bytes = b"") -> bytes:
    return ipv4(src, dst, UDP, frames.udp(src, dst, sport, dport, payload))


def forged(vm: Vm, victim: Vm, third: Vm) -> dict[str, bytes]:
    """What `vm` must not send, each ending in its own name."""
    own, other = str(vm.ip), str(third.ip)
    to, me, they = victim.mac, vm.mac, third.mac

    def ip(src_mac: str, src: str, name: str, dst_mac: str = to, dst: str = str(victim.ip)) -> bytes:
        return ethernet(dst_mac, src_mac, IPV4, datagram(src, dst, payload=name.encode()))

    def claim(
        src_mac: str, operation: int, sender_mac: str, sender: str, name: str, target: str = str(victim.ip)
    ) -> bytes:
        body = arp(operation, sender_mac, sender, NOWHERE, target) + bytes(18) + name.encode()
        return ethernet(BROADCAST, src_mac, ARP, body)

    found = {
        "another source address": ip(me, other, "another source address"),
        "no source address": ip(me, "0.0.0.0", "no source address"),
        "another source MAC": ip(they, own, "another source MAC"),
        "another's MAC and address": ip(they, other, "another's MAC and address"),
        "an address outside": ip(me, str(OUTSIDE), "an address outside"),
        "the gateway's address": ip(me, str(GATEWAY), "the gateway's address"),
        "ARP with another address": claim(me, ARP_REQUEST, me, other, "ARP with another address"),
        "ARP with another MAC": claim(me, ARP_REPLY, they, own, "ARP with another MAC"),
        "ARP from another MAC": claim(they, ARP_REQUEST, me, own, "ARP from another MAC"),
        "ARP reply as the gateway": claim(me, ARP_REPLY, me, str(GATEWAY), "ARP reply as the gateway"),
        "ARP probe for another": claim(me, ARP_REQUEST, me, "0.0.0.0", "ARP probe for another", other),
        "RARP for another": ethernet(
            BROADCAST, me, RARP, arp(3, me, "0.0.0.0", they, "0.0.0.0") + bytes(18) + b"RARP for another"
        ),
        "DHCP offer": ethernet(
            BROADCAST,
            me,
            IPV4,
            datagram(own, "255.255.255.255", 67, 68, frames.dhcp(2, to, from_server=True) + b"DHCP offer"),
        ),
        "DHCP ack": ethernet(
            to, me, IPV4, datagram(own, str(victim.ip), 67, 68, frames.dhcp(5, to, from_server=True) + b"DHCP ack")
        ),
        "DHCP request to others": ethernet(
            BROADCAST,
            me,
            IPV4,
            datagram(own, "255.255.255.255", 68, 67, frames.dhcp(1, me) + b"DHCP request to others"),
        ),
        "router advertisement": frames.router_advertisement(me) + b"router advertisement",
        "LLDP": ethernet("01:80:c2:00:00:0e", me, frames.LLDP, b"LLDP" * 8),
        "another ethertype": ethernet(to, me, 0x88B5, b"another ethertype" * 3),
    }
    found["a VLAN tag"] = vlan(ip(me, own, "a VLAN tag"), 7)
    found["two VLAN tags"] = vlan(vlan(ip(me, own, "two VLAN tags"), 7), 8, QINQ)
    return found


POOL = bytes([10, 111, 101])
"""What the addresses of all VMs here begin with; every forged packet goes to or claims to come from one."""


def tracked(node: Host) -> list[bytes]:
    """The flows that connection tracking knows, as ctnetlink tells them."""
    with node.entered():
        netlink = Netlink(12)  # NETLINK_NETFILTER
        flows = list(netlink.ask(1 << 8 | 1, 0x300, bytes([socket.AF_INET, 0, 0, 0])))  # IPCTNL_MSG_CT_GET, a dump
        netlink.close()
    return flows


def seen(captures: dict[str, Capture], frames_by_name: dict[str, bytes]) -> list[str]:
    return [
        f"{name} at {where}"
        for where, at in captures.items()
        for name in frames_by_name
        for frame in at.frames
        if name.encode() in frame.raw
    ]


@pytest.mark.parametrize("receiver", [1, 2], ids=["same node", "another node"])
def test_a_vm_sends_as_itself_only(cloud: Cloud, flat: Lab, vms: list[Vm], receiver: int) -> None:
    sender, neighbour, victim, third = vms[0], vms[1], vms[receiver], vms[4]
    node = flat["nc-1"]
    with ExitStack() as open_:
        captures = {
            "the victim": open_.enter_context(capture(victim.host, "eth0", incoming=True)),
            "the neighbour": open_.enter_context(capture(neighbour.host, "eth0", incoming=True)),
            "the router": open_.enter_context(capture(flat["router"], "lan0", incoming=True)),
            "the host": open_.enter_context(capture(node, "br0", incoming=True)),
        }
        attempts = forged(sender, victim, third)
        # its own traffic, so it may make a flow; it goes no further than this host
        request = attempts.pop("DHCP request to others")
        for frame in attempts.values():
            send_frame(sender.host, "eth0", frame)
        flows = tracked(node)
        send_frame(sender.host, "eth0", request)
        send_frame(
            sender.host,
            "eth0",
            ethernet(victim.mac, sender.mac, IPV4, datagram(str(sender.ip), str(victim.ip), payload=LAST)),
        )
        for target in (GATEWAY, NODE):  # the one is across the bridge, the other is the host
            body = arp(ARP_REQUEST, sender.mac, sender.ip, NOWHERE, target) + bytes(18) + LAST
            send_frame(sender.host, "eth0", ethernet(BROADCAST, sender.mac, ARP, body))
        assert captures["the victim"].wait_for(lambda frame: LAST in frame.raw)
        assert captures["the router"].wait_for(lambda frame: LAST in frame.raw)
        assert captures["the host"].wait_for(lambda frame: LAST in frame.raw)
        assert not seen(captures, attempts)
        assert not [flow for flow in flows if POOL in flow]
        assert any(sender.ip.packed in flow and victim.ip.packed in flow for flow in tracked(node)), "the honest one's"
        del captures["the host"]  # where a DHCP server of ours will answer
        assert not seen(captures, {"DHCP request to others": request})


def test_probes_and_rarp_for_itself_pass(cloud: Cloud, flat: Lab, vms: list[Vm]) -> None:
    sender = vms[0]
    with capture(flat["router"], "lan0", incoming=True) as router:
        probe = arp(ARP_REQUEST, sender.mac, "0.0.0.0", NOWHERE, sender.ip) + bytes(18) + b"probe"
        send_frame(sender.host, "eth0", ethernet(BROADCAST, sender.mac, ARP, probe))
        announce = arp(3, sender.mac, "0.0.0.0", sender.mac, "0.0.0.0") + bytes(18) + b"rarp"
        send_frame(sender.host, "eth0", ethernet(BROADCAST, sender.mac, RARP, announce))
        assert router.wait_for(lambda frame: b"probe" in frame.raw)
        assert router.wait_for(lambda frame: b"rarp" in frame.raw)


def test_a_vm_gets_only_what_is_for_it(cloud: Cloud, flat: Lab, vms: list[Vm]) -> None:
    victim, neighbour = vms[0], vms[1]
    router = flat["router"]
    router_mac = router.mac("lan0")

    def ip(dst_mac: str, dst: str, name: str) -> bytes:
        return ethernet(dst_mac, router_mac, IPV4, datagram(str(GATEWAY), dst, payload=name.encode()))

    def ask(target: str, name: str) -> bytes:
        return ethernet(
            BROADCAST,
            router_mac,
            ARP,
            arp(ARP_REQUEST, router_mac, GATEWAY, NOWHERE, target) + bytes(18) + name.encode(),
        )

    not_for_it = {
        "to another address": ip(victim.mac, str(neighbour.ip), "to another address"),
        "to an unknown address": ip(victim.mac, "10.111.101.200", "to an unknown address"),
        "to everyone": ip(BROADCAST, "255.255.255.255", "to everyone"),
        "to the subnet": ip(BROADCAST, "10.111.255.255", "to the subnet"),
        "to a multicast group": ip("01:00:5e:00:00:fb", "224.0.0.251", "to a multicast group"),
        "ARP for another": ask("10.111.101.200", "ARP for another"),
        "router advertisement": frames.router_advertisement(router_mac) + b"router advertisement",
        "tagged": vlan(ip(victim.mac, str(victim.ip), "tagged"), 7),
        "a foreign DHCP offer": ethernet(
            victim.mac,
            router_mac,
            IPV4,
            datagram(
                str(GATEWAY),
                str(victim.ip),
                67,
                68,
                frames.dhcp(2, victim.mac, from_server=True) + b"a foreign DHCP offer",
            ),
        ),
    }
    with capture(victim.host, "eth0", incoming=True) as at:
        for frame in not_for_it.values():
            send_frame(router, "lan0", frame)
        send_frame(router, "lan0", ask(str(victim.ip), "a question for it"))
        send_frame(router, "lan0", ask(str(GATEWAY), "the gateway announces itself"))
        send_frame(router, "lan0", ip(victim.mac, str(victim.ip), LAST.decode()))
        assert at.wait_for(lambda frame: LAST in frame.raw)
        assert at.wait_for(lambda frame: b"a question for it" in frame.raw)
        assert at.wait_for(lambda frame: b"the gateway announces itself" in frame.raw)
        assert not seen({"the VM": at}, not_for_it)


def test_nobody_on_the_network_speaks_as_a_local_vm(cloud: Cloud, flat: Lab, vms: list[Vm]) -> None:
    victim, neighbour = vms[0], vms[1]
    router = flat["router"]
    mac = router.mac("lan0")
    claims = {
        "as the neighbour": ethernet(
            victim.mac, mac, IPV4, datagram(str(neighbour.ip), str(victim.ip), payload=b"as the neighbour")
        ),
        "ARP as the neighbour": ethernet(
            BROADCAST,
            mac,
            ARP,
            arp(ARP_REQUEST, mac, neighbour.ip, NOWHERE, victim.ip) + bytes(18) + b"ARP as the neighbour",
        ),
    }
    with capture(victim.host, "eth0", incoming=True) as at:
        for frame in claims.values():
            send_frame(router, "lan0", frame)
        send_frame(
            router, "lan0", ethernet(victim.mac, mac, IPV4, datagram(str(GATEWAY), str(victim.ip), payload=LAST))
        )
        assert at.wait_for(lambda frame: LAST in frame.raw)
        assert not seen({"the VM": at}, claims)


def test_a_port_that_no_view_names_is_closed_both_ways(cloud: Cloud, flat: Lab, vms: list[Vm]) -> None:
    stray = flat.plug("nc-1", interface="vn_stray", mac="d0:0d:00:00:00:99", ip="10.111.101.150")
    router, known = flat["router"], vms[0]
    blocked = [
        Flow.icmp(stray.host, router, GATEWAY),
        Flow.icmp(stray.host, known.host, known.ip),
        Flow.icmp(router, stray.host, stray.ip),
        Flow.icmp(known.host, stray.host, stray.ip),
        Flow.icmp(flat["nc-1"], stray.host, stray.ip),
        Flow.tcp(stray.host, flat["nc-1"], "10.111.0.101", 22),
    ]
    controls = [Flow.icmp(known.host, router, GATEWAY), Flow.icmp(router, known.host, known.ip)]
    assert not expect(controls, blocked)
    cloud.vms.append(stray)
    cloud.groups_of[stray.interface] = [OPEN]
    cloud.enforce("nc-1")
    assert not expect([*controls, *blocked[:5]], [blocked[5]])
    cloud.vms.remove(stray)
    cloud.enforce("nc-1")
    assert not expect(controls, blocked)


def test_before_the_first_view_and_after_the_agents_death(flat: Lab, vms: list[Vm]) -> None:
    first, second, remote = vms[0], vms[1], vms[2]
    nc1, router = flat["nc-1"], flat["router"]
    host_lives = [Flow.icmp(nc1, router, GATEWAY), Flow.icmp(router, nc1, "10.111.0.101")]
    everything = [
        Flow.icmp(first.host, second.host, second.ip),
        Flow.icmp(remote.host, first.host, first.ip),
        Flow.icmp(first.host, router, GATEWAY),
        Flow.icmp(first.host, remote.host, remote.ip),
    ]
    with Cloud(flat, vms) as cloud:
        assert not expect([*host_lives, *everything], [])
        cloud.nodes["nc-1"].apply(None)
        assert not expect(host_lives, everything)
        cloud.groups = {OPEN: group(rule("all", cidr="0.0.0.0/0"))}
        cloud.groups_of = {vm.interface: [OPEN] for vm in vms}
        cloud.enforce("nc-1")
        assert not expect([*host_lives, *everything], [])
    # dead now: what was in force stays, and a new port stays closed
    stray = flat.plug("nc-1", interface="vn_later", mac="d0:0d:00:00:00:98", ip="10.111.101.151")
    closed = [Flow.icmp(stray.host, router, GATEWAY), Flow.icmp(router, stray.host, stray.ip)]
    assert not expect([*host_lives, *everything], closed)
    with Cloud(flat, vms) as reborn:
        outcome = reborn.nodes["nc-1"].apply(None)
        assert outcome.changes == 0, "an agent that knows nothing leaves the last good state"
        assert not expect([*host_lives, *everything], closed)


def test_a_ports_own_ipv6_stack_is_silent(cloud: Cloud, flat: Lab) -> None:
    node = flat["nc-1"]
    node.set_sysctl("net.ipv6.conf.default.disable_ipv6", 0)  # as on a host that uses IPv6 itself
    vm = flat.plug("nc-1", interface="vn_i-ipv6", mac="d0:0d:00:00:00:77", ip="10.111.101.177", ipv6=True)
    assert node.sysctl("net.ipv6.conf.vn_i-ipv6.disable_ipv6") == "0"
    cloud.vms.append(vm)
    cloud.groups_of[vm.interface] = [OPEN]
    cloud.enforce("nc-1")
    assert node.sysctl("net.ipv6.conf.vn_i-ipv6.disable_ipv6") == "1"
    with capture(flat["router"], "lan0", lambda frame: frame.ethertype == frames.IPV6) as router:
        vm.host.run("ip", "link", "set", "eth0", "down")
        vm.host.run("ip", "link", "set", "eth0", "up")
        vm.host.run("ip", "route", "add", "default", "via", str(GATEWAY), "dev", "eth0", "onlink")
        send_frame(vm.host, "eth0", frames.router_advertisement(vm.mac))
        assert ping(vm.host, GATEWAY, wait=5)
        assert not router.frames


def test_an_instance_with_an_impossible_interface_is_closed_and_the_rest_is_enforced(flat: Lab, vms: list[Vm]) -> None:
    odd = flat.plug("nc-1", interface="tap0", mac="d0:0d:00:00:00:66", ip="10.111.101.166")
    with Cloud(flat, [*vms, odd]) as cloud:
        cloud.groups = {OPEN: group(rule("all", cidr="0.0.0.0/0"))}
        cloud.groups_of = {vm.interface: [OPEN] for vm in [*vms, odd]}
        outcome = cloud.nodes["nc-1"].apply(cloud.view("nc-1"))
        assert outcome.state == "degraded"
        assert [failure.object for failure in outcome.failures] == ["instances/tap0"]
        assert outcome.instances == {"tap0": "quarantined", "i-00000001": "ready", "i-00000002": "ready"}
        router, known = flat["router"], vms[0]
        passes = [Flow.icmp(known.host, router, GATEWAY), Flow.icmp(router, known.host, known.ip)]
        blocked = [
            Flow.icmp(odd.host, router, GATEWAY),
            Flow.icmp(router, odd.host, odd.ip),
            Flow.icmp(odd.host, known.host, known.ip),
            Flow.icmp(known.host, odd.host, odd.ip),
        ]
        assert not expect(passes, blocked)
