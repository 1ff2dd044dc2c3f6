"""The kernel itself: takes every plan, refuses what the fake refuses, is repaired when others touch what is ours."""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab import topology
from lab.build import Lab, Vm
from lab.flows import Flow
from lab.host import Host
from lab.probes import expect
from lab.session import Session, Side
from nodeagent.enforcement import Enforcement
from nodeagent.kernel import KernelRefused
from nodeagent.kernel.ruleset import KernelRuleset
from nodeagent.nft.changes import (
    AddChain,
    AddElements,
    AddMap,
    AddMappings,
    AddRule,
    AddSet,
    AddTable,
    Change,
    DeleteElements,
    DeleteMappings,
    FlushChain,
    Remove,
)
from nodeagent.state import ownership
from nodeagent.state.host import HostFacts
from nodeagent.state.rule import ACCEPT, DROP, Dispatch, Field, Goto, Jump, KeyType, equals, rule, within
from nodeagent.state.ruleset import Hook, Map, Observed, SeenTable, Set, Span
from tests.dataplane.cloud import Cloud, Node
from tests.unit.nodeagent.fake_nft import FakeNft, Refused
from tests.unit.nodeagent.policy import wires
from tests.unit.nodeagent.test_plan import Node as FakeNode
from tests.unit.nodeagent.test_plan import without_handles
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


def observed(host: Host) -> Observed:
    with host.entered():
        ruleset = KernelRuleset()
        try:
            return ruleset.read()[0]
        finally:
            ruleset.close()


# -- the plan and the fake against the kernel


@ONE_LAB
@given(st.lists(st.tuples(wires(), st.booleans()), min_size=1, max_size=4))
def test_the_kernel_takes_every_plan_and_holds_what_the_fake_holds(
    host: Host, path: list[tuple[dict[str, Any], bool]]
) -> None:
    host.nft("flush ruleset")
    node, fake = Node(host), FakeNode()
    node.apply(None)
    fake.become(None)
    for wire, forgetful in path:
        if forgetful:
            node.restart()
        wanted = view(**wire)
        outcome = node.apply(wanted)
        assert outcome.state == "applied", outcome
        fake.become(wanted, forgetful=forgetful)
        assert _policy(observed(host)) == _policy(fake.kernel.observed())
        assert node.plan(wanted) == ()
        assert node.resync(wanted).changes == 0
    node.enforcement.close()


def _policy(seen: Observed) -> Observed:
    """Without handles, and without the numbers of generations, which follow the clock here."""
    found = without_handles(seen)
    table = found[IP]
    sets = {name: one for name, one in table.sets.items() if name != "generations"}
    maps = {name: sorted(one.elements) if one.data == "mark" else one for name, one in table.maps.items()}
    return {**found, IP: SeenTable(sets, maps, table.chains)}  # type: ignore[arg-type]


BOXES = Set((KeyType.IPV4, KeyType.PORT), frozenset(), interval=True)
PLAIN = Set((KeyType.IPV4, KeyType.MARK), frozenset())
MARKS = Map(KeyType.IPV4, "mark", {})
VERDICTS = Map(KeyType.IPV4, "verdict", {})
HOOK = Hook("input", 0)


def box(low: int, high: int, port: int, port_high: int) -> tuple[Span, Span]:
    return Span(low, high), Span(port, port_high)


def commands() -> st.SearchStrategy[Change]:
    """A small vocabulary, so that commands meet: right, wrong and useless ones."""
    boxes = st.sampled_from([box(0, 255, 0, 9), box(0, 127, 5, 5), box(256, 511, 5, 9), box(0, 255, 10, 10)])
    pairs = st.sampled_from([(1, 7), (1, 8), (2, 7)])
    names = st.sampled_from(["a", "b"])
    verdicts = st.sampled_from([ACCEPT, Goto("a"), Jump("b")])
    rules = st.sampled_from(
        [
            rule(ACCEPT),
            rule(equals(Field.L4PROTO, 6), DROP),
            rule(within("boxes", Field.IP_SADDR, Field.DPORT), ACCEPT),
            rule(within("plain", Field.IP_SADDR, Field.CT_MARK), DROP),
            rule(Dispatch(Field.IP_SADDR, "verdicts")),
            rule(Jump("b")),
        ]
    )
    return st.one_of(
        st.builds(AddSet, st.just(IP), st.sampled_from(["boxes"]), st.just(BOXES)),
        st.builds(AddSet, st.just(IP), st.sampled_from(["plain"]), st.just(PLAIN)),
        st.builds(AddMap, st.just(IP), st.just("marks"), st.just(MARKS)),
        st.builds(AddMap, st.just(IP), st.just("verdicts"), st.just(VERDICTS)),
        st.builds(AddChain, st.just(IP), names, st.none()),
        st.builds(AddChain, st.just(IP), st.just("base"), st.just(HOOK)),
        st.builds(lambda one: AddElements(IP, "boxes", BOXES.key, (one,)), boxes),
        st.builds(lambda one: AddElements(IP, "plain", PLAIN.key, (one,)), pairs),
        st.builds(lambda one: DeleteElements(IP, "boxes", BOXES.key, (one,)), boxes),
        st.builds(lambda one: DeleteElements(IP, "plain", PLAIN.key, (one,)), pairs),
        st.builds(lambda one: AddMappings(IP, "marks", MARKS, dict([one])), pairs),
        st.builds(lambda one: DeleteMappings(IP, "marks", MARKS, dict([one])), pairs),
        st.builds(
            lambda key, verdict: AddMappings(IP, "verdicts", VERDICTS, {key: verdict}), st.integers(1, 2), verdicts
        ),
        st.builds(
            lambda key, verdict: DeleteMappings(IP, "verdicts", VERDICTS, {key: verdict}), st.integers(1, 2), verdicts
        ),
        st.builds(AddRule, st.just(IP), st.sampled_from(["a", "base"]), rules, st.none()),
        st.builds(FlushChain, st.just(IP), st.sampled_from(["a", "b", "base"])),
        st.builds(
            Remove,
            st.just(IP),
            st.sampled_from(["set boxes", "set plain", "map marks", "map verdicts", "chain a", "chain b"]),
        ),
    )


EVERYTHING: list[Change] = [
    AddTable(IP),
    AddSet(IP, "boxes", BOXES),
    AddSet(IP, "plain", PLAIN),
    AddMap(IP, "marks", MARKS),
    AddMap(IP, "verdicts", VERDICTS),
    AddChain(IP, "a", None),
    AddChain(IP, "b", None),
    AddChain(IP, "base", HOOK),
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(commands(), min_size=1, max_size=4), max_size=8))
def test_the_fake_refuses_what_the_kernel_refuses(host: Host, transactions: list[list[Change]]) -> None:
    host.nft("flush ruleset")
    with host.entered():
        kernel, fake = KernelRuleset(), FakeNft()
        try:
            kernel.commit(tuple(EVERYTHING))
            fake.commit(EVERYTHING)
            for changes in transactions:
                before = fake.observed()
                try:
                    fake.commit(changes)
                except Refused as refused:
                    if "boxes" in str(refused):
                        return  # there the kernel may do something worse than refuse, or not mind
                    with pytest.raises(KernelRefused):
                        kernel.commit(tuple(changes))
                    assert fake.observed() == before
                else:
                    kernel.commit(tuple(changes))
                assert _without_handles(kernel.read()[0]) == _without_handles(fake.observed())
        finally:
            kernel.close()


def _without_handles(seen: Observed) -> dict[Any, Any]:
    return {
        name: (
            table.sets,
            table.maps,
            {chain: (one.hook, [each.hash for each in one.rules]) for chain, one in table.chains.items()},
        )
        for name, table in seen.items()
    }


def test_what_the_kernel_makes_of_overlapping_boxes(host: Host) -> None:
    """Why `desired.boxes` exists. Should a kernel do better one day, nothing of ours breaks."""
    with host.entered():
        kernel = KernelRuleset()
        kernel.commit(tuple(EVERYTHING))
        kernel.commit((AddElements(IP, "boxes", BOXES.key, (box(0, 255, 0, 9),)),))
        with pytest.raises(KernelRefused, match="File exists"):
            kernel.commit((AddElements(IP, "boxes", BOXES.key, (box(0, 127, 5, 5),)),))
        kernel.close()


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
    before = _policy(observed(node.host))
    assert not node.moved()
    node.host.nft(DRIFT[what])
    assert node.moved()
    assert node.plan(cloud.view("nc-1"))
    assert node.resync(cloud.view("nc-1")).state == "applied"
    assert not node.moved()
    assert _policy(observed(node.host)) == before
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
            while not stop.wait(0.005):
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
    assert applied > 20
    assert node.apply(cloud.view("nc-1")).state == "applied"
    assert node.resync(cloud.view("nc-1")).changes == 0


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
    assert outcome.changes == 6, "one member out, one in, and a generation"
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


def test_repair_keeps_what_is_allowed_alive(cloud: Cloud) -> None:
    node, vm, remote = cloud.nodes["nc-1"], cloud.vms[0], cloud.vms[2]
    with Session.tcp(remote.host, vm.host, vm.ip, 22) as session:
        node.host.nft("flush ruleset")
        node.resync(cloud.view("nc-1"))
        assert session.passes(Side.CLIENT)
        assert session.passes(Side.SERVER)
