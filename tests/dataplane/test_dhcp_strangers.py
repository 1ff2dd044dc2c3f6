"""Strangers and impostors (rows 3 and 4): who is no instance of this node gets nothing, and nobody else answers one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab import frames
from lab.build import Lab
from lab.frames import Frame
from lab.host import Host
from lab.topology import FIRST_VM
from lab.wire import capture, send_frame
from nodeagent.desired.reserved import IDENTIFIER
from tests.dataplane.clients import Client
from tests.dataplane.cloud import Cloud

NEW = FIRST_VM + 40


@pytest.fixture
def cloud(dhcp_cloud: Cloud) -> Cloud:
    return dhcp_cloud


def is_dhcp(frame: Frame) -> bool:
    return frame.protocol == frames.UDP and {frame.sport, frame.dport} == {67, 68}


def is_answer(frame: Frame) -> bool:
    return is_dhcp(frame) and frame.sport == 67


@pytest.mark.parametrize("where", ["clc", "a port of no instance", "another MAC"])
def test_a_stranger_gets_no_answer(cloud: Cloud, flat: Lab, tmp_path: Path, where: str) -> None:
    if where == "clc":
        host = flat["clc"]
    elif where == "another MAC":
        host = cloud.vms[0].host
        host.ip("link set eth0 down", "link set eth0 address d0:0d:00:00:00:77", "link set eth0 up")
    else:
        host = flat.plug("nc-1", interface="vn_i-nobody", mac="d0:0d:00:00:00:77", ip=NEW).host
    with capture(host, "eth0", is_answer) as seen:
        tried = ["udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "2", "-T", "1", "-s", "/bin/true"]
        process_ = host.popen(*tried, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert process_.wait(15) != 0
        assert not seen.frames


def other_server(host: Host, directory: Path) -> subprocess.Popen[bytes]:
    """For whoever asks it, on a link of its own; it is heard by the time this returns."""
    started = host.popen(
        *("dnsmasq", "--keep-in-foreground", "--port=0", "--interface=eth0", "--bind-interfaces", "--pid-file="),
        *("--user=", "--group=", "--dhcp-authoritative", f"--dhcp-range={NEW},{NEW + 9}", "--no-ping"),
        *(f"--dhcp-leasefile={directory / 'other'}", "--log-facility=-"),
        stderr=subprocess.PIPE,
    )
    for line in iter(started.stderr.readline, b""):
        if b"started, version" in line:
            break
    assert started.poll() is None
    return started


def test_a_vm_that_answers_as_a_server_harms_nobody(cloud: Cloud, flat: Lab, tmp_path: Path) -> None:
    victim, rogue = cloud.vms[:2]
    rogue.host.ip(f"address add {rogue.ip}/16 dev eth0")
    answering = other_server(rogue.host, tmp_path)
    try:
        with capture(victim.host, "eth0", is_answer) as seen, capture(flat["nc-1"], "up0", is_dhcp) as uplink:
            with Client.udhcpc(victim.host, tmp_path / "client") as client:
                assert client.event("bound")["ip"] == str(victim.ip)
            assert seen.frames
            assert {frame.src_mac for frame in seen.frames} == {flat["nc-1"].mac("br0")}
            assert not uplink.frames
        offer = frames.dhcp(2, victim.mac, from_server=True, yours=NEW)
        datagram = frames.udp(rogue.ip, "255.255.255.255", 67, 68, offer)
        packet = frames.ipv4(rogue.ip, "255.255.255.255", frames.UDP, datagram)
        with capture(victim.host, "eth0", is_answer) as seen:
            send_frame(rogue.host, "eth0", frames.ethernet(frames.BROADCAST, rogue.mac, frames.IPV4, packet))
            with Client.udhcpc(victim.host, tmp_path / "client") as client:  # sent later, answered: the offer was lost
                client.event("bound")
            assert {frame.src_mac for frame in seen.frames} == {flat["nc-1"].mac("br0")}
    finally:
        answering.kill()
        answering.wait(10)


def test_another_server_of_the_network_and_ours_do_not_meet(cloud: Cloud, flat: Lab, tmp_path: Path) -> None:
    """On one flat network: its server hears no instance, no instance hears it, its clients hear nothing of ours."""
    vm, clc, outsider = cloud.vms[0], flat["clc"], flat["router"]
    answering = other_server(clc, tmp_path)
    try:
        with (
            capture(clc, "eth0", is_dhcp) as heard,
            capture(vm.host, "eth0", is_answer, incoming=True) as seen,
            Client.udhcpc(vm.host, tmp_path / "client") as client,
        ):
            assert client.event("bound")["ip"] == str(vm.ip)
            client.renew()
            client.event("renew")
            assert {frame.src_mac for frame in seen.frames} == {flat["nc-1"].mac("br0")}
            assert not heard.frames
            # its own client's, with the MAC of an instance even: it answers, and we do not
            body = frames.dhcp(1, vm.mac, xid=91)
            datagram = frames.udp("0.0.0.0", "255.255.255.255", 68, 67, body)
            packet = frames.ipv4("0.0.0.0", "255.255.255.255", frames.UDP, datagram)
            with capture(outsider, "lan0", is_answer) as answers:
                send_frame(outsider, "lan0", frames.ethernet(frames.BROADCAST, vm.mac, frames.IPV4, packet))
                assert answers.wait_for() is not None
                client.renew()
                client.event("renew")  # whatever ours would have said it has said by now
                assert {frame.src_mac for frame in answers.frames} == {clc.mac("eth0")}
            assert {frame.src_mac for frame in seen.frames} == {flat["nc-1"].mac("br0")}
    finally:
        answering.kill()
        answering.wait(10)


@pytest.mark.parametrize("renewing", [False, True], ids=["without address", "with its own"])
@pytest.mark.parametrize("kind", [3, 4, 7], ids=["request", "decline", "release"])
def test_a_vm_speaks_in_no_neighbours_name(cloud: Cloud, flat: Lab, tmp_path: Path, kind: int, renewing: bool) -> None:
    """The server goes by the MAC in the message. It would disable the neighbour's address (RFC 2131, 4.3.3), or give away."""
    victim, rogue = cloud.vms[:2]
    body = bytearray(frames.dhcp(kind, victim.mac, xid=92))
    body[12:16] = victim.ip.packed
    wanted = bytes([50, 4]) + victim.ip.packed + bytes([54, 4]) + IDENTIFIER.packed + b"\xff"
    body[243 : 243 + len(wanted)] = wanted
    sender, target = (rogue.ip, IDENTIFIER) if renewing else ("0.0.0.0", "255.255.255.255")
    mac = flat["nc-1"].mac("br0") if renewing else frames.BROADCAST
    packet = frames.ipv4(sender, target, frames.UDP, frames.udp(sender, target, 68, 67, bytes(body)))
    with capture(flat["nc-1"], "br0", lambda frame: is_dhcp(frame) and frame.dport == 67, incoming=True) as heard:
        send_frame(rogue.host, "eth0", frames.ethernet(mac, rogue.mac, frames.IPV4, packet))
        with Client.udhcpc(victim.host, tmp_path / "client") as client:  # sent later, and granted
            assert client.event("bound")["ip"] == str(victim.ip)
        assert {frame.src_mac for frame in heard.frames} == {victim.mac}


def test_the_hosts_own_lease_lives_on(cloud: Cloud, flat: Lab, tmp_path: Path) -> None:
    """A hypervisor whose own address is another server's."""
    answering = other_server(flat["clc"], tmp_path)
    try:
        with Client.udhcpc(flat["nc-1"], tmp_path / "client", "-i", "br0") as client:
            assert client.event("bound")["serverid"] == str(flat["clc"].addresses("eth0")[0].ip)
    finally:
        answering.kill()
        answering.wait(10)
