"""Others touch what is ours, and the agent repairs it; what is not ours is left alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from lab.build import Lab, Vm
from lab.flows import Flow
from lab.probes import expect
from lab.session import Session, Side
from nodeagent.kernel.ruleset import KernelRuleset
from nodeagent.state import ownership
from tests.dataplane.cloud import Cloud
from tests.dataplane.seen import observed, policy
from tests.unit.nodeagent.wires import group
from tests.unit.nodeagent.wires import rule as policy_rule

IP = ownership.IP
ONE_LAB = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# -- others touch what is ours


@pytest.fixture
def cloud(flat: Lab, vms: list[Vm]) -> Iterator[Cloud]:
    with Cloud(flat, vms) as cloud:
        cloud.groups = {"sg-a": group(policy_rule("tcp", 22, cidr="0.0.0.0/0")), "sg-b": group()}
        cloud.groups_of = {vm.interface: ["sg-a"] for vm in vms[:2]}
        cloud.enforce()
        yield cloud


DRIFT = {
    "the ruleset flushed": "flush ruleset",
    "our tables deleted": "delete table ip verge\ndelete table bridge verge_l2",
    "one table deleted": "delete table ip verge",
    "a rule added": "insert rule ip verge to_vm accept",
    "a chain emptied": "flush chain bridge verge_l2 from_vm",
    "an element added": "add element ip verge in/sg-a/ports { 0.0.0.0/0 . 6 . 23 }",
    "an element removed": "delete element ip verge local4 { 10.111.101.94 }",
    "a stamp made valid": "add element ip verge generations { 10.111.101.94 . 4711 }",
    "another policy": "add chain ip verge postrouting { policy drop; }",
    "another hook": """
        delete table ip verge
        add table ip verge
        add chain ip verge postrouting { type filter hook postrouting priority 151; }
    """,
    "things of another kind": """
        add set ip verge x { type ipv4_addr; timeout 1h; }
        add chain ip verge y
        add rule ip verge y ip saddr @x accept
        add counter ip verge z
    """,
}


@pytest.mark.parametrize("what", DRIFT)
def test_drift_is_noticed_and_repaired(cloud: Cloud, flat: Lab, what: str) -> None:
    node, vm, remote = cloud.nodes["nc-1"], cloud.vms[0], cloud.vms[2]
    before = policy(observed(node.host))
    assert not node.moved()
    node.host.nft(DRIFT[what])
    assert node.moved()
    assert node.plan(cloud.view("nc-1"))
    assert node.resync(cloud.view("nc-1")).state == "applied"
    assert not node.moved()
    assert policy(observed(node.host)) == before
    assert not expect(
        [Flow.tcp(remote.host, vm.host, vm.ip, 22)],
        [Flow.tcp(remote.host, vm.host, vm.ip, 23), Flow.udp(remote.host, vm.host, vm.ip, 53)],
    )


def test_a_changed_bridge_flag_and_port_setting_are_repaired(cloud: Cloud) -> None:
    node, vm, neighbour = cloud.nodes["nc-1"], cloud.vms[0], cloud.vms[1]
    cloud.groups_of[vm.interface] = ["sg-b"]
    cloud.enforce()
    forbidden = Flow.tcp(neighbour.host, vm.host, vm.ip, 22)
    allowed = Flow.tcp(vm.host, neighbour.host, neighbour.ip, 22)
    assert not expect([allowed], [forbidden])
    node.host.set_sysctl("net.bridge.bridge-nf-call-iptables", 0)  # of the whole host; on, it would do as well
    assert not expect([allowed], [forbidden])
    node.host.ip("link set br0 type bridge nf_call_iptables 0")
    assert not expect([allowed, forbidden], []), "this is what the flag is for"
    assert node.moved()
    assert node.plan(cloud.view("nc-1")) == ("ip link set br0 type bridge nf_call_iptables 1",)
    node.resync(cloud.view("nc-1"))
    assert not node.moved()
    assert not expect([allowed], [forbidden])
    node.host.set_sysctl(f"net.ipv6.conf.{vm.interface}.disable_ipv6", 0)
    assert node.moved()
    node.resync(cloud.view("nc-1"))
    assert node.host.sysctl(f"net.ipv6.conf.{vm.interface}.disable_ipv6") == "1"
    assert not node.moved()


def test_other_peoples_rules_are_left_alone(cloud: Cloud) -> None:
    node = cloud.nodes["nc-1"]
    node.host.nft("""
        add table inet theirs
        add chain inet theirs c { type filter hook forward priority 0; }
        add rule inet theirs c counter accept
    """)
    theirs = node.host.run("nft", "--stateless", "list", "table", "inet", "theirs")
    cloud.groups["sg-a"] = group()
    cloud.enforce()
    assert node.resync(cloud.view("nc-1")).changes == 0
    assert node.host.run("nft", "--stateless", "list", "table", "inet", "theirs") == theirs


def test_somebody_who_commits_all_the_time(cloud: Cloud) -> None:
    """Not every plan finds the ruleset as it was read; what is applied is true in the end."""
    node, stop = cloud.nodes["nc-1"], threading.Event()

    def disturb() -> None:
        with node.host.entered():
            other = KernelRuleset()
            while not stop.wait(0.01):
                other._nft.commit("add table ip other\ndelete table ip other\n")
            other.close()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        applied = 0
        for number in range(40):
            cloud.groups["sg-a"] = group(policy_rule("tcp", (22, 22 + number), cidr="0.0.0.0/0"))
            outcome = node.apply(cloud.view("nc-1"))
            assert outcome.state in ("applied", "rejected")
            applied += outcome.state == "applied"
    finally:
        stop.set()
        thread.join()
    assert applied, "how often is a question of the machine"
    assert node.apply(cloud.view("nc-1")).state == "applied"
    assert node.resync(cloud.view("nc-1")).changes == 0


def test_repair_keeps_what_is_allowed_alive(cloud: Cloud) -> None:
    node, vm, remote = cloud.nodes["nc-1"], cloud.vms[0], cloud.vms[2]
    with Session.tcp(remote.host, vm.host, vm.ip, 22) as session:
        node.host.nft("flush ruleset")
        node.resync(cloud.view("nc-1"))
        assert session.passes(Side.CLIENT)
        assert session.passes(Side.SERVER)
