"""Instances get their addresses by real DHCP clients, from the node they are on and from nobody else (row 3 and 4)."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from lab import frames
from lab.build import Lab
from lab.frames import Frame
from lab.topology import FIRST_VM, GATEWAY
from lab.wire import capture, send_frame
from nodeagent.desired.reserved import IDENTIFIER
from nodeagent.dnsmasq import process
from nodeagent.dnsmasq.server import Dnsmasq
from nodeagent.kernel.identifier import LINK
from tests.dataplane.clients import Client, forget_address
from tests.dataplane.cloud import Cloud

NEW = FIRST_VM + 40


@pytest.fixture
def cloud(dhcp_cloud: Cloud) -> Cloud:
    return dhcp_cloud


def server(cloud: Cloud, node: str = "nc-1") -> Dnsmasq:
    found = cloud.nodes[node].enforcement.dnsmasq
    assert found is not None
    return found


def is_dhcp(frame: Frame) -> bool:
    return frame.protocol == frames.UDP and {frame.sport, frame.dport} == {67, 68}


def is_answer(frame: Frame) -> bool:
    return is_dhcp(frame) and frame.sport == 67


# -- what a client is told


def test_udhcpc_is_told_everything(cloud: Cloud, tmp_path: Path) -> None:
    vm = cloud.vms[0]
    with Client.udhcpc(vm.host, tmp_path / "client") as client:
        assert client.event("bound") == {
            "ip": str(vm.ip),
            "subnet": "255.255.0.0",
            "broadcast": "10.111.255.255",
            "router": str(GATEWAY),
            "dns": "10.111.0.2",
            "domain": "cloud.internal",
            "hostname": "ip-10-111-101-94",
            "mtu": "1450",
            "lease": "86400",
            "serverid": str(IDENTIFIER),
            "staticroutes": " ".join(
                f"{to} {GATEWAY}" for to in (f"{IDENTIFIER}/32", "169.254.169.254/32", "0.0.0.0/0")
            ),
        }
    assert [str(address) for address in vm.host.addresses("eth0")] == [f"{vm.ip}/16"]


def test_dhclient_is_told_everything(cloud: Cloud, tmp_path: Path) -> None:
    vm = cloud.vms[1]
    with Client.dhclient(vm.host, tmp_path / "client") as client:
        lease = client.event("BOUND")
    told = {
        "ip_address": str(vm.ip),
        "subnet_mask": "255.255.0.0",
        "broadcast_address": "10.111.255.255",
        "routers": str(GATEWAY),
        "domain_name_servers": "10.111.0.2",
        "domain_name": "cloud.internal",
        "host_name": "ip-10-111-101-95",
        "interface_mtu": "1450",
        "dhcp_lease_time": "86400",
        "dhcp_server_identifier": str(IDENTIFIER),
        "rfc3442": "32 169 254 67 67 10 111 0 1 32 169 254 169 254 10 111 0 1 0 10 111 0 1",
    }
    assert {name: lease.get(name) for name in told} == told


def test_new_options_reach_clients_without_a_restart(cloud: Cloud, tmp_path: Path) -> None:
    vm, pid = cloud.vms[0], server(cloud).status.pid
    with Client.udhcpc(vm.host, tmp_path / "client") as client:
        assert client.event("bound")["dns"] == "10.111.0.2"
        cloud.network = {"mtu": None, "dns_servers": ["10.111.0.3", "10.111.0.4"]}
        cloud.enforce("nc-1")
        for _ in range(20):  # dnsmasq reads its options again on a signal, which may come after the next renewal
            client.renew()
            lease = client.event("renew")
            if lease["dns"] != "10.111.0.2":
                break
    assert lease["dns"] == "10.111.0.3 10.111.0.4"
    assert "mtu" not in lease
    assert server(cloud).status.pid == pid


# -- hosts come and go


def test_hosts_come_and_go_and_the_others_go_on_renewing(cloud: Cloud, flat: Lab, tmp_path: Path) -> None:
    steady, pid = cloud.vms[0], server(cloud).status.pid
    with Client.udhcpc(steady.host, tmp_path / "steady") as client:
        client.event("bound")
        for number in range(4):
            vm = flat.plug("nc-1", interface=f"vn_new{number}", mac=f"d0:0d:00:00:01:{number:02x}", ip=NEW + number)
            forget_address(vm.host)
            cloud.vms.append(vm)
            cloud.enforce("nc-1")
            with Client.udhcpc(vm.host, tmp_path / vm.interface) as newcomer:
                assert newcomer.event("bound")["ip"] == str(vm.ip)
            client.renew()
            client.event("renew")
            cloud.vms.remove(vm)
            cloud.enforce("nc-1")
            flat.unplug(vm.interface)
            client.renew()
            client.event("renew")
    assert (server(cloud).status.pid, server(cloud).status.starts) == (pid, 1)
    assert server(cloud).status.hosts == 2


def test_an_address_goes_to_another_mac_at_once(cloud: Cloud, flat: Lab, tmp_path: Path) -> None:
    old = cloud.vms[0]
    with Client.dhclient(old.host, tmp_path / "old") as client:
        client.event("BOUND")
    cloud.vms.remove(old)
    cloud.enforce("nc-1")
    flat.unplug(old.interface)
    new = flat.plug("nc-1", interface="vn_i-new", mac="d0:0d:00:00:00:99", ip=old.ip)
    forget_address(new.host)
    cloud.vms.append(new)
    cloud.enforce("nc-1")
    with Client.udhcpc(new.host, tmp_path / "new") as client:
        assert client.event("bound")["ip"] == str(old.ip)


def test_two_instances_swap_their_addresses_in_one_update(cloud: Cloud, tmp_path: Path) -> None:
    one, two = cloud.vms[:2]
    for vm in (one, two):
        with Client.udhcpc(vm.host, tmp_path / vm.interface) as client:
            client.event("bound")
    one.ip, two.ip = two.ip, one.ip
    cloud.enforce("nc-1")
    for vm in (one, two):
        forget_address(vm.host)
        with Client.udhcpc(vm.host, tmp_path / vm.interface) as client:
            assert client.event("bound")["ip"] == str(vm.ip)


# -- renewals


def test_a_renewal_by_unicast_stays_on_the_node(cloud: Cloud, tmp_path: Path) -> None:
    vm = cloud.vms[0]
    with Client.udhcpc(vm.host, tmp_path / "client") as client, capture(cloud.lab["nc-1"], "up0", is_dhcp) as uplink:
        client.event("bound")
        with capture(vm.host, "eth0", is_dhcp) as seen:
            client.renew()
            client.event("renew")
            assert next(frame.dst for frame in seen.frames) == IDENTIFIER
            answer = seen.wait_for(is_answer)
            assert answer is not None
            assert answer.src == IDENTIFIER, "a client with a connected socket hears nobody else"
        assert not uplink.frames


def test_a_renewal_by_broadcast_from_its_own_address(cloud: Cloud, tmp_path: Path) -> None:
    """RFC 2131 REBINDING: what a client does whose server did not answer."""
    vm = cloud.vms[0]
    with Client.udhcpc(vm.host, tmp_path / "client") as client:
        client.event("bound")
    body = bytearray(frames.dhcp(3, vm.mac, xid=77))
    body[12:16] = vm.ip.packed
    with capture(vm.host, "eth0", is_answer) as seen, capture(cloud.lab["nc-1"], "up0", is_dhcp) as uplink:
        packet = frames.ipv4(vm.ip, "255.255.255.255", frames.UDP, frames.udp(vm.ip, "255.255.255.255", 68, 67, body))
        send_frame(vm.host, "eth0", frames.ethernet(frames.BROADCAST, vm.mac, frames.IPV4, packet))
        answer = seen.wait_for()
        assert answer is not None
        assert answer.payload[8 + 236 + 4 :][:3] == bytes([53, 1, 5]), "an ACK"
        assert not uplink.frames


def test_a_client_that_starts_again_confirms_its_lease(cloud: Cloud, tmp_path: Path) -> None:
    """RFC 2131 INIT-REBOOT, also with a dnsmasq that has never heard of the lease."""
    vm = cloud.vms[0]
    with Client.dhclient(vm.host, tmp_path / "client") as client:
        client.event("BOUND")
        client.until_said("bound to")  # and so written to its disk
    server(cloud).close()
    cloud.nodes["nc-1"].resync(cloud.view("nc-1"))
    with Client.dhclient(vm.host, tmp_path / "client") as client:
        assert client.event("REBOOT")["ip_address"] == str(vm.ip)


def test_an_instance_that_moved_renews_where_it_is(cloud: Cloud, flat: Lab, tmp_path: Path) -> None:
    vm = cloud.vms[0]
    with Client.udhcpc(vm.host, tmp_path / "client") as client:
        client.event("bound")
        flat.move(vm.interface, "nc-2")
        cloud.enforce("nc-1", "nc-2")
        server(cloud, "nc-1").close()  # only the new node can have answered
        client.renew()
        lease = client.event("renew")
    assert (lease["ip"], lease["serverid"]) == (str(vm.ip), str(IDENTIFIER))


# -- when it fails


def test_without_dnsmasq_the_remedy_is_named(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    server(cloud).close()
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    outcome = cloud.nodes["nc-1"].resync(cloud.view("nc-1"))
    assert outcome.state == "degraded"
    assert "apt install dnsmasq-base" in outcome.failures[0].reason
    monkeypatch.undo()
    assert cloud.nodes["nc-1"].apply(cloud.view("nc-1")).state == "applied"


@pytest.mark.parametrize("harm", ["killed", "its link deleted"])
def test_what_others_break_is_noticed_and_mended(cloud: Cloud, tmp_path: Path, harm: str) -> None:
    node, view, pid = cloud.nodes["nc-1"], cloud.view("nc-1"), server(cloud).status.pid
    assert not node.moved()
    if harm == "killed":
        os.kill(pid, signal.SIGKILL)
        handle = os.pidfd_open(pid)
        os.waitid(os.P_PIDFD, handle, os.WEXITED | os.WNOWAIT)
        os.close(handle)
    else:
        node.host.ip(f"link delete {LINK}")
    assert node.moved()
    assert node.resync(view).state == "applied"
    assert not node.moved()
    with Client.udhcpc(cloud.vms[0].host, tmp_path / "client") as client:
        client.event("bound")


def test_a_bridge_without_an_address_serves_all_the_same(cloud: Cloud, tmp_path: Path) -> None:
    """As on the private side of two networks."""
    cloud.nodes["nc-1"].host.ip("address flush dev br0")
    cloud.nodes["nc-1"].resync(cloud.view("nc-1"))
    with Client.udhcpc(cloud.vms[0].host, tmp_path / "client") as client:
        assert client.event("bound")["ip"] == str(cloud.vms[0].ip)


def test_the_last_instance_gone_nothing_runs(cloud: Cloud) -> None:
    cloud.vms = [vm for vm in cloud.vms if vm.node != "nc-1"]
    pid = server(cloud).status.pid
    cloud.enforce("nc-1")
    assert replace(server(cloud).status, starts=0) == type(server(cloud).status)()
    assert not Path(f"/proc/{pid}").exists()


def test_a_new_zone_takes_a_new_process(cloud: Cloud) -> None:
    node, pid = cloud.nodes["nc-1"], server(cloud).status.pid
    other = cloud.view("nc-1")
    other = replace(other, zone=replace(other.zone, subnet=type(other.zone.subnet)("10.111.0.0/17")))
    assert node.apply(other).state == "applied"
    assert server(cloud).status.pid != pid
    assert not Path(f"/proc/{pid}").exists()


# -- after a crash


def test_one_that_was_left_behind_is_taken_over(cloud: Cloud, tmp_path: Path, public_directory: Path) -> None:
    """As after kill -9 of the agent: it serves meanwhile, and the next agent finds it, tells it what it missed, and starts
    no second one."""
    node, vm = cloud.nodes["nc-1"], cloud.vms[0]
    left = server(cloud)
    with Client.udhcpc(vm.host, tmp_path / "client") as client:
        client.event("bound")
        node.enforcement.dnsmasq = taken_over = Dnsmasq(public_directory / "nc-1", "br0")
        (public_directory / "nc-1" / "hosts" / str(cloud.vms[1].ip)).unlink()  # it died before it could tell
        cloud.vms.pop(1)
        assert node.resync(cloud.view("nc-1")).state == "applied"
        assert (taken_over.status.pid, taken_over.status.starts) == (left.status.pid, 0)
        with node.host.entered():
            assert [found.pid for found in process.found(public_directory / "nc-1")] == [left.status.pid]
        client.renew()
        client.event("renew")
    taken_over.close()
    assert not left._running.alive()


def test_leftovers_of_another_configuration_are_ended(cloud: Cloud, public_directory: Path) -> None:
    node = cloud.nodes["nc-1"]
    left = server(cloud)
    node.enforcement.dnsmasq = Dnsmasq(public_directory / "nc-1", "br0")
    view = cloud.view("nc-1")
    view = replace(view, zone=replace(view.zone, subnet=type(view.zone.subnet)("10.111.0.0/17")))
    assert node.apply(view).state == "applied"
    assert not left._running.alive()
    assert server(cloud).status.starts == 1
