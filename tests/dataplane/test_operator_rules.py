"""Rules of the operators in our tables: on the way of packets, kept whatever happens, and never in our way."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import topology
from lab.build import Lab, Vm
from lab.flows import Flow
from lab.probes import expect
from nodeagent.enforcement import Enforcement
from nodeagent.operatorrules import OBJECT, OperatorRules
from tests.dataplane.cloud import FACTS, Cloud, Node
from tests.dataplane.test_agent_process import Process, serving, wire
from tests.unit.nodeagent.wires import group
from tests.unit.nodeagent.wires import rule as policy_rule

RULES = """
add set ip verge operator_admins { type ipv4_addr; flags interval; elements = { 10.111.101.95 } }
add chain ip verge operator_log
add rule ip verge operator_log counter
add rule ip verge operator_pre tcp dport 2222 ip saddr @operator_admins jump operator_log
add rule ip verge operator_pre tcp dport 2222 ip saddr @operator_admins accept
add rule ip verge operator_pre tcp sport 2222 ip daddr @operator_admins accept
add rule ip verge operator_post tcp dport 23 drop
add rule bridge verge_l2 operator_pre ether type 0x88cc counter
add rule bridge verge_l2 operator_post udp dport 5353 drop
"""


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """Two VMs on one node; the first lets tcp 22 and 23 and udp 5353 in."""
    with Lab(topology.flat(1)) as lab:
        vms = [
            lab.plug("nc-1", interface=f"vn_i-{n}", mac=f"d0:0d:00:00:00:{n:02x}", ip=topology.FIRST_VM + n)
            for n in range(2)
        ]
        with Cloud(lab, vms) as cloud:
            ports = [policy_rule("tcp", (22, 23), cidr="0.0.0.0/0"), policy_rule("udp", 5353, cidr="0.0.0.0/0")]
            cloud.groups = {"sg": group(*ports), "empty": group()}
            cloud.groups_of = {"vn_i-0": ["sg"]}
            cloud.enforce()
            yield cloud


def node(cloud: Cloud) -> Node:
    return cloud.nodes["nc-1"]


def told(cloud: Cloud, file: Path, saved: Path | None = None) -> Node:
    """An agent that starts anew and knows this file."""
    found = node(cloud)
    found.enforcement.close()
    with found.host.entered():
        found.enforcement = Enforcement(FACTS, operator_rules=OperatorRules(file, saved))
    return found


def theirs(cloud: Cloud) -> list[str]:
    found = []
    for what in ("chain ip verge operator_pre", "chain ip verge operator_post", "chain bridge verge_l2 operator_pre"):
        found.append(node(cloud).host.run("nft", "--stateless", "list", *what.split()))
    return found


def wrong(cloud: Cloud, *, ruled: bool) -> list[str]:
    """What the packets say against it."""
    vm, neighbour = cloud.vms
    common = [Flow.tcp(neighbour.host, vm.host, vm.ip, 22)]
    hooked = [Flow.tcp(neighbour.host, vm.host, vm.ip, 2222)]
    barred = [Flow.tcp(neighbour.host, vm.host, vm.ip, 23), Flow.udp(neighbour.host, vm.host, vm.ip, 5353)]
    never = [Flow.tcp(vm.host, neighbour.host, neighbour.ip, 2222)]
    passing, dropped = (common + hooked, barred + never) if ruled else (common + barred, hooked + never)
    return [str(one) for one in expect(passing, dropped)]


def test_they_let_past_our_judgement_and_bar_what_it_let_pass(cloud: Cloud) -> None:
    assert not wrong(cloud, ruled=False)
    node(cloud).host.nft(RULES)
    node(cloud).resync(cloud.view("nc-1"))  # as an agent does when it is told
    assert not wrong(cloud, ruled=True)
    for chain in ("ip verge operator_pre", "ip verge operator_post", "ip verge operator_log"):
        node(cloud).host.nft(f"flush chain {chain}")
    node(cloud).host.nft("delete chain ip verge operator_log\ndelete set ip verge operator_admins")
    node(cloud).host.nft("flush chain bridge verge_l2 operator_pre\nflush chain bridge verge_l2 operator_post")
    node(cloud).resync(cloud.view("nc-1"))
    assert not wrong(cloud, ruled=False)
    assert "jump operator" not in node(cloud).host.run("nft", "list", "ruleset"), "calls cost time"


def test_they_stay_through_updates_restarts_and_repairs(cloud: Cloud) -> None:
    found = node(cloud)
    found.host.nft(RULES)
    before = theirs(cloud)
    found.resync(cloud.view("nc-1"))
    assert not found.plan(cloud.view("nc-1")), "they are no drift"
    for number in range(5):
        cloud.groups["sg-x"] = group(policy_rule("tcp", 1000 + number, cidr="0.0.0.0/0"))
        cloud.groups_of["vn_i-1"] = ["sg-x"] if number % 2 else []
        cloud.enforce()
    found.restart()
    assert found.resync(cloud.view("nc-1")).state == "applied"
    found.host.nft("flush chain ip verge to_vm\nadd rule ip verge to_vm accept")
    assert found.resync(cloud.view("nc-1")).state == "applied"
    assert theirs(cloud) == before
    assert not wrong(cloud, ruled=True)


def test_a_table_that_is_replaced_as_a_whole_keeps_them(cloud: Cloud) -> None:
    """As an upgrade does whose sets have another shape."""
    found = node(cloud)
    found.host.nft(RULES)
    found.resync(cloud.view("nc-1"))
    before = theirs(cloud)
    found.host.nft("add chain ip verge postrouting { policy drop; }")
    outcome = found.resync(cloud.view("nc-1"))
    assert outcome.state == "applied"
    assert outcome.changes > 20, "the whole table"
    assert theirs(cloud) == before
    assert "10.111.101.95" in found.host.run("nft", "list", "set", "ip", "verge", "operator_admins")
    assert not wrong(cloud, ruled=True)
    assert found.resync(cloud.view("nc-1")).changes == 0


def test_after_a_foreign_flush_those_of_the_file_come_back_with_our_tables(cloud: Cloud, tmp_path: Path) -> None:
    file = tmp_path / "hooks.nft"
    file.write_text(RULES)
    found = told(cloud, file)
    found.host.nft("flush ruleset")
    outcome = found.resync(cloud.view("nc-1"))
    assert outcome.state == "applied"
    assert any("put back" in note for note in outcome.notes)
    assert not wrong(cloud, ruled=True)
    assert found.resync(cloud.view("nc-1")).changes == 0


def test_after_a_foreign_flush_those_of_the_kernel_alone_are_lost_and_named(cloud: Cloud) -> None:
    found = node(cloud)
    found.host.nft(RULES)
    found.resync(cloud.view("nc-1"))
    found.host.nft("flush ruleset")
    outcome = found.resync(cloud.view("nc-1"))
    assert outcome.state == "applied"
    [note] = outcome.notes
    assert note.startswith("operator rules lost: ")
    assert "chain operator_pre of ip verge" in note
    assert "set operator_admins of ip verge" in note
    assert not found.resync(cloud.view("nc-1")).notes, "said once"


@pytest.mark.parametrize(
    ("text", "reason"),
    [("flush ruleset\n", "line 1"), ("add rule ip verge operator_pre ip saddr @nowhere drop\n", "No such file")],
)
def test_a_faulty_file_is_a_failure_until_it_is_right(cloud: Cloud, tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "hooks.nft"
    file.write_text(text)
    found = told(cloud, file)
    found.host.nft("add table ip other\ndelete table ip verge\ndelete table bridge verge_l2\ndelete table arp verge")
    for _ in range(2):
        outcome = found.apply(cloud.view("nc-1"))
        assert outcome.state == "degraded"
        [failure] = outcome.failures
        assert failure.object == OBJECT
        assert reason in failure.reason
        assert not wrong(cloud, ruled=False)
    assert "table ip other" in found.host.run("nft", "list", "tables")
    file.write_text(RULES)
    assert found.apply(cloud.view("nc-1")).state == "applied"
    assert not wrong(cloud, ruled=True)


def test_what_stands_in_our_way_is_taken_out_saved_and_named(cloud: Cloud, tmp_path: Path) -> None:
    """A rule of theirs holds on to a chain of ours that is to go: the kernel would refuse the deletion for ever."""
    saved = tmp_path / "saved.nft"
    found = told(cloud, tmp_path / "none", saved)
    found.host.nft(RULES + "add rule ip verge operator_pre tcp dport 7 jump vm/i-0/in\n")
    cloud.vms, gone = cloud.vms[1:], cloud.vms[0]
    outcome = found.apply(cloud.view("nc-1"))
    assert outcome.state == "degraded"
    [failure] = outcome.failures
    assert failure.object == OBJECT
    assert "busy" in failure.reason
    assert str(saved) in failure.reason
    assert "tcp dport 2222" in saved.read_text()
    assert not expect([], [Flow.tcp(cloud.vms[0].host, gone.host, gone.ip, 22)]), "what was to close is closed"
    assert found.apply(cloud.view("nc-1")).state == "degraded", "until somebody has looked after it"
    found.host.nft("add rule ip verge operator_post counter")
    assert found.resync(cloud.view("nc-1")).state == "applied"


async def test_an_agent_heeds_them_as_they_are_written_and_calls_it_no_drift(
    flat: Lab, vms: list[Vm], tmp_path: Path
) -> None:
    agent = Process(flat["nc-1"], tmp_path, f"unix:{tmp_path}/server.sock")
    async with serving(agent) as server:
        etag = await server.publish(wire(22))
        agent.start()
        try:
            await agent.ready()
            await server.until(lambda: etag in server.applied)
            agent.host.nft("add rule ip verge operator_post counter")
            async with asyncio.timeout(10):
                while "jump operator_post" not in agent.host.run("nft", "list", "table", "ip", "verge"):
                    await asyncio.sleep(0.01)
            assert (await agent.get("/v1/plan"))["empty"], "and the pass has ended"
            assert (await agent.get("/v1/status"))["drift"] == []
            agent.host.nft("flush ruleset")
            await server.until(lambda: server.newest.get("drift"))
            [drift] = server.newest["drift"]
            assert "operator rules lost: chain operator_post of ip verge" in drift["what"]
        finally:
            await agent.end(signal.SIGTERM)
