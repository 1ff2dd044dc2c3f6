"""Refused, late, large, forgetful: what enforcement does beside the usual."""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from lab import topology
from lab.build import Lab, Vm
from lab.flows import Flow
from lab.host import Host
from lab.probes import expect
from nodeagent.enforcement import Enforcement
from nodeagent.state import ownership
from nodeagent.state.host import HostFacts
from tests.dataplane.cloud import Cloud, Node
from tests.dataplane.seen import observed
from tests.unit.nodeagent.wires import group, instance, view
from tests.unit.nodeagent.wires import rule as policy_rule
from verge.contract.members import format_address, parse_address

IP = ownership.IP
ONE_LAB = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def host() -> Iterator[Host]:
    """A host with a bridge and nothing else."""
    host = Host.create("alone")
    host.ip("link add br0 type bridge", "link set br0 up")
    yield host
    host.delete()


@pytest.fixture
def cloud(flat: Lab, vms: list[Vm]) -> Iterator[Cloud]:
    with Cloud(flat, vms) as cloud:
        cloud.groups = {"sg-a": group(policy_rule("tcp", 22, cidr="0.0.0.0/0")), "sg-b": group()}
        cloud.groups_of = {vm.interface: ["sg-a"] for vm in vms[:2]}
        cloud.enforce()
        yield cloud


# -- refused, late, large


def test_when_the_kernel_refuses_nothing_goes_in_and_the_last_good_stays(cloud: Cloud) -> None:
    node, vm, remote = cloud.nodes["nc-1"], cloud.vms[0], cloud.vms[2]
    before = observed(node.host)
    cloud.groups["sg-a"] = group()
    outcomes = []

    def powerless() -> None:
        _drop_net_admin()
        outcomes.append(node.apply(cloud.view("nc-1")))

    thread = threading.Thread(target=powerless)  # capabilities are a thread's own
    thread.start()
    thread.join()
    (outcome,) = outcomes
    assert outcome.state == "rejected"
    assert "Operation not permitted" in outcome.failures[0].reason
    assert observed(node.host) == before
    assert not expect([Flow.tcp(remote.host, vm.host, vm.ip, 22)], [])
    assert node.apply(cloud.view("nc-1")).state == "applied"
    assert not expect([], [Flow.tcp(remote.host, vm.host, vm.ip, 22)])


def _drop_net_admin() -> None:
    """capset(2) on this thread; the host's library has no wrapper in Python."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0))
    data = ctypes.create_string_buffer(24)
    assert libc.capget(header, data) == 0
    words = list(struct.unpack("=6I", data.raw[:24]))
    words[0] &= ~(1 << 12)
    assert libc.capset(header, ctypes.create_string_buffer(struct.pack("=6I", *words))) == 0


def test_an_interface_that_comes_late(flat: Lab, vms: list[Vm]) -> None:
    with Cloud(flat, vms) as cloud:
        cloud.groups = {"sg-a": group(policy_rule("tcp", 22, cidr="0.0.0.0/0"))}
        cloud.groups_of = {"vn_i-late": ["sg-a"]}
        ghost = Vm(vms[0].host, "nc-1", "vn_i-late", "d0:0d:00:00:00:55", topology.FIRST_VM + 20)
        cloud.vms.append(ghost)
        outcome = cloud.enforce("nc-1")["nc-1"]
        assert outcome.instances["i-late"] == "waiting-for-interface"
        node, known = cloud.nodes["nc-1"], cloud.view("nc-1")
        late = flat.plug("nc-1", interface="vn_i-late", mac=ghost.mac, ip=ghost.ip)
        assert not expect([Flow.tcp(vms[2].host, late.host, late.ip, 22)], []), "its rules are in by name beforehand"
        with node.host.entered():
            assert node.enforcement.readiness(known)["i-late"] == "ready"
        assert node.apply(known).instances["i-late"] == "ready"
        node.host.ip("link set vn_i-late nomaster")
        with node.host.entered():
            assert node.enforcement.readiness(known)["i-late"] == "waiting-for-interface"


def test_without_a_bridge_the_ruleset_is_in_force_all_the_same() -> None:
    host = Host.create("bare")
    try:
        node = Node(host)
        outcome = node.apply(view({"i-1": instance(1)}))
        assert outcome.state == "degraded"
        assert [failure.object for failure in outcome.failures] == ["host/br0"]
        host.ip("link add br0 type bridge")
        assert node.moved()
        assert node.apply(view({"i-1": instance(1)})).state == "applied"
        assert not node.moved()
        node.enforcement.close()
    finally:
        host.delete()


def test_thirty_thousand_members(host: Host) -> None:
    """Also for an ordinary user, who may not send that much at once."""
    random = Random(1)
    addresses = [format_address(parse_address("10.200.0.0") + n) for n in random.sample(range(1 << 17), 30_000)]
    groups = {"sg-a": group(policy_rule("tcp", 22, group="sg-b")), "sg-b": group()}

    def wanted(members: list[str]) -> Any:
        return view({"i-1": instance(1, ["sg-a"])}, groups, {"sg-a": ["10.111.101.1"], "sg-b": members})

    node = Node(host)
    assert node.apply(wanted(addresses)).state == "applied"
    outcome = node.apply(wanted([*addresses[1:], "10.99.0.1"]))
    assert outcome.state == "applied"
    assert outcome.changes == 8, "one member out, one in, and a generation in both its forms"
    assert node.resync(wanted([*addresses[1:], "10.99.0.1"])).changes == 0
    assert not node.moved()
    node.enforcement.close()


def test_generations_never_go_back(host: Host) -> None:
    facts = HostFacts("br0", "br0")
    with host.entered():
        first = Enforcement(facts)
        first.apply(view({"i-1": instance(1)}), clock_seconds=1000)
        assert first.generation == 1001
        first.close()
        by_kernel = Enforcement(facts)
        by_kernel.apply(view({"i-2": instance(2), "i-1": instance(1)}), clock_seconds=5)
        assert by_kernel.generation == 1002
        by_kernel.close()
        host.nft("flush ruleset")
        by_checkpoint = Enforcement(facts, last_generation=by_kernel.generation)
        by_checkpoint.apply(view({"i-1": instance(1)}), clock_seconds=5)
        assert by_checkpoint.generation == 1003
        by_checkpoint.close()
        host.nft("flush ruleset")
        by_clock = Enforcement(facts)
        by_clock.apply(view({"i-1": instance(1)}), clock_seconds=2000)
        assert by_clock.generation == 2001
        by_clock.close()


def test_the_desired_text_is_a_ruleset_that_nft_takes(host: Host) -> None:
    """As a unit at boot would load it; the agent takes over from there."""
    groups = {
        "sg-a": group(policy_rule("tcp", (0, 80), cidr="10.0.0.0/8"), policy_rule("icmp", group="sg-b")),
        "sg-b": group(policy_rule(132, cidr="0.0.0.0/0"), egress=[policy_rule("udp", 53, group="sg-a")]),
    }
    for wanted in (None, view({"i-1": instance(1, ["sg-a"]), "i-2": instance(2, ["sg-b"])}, groups)):
        host.nft("flush ruleset")
        node = Node(host)
        with host.entered():
            desired_text, _ = node.enforcement.ruleset(wanted)
        host.nft(desired_text)
        loaded = observed(host)
        assert not any(seen.foreign for seen in loaded.values())
        assert node.apply(view({"i-1": instance(1, ["sg-a"]), "i-2": instance(2, ["sg-b"])}, groups)).state == "applied"
        with host.entered():
            assert "10.111.101.1 . " in node.enforcement.ruleset(wanted)[1]
        node.enforcement.close()
