"""The lab on plain bridges, without any rule of ours: what it says passed has passed, and what it says is blocked is."""

from __future__ import annotations

import os
import socket
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from lab import frames
from lab.build import Lab, Vm
from lab.flows import Flow, between_all
from lab.host import NETNS, CommandFailed, Host
from lab.listeners import Listeners
from lab.probes import expect, ping, probe, tcp, udp
from lab.session import NotEstablished, Session, Side, deliveries
from lab.topology import CLC, GATEWAY, OUTSIDE
from lab.wire import capture, send_frame


def drop_forwarded(node: Host, match: str) -> None:
    """A foreign firewall on the node's bridge; replaces what an earlier call put there."""
    node.nft(f"""
        table bridge blocking {{}}
        delete table bridge blocking
        table bridge blocking {{
            chain forward {{
                type filter hook forward priority 0
                {match} drop
            }}
        }}
    """)


def hosts(vms: list[Vm]) -> list[tuple[Host, IPv4Address]]:
    return [(vm.host, vm.ip) for vm in vms]


# -- the network


def test_everything_reaches_everything_and_is_seen_under_its_own_address(flat: Lab, vms: list[Vm]) -> None:
    everyone = [*hosts(vms), (flat["outside"], OUTSIDE), (flat["clc"], CLC), (flat["router"], GATEWAY)]
    everyone += [(node, node.addresses("br0")[0].ip) for node in flat.nodes]
    address = dict(everyone)
    outcomes = probe(between_all(everyone, tcp_ports=(22, 65535), udp_ports=(53,)), awaited=[], wait=3)
    assert len(outcomes) == 12 * 11 * 4
    assert not [str(flow) for flow, outcome in outcomes.items() if not outcome.answered]
    # Seen from the internet side, the router itself has another address.
    seen = {flow: outcome.seen for flow, outcome in outcomes.items() if flow.src is not flat["router"]}
    assert not [str(flow) for flow, sender in seen.items() if sender != address[flow.src]]


def test_a_node_has_its_address_on_the_bridge_and_the_gateway_as_its_default_route(flat: Lab) -> None:
    for n, node in enumerate(flat.nodes):
        assert node.addresses("br0") == [IPv4Interface(f"10.111.0.{101 + n}/16")]
        assert {"dst": "default", "gateway": "10.111.0.1", "dev": "br0", "flags": []} in node.routes()
        assert node.links()["up0"]["master"] == "br0"
        assert node.sysctl("net.bridge.bridge-nf-call-iptables") == "1"


def test_plugging_a_vm_leaves_the_nodes_own_mac_alone(flat: Lab) -> None:
    node = flat["nc-1"]
    before = node.mac("br0")
    vm = flat.plug("nc-1", interface="vn_i-0000000a", mac="d0:0d:00:00:00:0a", ip="10.111.101.100")
    node.ip("link set vn_i-0000000a address 00:00:00:00:00:01")
    assert node.mac("br0") == before
    assert vm.host.mac("eth0") == "d0:0d:00:00:00:0a"
    with pytest.raises(ValueError, match="plugged already"):
        flat.plug("nc-2", interface="vn_i-0000000a", mac="d0:0d:00:00:00:0a", ip="10.111.101.100")


def test_a_vm_moves_with_its_sessions_and_goes(flat: Lab, vms: list[Vm]) -> None:
    vm, peer = vms[0], vms[3]
    with Session.tcp(peer.host, vm.host, vm.ip, 22) as session:
        flat.move(vm.interface, "nc-3")
        assert vm.node == "nc-3"
        assert vm.interface not in flat["nc-1"].links()
        assert flat["nc-3"].links()[vm.interface]["master"] == "br0"
        assert session.passes(Side.SERVER, wait=5)
        assert session.passes(Side.CLIENT, wait=5)
    flat.unplug(vm.interface)
    assert vm.interface not in flat["nc-3"].links()
    assert not (NETNS / vm.interface).exists()
    assert not ping(peer.host, vm.ip)
    assert ping(peer.host, vms[1].ip)


def test_ipv6_is_off_inside_unless_asked_for(flat: Lab) -> None:
    without = flat.plug("nc-1", interface="vn_i-1", mac="d0:0d:00:00:00:01", ip="10.111.101.94")
    with_ = flat.plug("nc-1", interface="vn_i-2", mac="d0:0d:00:00:00:02", ip="10.111.101.95", ipv6=True)
    assert "inet6" not in without.host.run("ip", "address", "show", "eth0")
    assert "inet6" in with_.host.run("ip", "address", "show", "eth0")


def test_a_deleted_lab_leaves_no_namespace(flat: Lab, vms: list[Vm]) -> None:
    names = {*flat.hosts, *flat.vms}
    assert names <= {path.name for path in NETNS.iterdir()}
    flat.delete()
    assert not names & {path.name for path in NETNS.iterdir()}


# -- a host


def test_the_thread_is_back_home_after_an_error_inside(flat: Lab) -> None:
    def where() -> int:
        return Path("/proc/thread-self/ns/net").stat().st_ino

    def fail_inside() -> None:
        with flat["nc-1"].entered():
            assert where() != home
            raise RuntimeError

    home = where()
    with pytest.raises(RuntimeError):
        fail_inside()
    assert where() == home


def test_a_failing_command_says_where_what_and_why(flat: Lab) -> None:
    with pytest.raises(CommandFailed, match=r"(?s)nc-1: ip -batch.*Cannot find device.*nosuch"):
        flat["nc-1"].ip("link set up0 up", "link set nosuch up")


def test_sysctls_are_the_hosts_own(flat: Lab) -> None:
    flat["nc-1"].set_sysctl("net.ipv4.ip_forward", 1)
    assert [node.sysctl("net.ipv4.ip_forward") for node in flat.nodes] == ["1", "0", "0"]
    flat["nc-1"].set_sysctl("net/ipv4/conf/br0/proxy_arp_pvlan", 1)
    assert flat["nc-1"].sysctl("net.ipv4.conf.br0.proxy_arp_pvlan") == "1"


def test_a_daemon_runs_in_the_host_with_its_sys_and_the_descriptors_given(flat: Lab) -> None:
    read, write = os.pipe()
    daemon = flat["nc-2"].popen(
        "sh", "-c", f"ls /sys/class/net >/proc/self/fd/{write}; exec sleep 60", pass_fds=(write,)
    )
    try:
        os.close(write)
        assert {"br0", "up0"} <= set(os.read(read, 4096).decode().split())
    finally:
        daemon.terminate()
        assert daemon.wait(5) == -15
        os.close(read)


# -- probes


def test_what_is_dropped_shows_as_blocked_and_nothing_else_does(flat: Lab, vms: list[Vm]) -> None:
    drop_forwarded(flat["nc-1"], "tcp dport 80")
    flows = between_all(hosts(vms), tcp_ports=(80, 81), udp_ports=(80,))
    on_nc_1 = {vms[0].host, vms[1].host}
    blocked = [flow for flow in flows if flow.protocol == frames.TCP and flow.port == 80 and flow.dst in on_nc_1]
    blocked += [f for f in flows if f.protocol == frames.TCP and f.port == 80 and f.src in on_nc_1 and f not in blocked]
    assert expect([flow for flow in flows if flow not in blocked], blocked) == []
    # And it would have told, both ways.
    assert expect(blocked[:1], flows[1:2], patience=0.3) == [
        f"{blocked[0]}: blocked, should pass",
        f"{flows[1]}: passed, should be blocked",
    ]


def test_a_receivers_silence_and_an_answer_that_is_lost_are_told_apart(flat: Lab, vms: list[Vm]) -> None:
    a, b = vms[0], vms[1]
    drop_forwarded(flat["nc-1"], "udp sport 53")
    outcome = udp(a.host, b.host, b.ip, 53)
    assert (outcome.passed, outcome.answered, outcome.seen) == (True, False, a.ip)
    drop_forwarded(flat["nc-1"], "icmp type echo-reply")
    assert not ping(a.host, b.ip)
    assert probe([flow := Flow.icmp(a.host, b.host, b.ip)])[flow].passed


def test_a_rejected_flow_brings_the_senders_error(flat: Lab, vms: list[Vm]) -> None:
    a, b = vms[0], vms[2]
    b.host.nft(
        "table ip r {\nchain i {\ntype filter hook input priority 0\ntcp dport 80 reject with tcp reset\n"
        "udp dport 80 reject\n}\n}"
    )
    for outcome in (tcp(a.host, b.host, b.ip, 80), udp(a.host, b.host, b.ip, 80)):
        assert not outcome.passed
        assert isinstance(outcome.error, ConnectionRefusedError)


def test_a_stranger_who_answers_is_not_the_receiver(flat: Lab, vms: list[Vm]) -> None:
    """Traffic for a VM that is caught by a service elsewhere must not count as passed."""
    a, b, thief = vms[0], vms[1], vms[2]
    a.host.nft(
        "table ip nat {\nchain o {\ntype nat hook output priority -100\n"
        f"ip daddr {b.ip} tcp dport 80 dnat to {thief.ip}\n}}\n}}"
    )
    with Listeners() as listeners:
        listeners.open_all(thief.host, tcp_ports=[80])
        assert not tcp(a.host, b.host, b.ip, 80).passed
    assert tcp(a.host, thief.host, b.ip, 80).passed


def test_translated_addresses_are_seen_as_translated(flat: Lab, vms: list[Vm]) -> None:
    flat["router"].nft(
        "table ip nat {\nchain p {\ntype nat hook postrouting priority 100\noifname wan0 masquerade\n}\n}"
    )
    inside, outside = vms[0], flat["outside"]
    for outcome in (tcp(inside.host, outside, OUTSIDE, 80), udp(inside.host, outside, OUTSIDE, 80)):
        assert outcome.answered
        assert outcome.seen == IPv4Address("203.0.113.1")


def test_listeners_stay_open_between_probes(flat: Lab, vms: list[Vm]) -> None:
    a, b = vms[0], vms[1]
    flow = Flow.tcp(a.host, b.host, b.ip, 22)
    with Listeners() as listeners:
        listeners.open_all(b.host, tcp_ports=[22], udp_ports=[53])
        for _ in range(2):
            assert probe([flow], listeners=listeners)[flow].answered
        assert probe([f := Flow.udp(a.host, b.host, b.ip, 53)], listeners=listeners)[f].answered
        with pytest.raises(OSError, match="in use"):
            probe([flow])
        with a.host.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(3)
            client.connect((str(b.ip), 22))
    assert probe([flow])[flow].answered


def test_any_icmp_type_and_any_protocol(flat: Lab, vms: list[Vm]) -> None:
    a, b = vms[0], vms[4]
    flows = [Flow.icmp(a.host, b.host, b.ip, kind, code) for kind, code in ((0, 0), (3, 1), (8, 0), (13, 0), (42, 7))]
    flows += [Flow.raw(a.host, b.host, b.ip, 132, 5000), Flow.raw(a.host, b.host, b.ip, 47)]
    outcomes = probe(flows, wait=3)
    assert {flow for flow in flows if outcomes[flow].seen == a.ip} == set(flows)
    drop_forwarded(flat["nc-3"], "ip protocol 132")
    assert expect([flows[-1]], [flows[-2]]) == []
    drop_forwarded(flat["nc-3"], "icmp type 42 icmp code 7")
    assert expect(flows[:4], [flows[4]]) == []


def test_a_port_can_be_used_from_a_given_source_port(flat: Lab, vms: list[Vm]) -> None:
    a, b = vms[0], vms[1]
    with capture(b.host, "eth0", lambda f: f.protocol == frames.UDP) as seen:
        assert probe([f := Flow.udp(a.host, b.host, b.ip, 53, source_port=4000)])[f].answered
        assert seen.wait_for(lambda f: (f.sport, f.dport) == (4000, 53))


# -- sessions


@pytest.mark.parametrize("kind", [Session.tcp, Session.udp])
def test_either_side_of_a_session_can_be_cut(flat: Lab, vms: list[Vm], kind: type[Session]) -> None:
    client, server, other = flat["outside"], vms[0], vms[1]
    with kind(client, server.host, server.ip, 7000) as session, kind(client, other.host, other.ip, 7000) as control:
        assert session.seen == OUTSIDE
        both = [(session, side) for side in Side]
        controls = [(control, side) for side in Side]
        assert all(deliveries(both, wait=3).values())
        drop_forwarded(flat["nc-1"], f"ip saddr {server.ip}")
        said = deliveries(both, awaited=controls)
        assert said == {both[0]: True, both[1]: False, **dict.fromkeys(controls, True)}
        drop_forwarded(flat["nc-1"], f"ip daddr {server.ip}")
        assert not deliveries([both[0]], awaited=controls)[both[0]]
        drop_forwarded(flat["nc-1"], "ip daddr 192.0.2.1")
        assert session.passes(Side.SERVER, wait=5)
        assert session.passes(Side.CLIENT, wait=5)


def test_a_session_through_a_closed_port_is_not_established(flat: Lab, vms: list[Vm]) -> None:
    drop_forwarded(flat["nc-1"], "tcp dport 7000")
    with pytest.raises(NotEstablished, match="vn_i-00000003 → vn_i-00000001"):
        Session.tcp(vms[2].host, vms[0].host, vms[0].ip, 7000, patience=0.3)


# -- raw frames


def test_a_spoofed_frame_arrives_as_it_was_sent(flat: Lab, vms: list[Vm]) -> None:
    a, b = vms[0], vms[1]
    body = frames.udp("192.0.2.7", b.ip, 1, 2, b"spoofed")
    packet = frames.ipv4("192.0.2.7", b.ip, frames.UDP, body)
    sent = {
        "spoof": frames.ethernet(b.mac, "02:00:00:00:00:99", frames.IPV4, packet),
        "syn": frames.ethernet(
            b.mac, a.mac, frames.IPV4, frames.ipv4(a.ip, b.ip, frames.TCP, frames.tcp(a.ip, b.ip, 9, 10))
        ),
        "arp": frames.ethernet(
            frames.BROADCAST, a.mac, frames.ARP, frames.arp(frames.ARP_REQUEST, a.mac, GATEWAY, frames.NOWHERE, b.ip)
        ),
        "rarp": frames.ethernet(
            frames.BROADCAST, a.mac, frames.RARP, frames.arp(frames.RARP_REQUEST, a.mac, "0.0.0.0", a.mac, "0.0.0.0")
        ),
        "tagged": frames.vlan(frames.ethernet(b.mac, a.mac, frames.IPV4, packet), 42),
        "double": frames.vlan(frames.vlan(frames.ethernet(b.mac, a.mac, frames.IPV4, packet), 7), 42, frames.QINQ),
        "ra": frames.router_advertisement(a.mac),
        "dhcp": frames.ethernet(
            frames.BROADCAST,
            a.mac,
            frames.IPV4,
            frames.ipv4(
                "0.0.0.0",
                "255.255.255.255",
                frames.UDP,
                frames.udp("0.0.0.0", "255.255.255.255", 68, 67, frames.dhcp(1, a.mac)),
            ),
        ),
    }
    with capture(b.host, "eth0", incoming=True) as seen:
        for frame in sent.values():
            send_frame(a.host, "eth0", frame)
        for name, frame in sent.items():
            assert seen.wait_for(lambda f, frame=frame: f.raw == frame), name
        tagged = seen.wait_for(lambda f: f.tag == 42 and f.ethertype == frames.IPV4)
        assert tagged
        assert tagged.src == IPv4Address("192.0.2.7")


def test_frames_built_by_hand_satisfy_a_real_stack(flat: Lab, vms: list[Vm]) -> None:
    """Wrong checksums would be dropped without an answer; so would a SCTP INIT in connection tracking."""
    a, b = vms[0], vms[1]
    with capture(a.host, "eth0", incoming=True) as answers:
        send_frame(
            a.host,
            "eth0",
            frames.ethernet(
                b.mac,
                a.mac,
                frames.IPV4,
                frames.ipv4(a.ip, b.ip, frames.ICMP, frames.icmp(frames.ECHO_REQUEST, 0, b"x", 5 << 16)),
            ),
        )
        send_frame(
            a.host,
            "eth0",
            frames.ethernet(
                b.mac, a.mac, frames.IPV4, frames.ipv4(a.ip, b.ip, frames.TCP, frames.tcp(a.ip, b.ip, 9, 10))
            ),
        )
        send_frame(
            a.host,
            "eth0",
            frames.ethernet(
                frames.BROADCAST, a.mac, frames.ARP, frames.arp(frames.ARP_REQUEST, a.mac, a.ip, frames.NOWHERE, b.ip)
            ),
        )
        assert answers.wait_for(lambda f: f.protocol == frames.ICMP and f.sport == frames.ECHO_REPLY)
        assert answers.wait_for(lambda f: f.protocol == frames.TCP and (f.sport, f.dport) == (10, 9))
        assert answers.wait_for(lambda f: f.ethertype == frames.ARP and f.protocol == frames.ARP_REPLY)
    with b.host.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("0.0.0.0", 5353))
        server.settimeout(3)
        packet = frames.ipv4("192.0.2.7", b.ip, frames.UDP, frames.udp("192.0.2.7", b.ip, 1, 5353, b"odd"))
        send_frame(a.host, "eth0", frames.ethernet(b.mac, a.mac, frames.IPV4, packet))
        assert server.recvfrom(100) == (b"odd", ("192.0.2.7", 1))


def test_connection_tracking_takes_the_init_for_a_new_flow(flat: Lab, vms: list[Vm]) -> None:
    a, b = vms[0], vms[1]
    b.host.nft(
        "table ip t {\ncounter invalid {}\nchain i {\ntype filter hook input priority 0\n"
        "ip protocol 132 ct state invalid counter name invalid drop\n}\n}"
    )
    assert probe([flow := Flow.raw(a.host, b.host, b.ip, 132, 5)], wait=3)[flow].passed
    assert "packets 0" in b.host.run("nft", "list", "counter", "ip", "t", "invalid")


def test_the_probed_silence_is_one_for_the_whole_batch(flat: Lab, vms: list[Vm]) -> None:
    """Thousands of sockets in one loop, most of them blocked."""
    drop_forwarded(flat["nc-1"], "tcp dport 2000-2999")
    flows = between_all(hosts(vms[:2]), tcp_ports=range(1990, 3000), udp_ports=[53])
    blocked = [flow for flow in flows if flow.protocol == frames.TCP and flow.port in range(2000, 3000)]
    assert len(blocked) == 2000
    assert expect([flow for flow in flows if flow not in set(blocked)], blocked) == []
