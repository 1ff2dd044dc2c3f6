"""A view that the host cannot wholly realise: what it refuses is closed and named, and everybody else has what is his.

The host's refusals are real. To come by some, a check of our own is taken away first, or a limit put into a declaration: no
view that the server lets in is known to be refused, and those that nobody thought of are what quarantine is for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.build import Lab, Vm
from lab.flows import Flow
from lab.probes import expect
from nodeagent.desired import groups, judgement
from nodeagent.dnsmasq.server import Dnsmasq
from nodeagent.enforcement import Outcome
from nodeagent.kernel.ruleset import KernelRuleset
from nodeagent.nft import text
from nodeagent.state.ruleset import Set
from tests.dataplane.clients import Client, forget_address
from tests.dataplane.cloud import Cloud
from tests.dataplane.seen import observed
from tests.unit.nodeagent.wires import group
from tests.unit.nodeagent.wires import rule as policy_rule
from verge.contract.members import Members
from verge.contract.report import Failure

_SSH = policy_rule("tcp", 22, cidr="0.0.0.0/0")
_WEB = policy_rule("tcp", 80, cidr="0.0.0.0/0")


@pytest.fixture
def cloud(flat: Lab, vms: list[Vm]) -> Iterator[Cloud]:
    """Its first two instances are on nc-1; nothing is in force yet."""
    with Cloud(flat, vms) as cloud:
        cloud.groups = {"sg-a": group(_SSH), "sg-b": group(_WEB)}
        cloud.groups_of = {vms[0].interface: ["sg-a"], vms[1].interface: ["sg-b"]}
        yield cloud


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each transaction that the kernel is asked to take, or whether it would take it."""
    asked: list[int] = []

    def count(name: str) -> None:
        ask = getattr(KernelRuleset, name)

        def counted(ruleset: KernelRuleset, changes: Any, *others: Any) -> Any:
            asked.append(len(changes))
            return ask(ruleset, changes, *others)

        monkeypatch.setattr(KernelRuleset, name, counted)

    count("check")
    count("commit")
    return asked


def apply(cloud: Cloud) -> Outcome:
    return cloud.nodes["nc-1"].apply(cloud.view("nc-1"))


def named(outcome: Outcome) -> list[str]:
    return [failure.object for failure in outcome.failures]


def to(cloud: Cloud, number: int, port: int) -> Flow:
    """From another node."""
    return Flow.tcp(cloud.vms[2].host, cloud.vms[number].host, cloud.vms[number].ip, port)


def test_a_rule_that_is_refused_is_left_out_alone(
    cloud: Cloud, checks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "_fault", lambda _: None)
    cloud.groups["sg-a"] = group(_SSH, policy_rule("icmp", icmp_type=300, cidr="10.0.0.0/8"))
    outcome = apply(cloud)
    assert outcome.state == "degraded"
    (failure,) = outcome.failures
    assert (failure.object, failure.stage) == ("groups/sg-a", "ruleset")
    assert "ingress rule protocol=icmp icmp_type=300 cidr=10.0.0.0/8" in failure.reason
    assert not expect([to(cloud, 0, 22), to(cloud, 1, 80)], [to(cloud, 0, 80)])
    # from now on it costs nothing
    checks.clear()
    again = apply(cloud)
    assert (again.state, again.failures, again.changes, checks) == ("degraded", outcome.failures, 0, [])
    assert not cloud.nodes["nc-1"].moved()
    assert not cloud.nodes["nc-1"].plan(cloud.view("nc-1"))
    # and a neighbour's change goes in at once
    cloud.groups["sg-b"] = group(_WEB, _SSH)
    assert (apply(cloud).failures, len(checks)) == (outcome.failures, 1)
    assert not expect([to(cloud, 1, 22)], [])
    # tried again after a while: one attempt, and what is known is known to be enough
    checks.clear()
    for _ in range(40):
        assert apply(cloud).failures == outcome.failures
    assert len(checks) == 1
    # what changes has another chance at once
    cloud.groups["sg-a"] = group(_SSH, policy_rule("icmp", icmp_type=8, cidr="10.0.0.0/8"))
    assert apply(cloud).state == "applied"


def test_members_that_do_not_fit(cloud: Cloud, checks: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses an element more than a set's size without a word about which set it was."""

    def limited(value: Set) -> str:
        big = isinstance(value.elements, Members) and len(value.elements) > 50
        return declared(value) + (" size 10;" if big else "")

    declared = text.set_declaration
    monkeypatch.setattr(text, "set_declaration", limited)
    cloud.groups["sg-a"] = group(_SSH, policy_rule("tcp", 80, group="sg-big"))
    cloud.groups |= {"sg-big": group()} | {
        f"sg-{n}": group(policy_rule("tcp", n, group="sg-a")) for n in range(100, 160)
    }
    cloud.extra_members["sg-big"] = [f"10.111.7.{n}" for n in range(60)]
    outcome = apply(cloud)
    assert [(one.object, one.stage) for one in outcome.failures] == [("members/sg-big", "ruleset")]
    assert "Too many open files" in outcome.failures[0].reason, "in the kernel's own words"
    assert len(checks) < 24, f"of {len(cloud.groups) * 2} parts"
    assert not expect([to(cloud, 0, 22), to(cloud, 1, 80)], [to(cloud, 0, 80)])
    # what stood against it has gone
    monkeypatch.setattr(text, "set_declaration", declared)
    states = [apply(cloud).state for _ in range(40)]
    assert (states[0], states[-1]) == ("degraded", "applied")


def test_a_fault_of_ours_that_one_instance_provokes(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    assert apply(cloud).state == "applied"
    make = judgement.instance_chains

    def faulty(vm: Any, *others: Any) -> Any:
        if vm.id == "i-00000001" and others[0] == ("sg-a", "sg-b"):
            raise ZeroDivisionError("of all things")
        return make(vm, *others)

    monkeypatch.setattr(judgement, "instance_chains", faulty)
    cloud.groups_of = {vm.interface: ["sg-a", "sg-b"] for vm in cloud.vms}
    outcome = apply(cloud)
    assert outcome.failures == (Failure("instances/i-00000001", "internal", "ZeroDivisionError('of all things')"),)
    assert outcome.instances == {"i-00000001": "quarantined", "i-00000002": "ready"}
    first, second = cloud.vms[0], cloud.vms[1]
    assert not expect(
        [to(cloud, 1, 22), to(cloud, 1, 80)],
        [to(cloud, 0, 22), to(cloud, 0, 80), Flow.tcp(first.host, second.host, second.ip, 22)],
    )
    monkeypatch.undo()
    cloud.groups_of[first.interface] = ["sg-a"]
    assert apply(cloud).state == "applied"
    assert not expect([to(cloud, 0, 22), Flow.tcp(first.host, second.host, second.ip, 22)], [])


def test_several_at_once_of_several_kinds(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "_fault", lambda _: None)
    cloud.network = {"public_ips": ["10.111.101.200-10.111.101.210"]}
    cloud.elastic = {"10.111.101.200": cloud.vms[0].interface, "10.111.101.201": cloud.vms[1].interface}
    cloud.groups["sg-a"] = group(*(policy_rule("icmp", icmp_type=300 + n, cidr="10.0.0.0/8") for n in range(9)))
    cloud.groups["sg-c"] = group(policy_rule(700, cidr="10.0.0.0/8"), _SSH)
    cloud.groups_of[cloud.vms[1].interface] = ["sg-b", "sg-c"]
    cloud.nodes["nc-1"].host.ip("addr add 10.111.101.200/16 dev br0")
    outcome = apply(cloud)
    assert named(outcome) == ["groups/sg-a", "groups/sg-c", "elastic_ips/10.111.101.200"]
    assert "rule" not in outcome.failures[0].reason, "with so many refused rules the whole group is closed"
    assert not expect([to(cloud, 1, 80), to(cloud, 1, 22)], [to(cloud, 0, 22)])


def test_what_is_no_objects_fault_is_rejected_and_changes_nothing(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert apply(cloud).state == "applied"
    before = observed(cloud.nodes["nc-1"].host)
    monkeypatch.setattr(text, "hook", lambda _: "type filter hook nowhere priority 0;")
    monkeypatch.setattr(judgement, "FORWARD", judgement.Hook("forward", 7))
    cloud.groups["sg-a"] = group()
    cloud.network = {"vm_to_host": "allow"}
    outcome = apply(cloud)
    assert (outcome.state, named(outcome)) == ("rejected", ["view"])
    assert "chain hook" in outcome.failures[0].reason
    assert observed(cloud.nodes["nc-1"].host) == before
    assert not expect([to(cloud, 0, 22)], [])


def test_a_host_that_dnsmasq_cannot_be_told_of(cloud: Cloud, tmp_path: Path) -> None:
    """Something is in the way of its file: the others get their leases, and so does this one when it has gone."""
    node, blocked = cloud.nodes["nc-1"], tmp_path / "dhcp" / "hosts" / str(cloud.vms[0].ip)
    node.enforcement.dnsmasq = Dnsmasq(tmp_path / "dhcp", "br0")
    blocked.mkdir(parents=True)
    outcome = apply(cloud)
    (failure,) = outcome.failures
    assert (failure.object, failure.stage) == ("instances/i-00000001", "dhcp")
    assert "Is a directory" in failure.reason
    assert str(blocked) in failure.reason
    assert not expect([to(cloud, 0, 22), to(cloud, 1, 80)], [])
    forget_address(cloud.vms[1].host)
    with Client.udhcpc(cloud.vms[1].host, tmp_path / "client") as client:
        client.event("bound")
    blocked.rmdir()
    assert apply(cloud).state == "applied"
    forget_address(cloud.vms[0].host)
    with Client.udhcpc(cloud.vms[0].host, tmp_path / "other") as client:
        client.event("bound")
