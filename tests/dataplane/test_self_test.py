"""A node that says *applied* and does not enforce is caught: each test lies to the agent in another way."""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from lab.build import Lab, Vm
from lab.flows import Flow
from lab.probes import expect
from lab.session import Session, Side
from lab.wire import capture
from nodeagent.kernel.scratch import ScratchLinks
from nodeagent.nft.changes import AddRule, Change
from nodeagent.outcome import Outcome
from nodeagent.state import ownership, scratch
from tests.dataplane.cloud import Cloud, Node
from tests.unit.nodeagent.wires import group
from tests.unit.nodeagent.wires import rule as policy_rule

PAIR = scratch.pair("vn_*")
assert PAIR
LINKS = {name for port in PAIR for name in (port.name, port.peer)}


@pytest.fixture
def cloud(flat: Lab, vms: list[Vm]) -> Iterator[Cloud]:
    with Cloud(flat, vms, self_test=True) as cloud:
        cloud.groups = {"sg-a": group(policy_rule("tcp", 22, cidr="0.0.0.0/0"))}
        cloud.groups_of = {vm.interface: ["sg-a"] for vm in vms[:2]}
        yield cloud


@pytest.fixture
def node(cloud: Cloud) -> Node:
    return cloud.nodes["nc-1"]


def enforced(cloud: Cloud) -> Outcome:
    return cloud.enforce("nc-1")["nc-1"]


def reason(outcome: Outcome) -> str:
    [failure] = outcome.failures
    assert (failure.object, failure.stage) == ("host/br0", "self-test")
    assert outcome.self_test is not None
    assert failure.reason == outcome.self_test.reason
    return failure.reason


def test_an_apply_is_proven_by_packets_and_elements_alone_are_not_tried(cloud: Cloud, node: Node) -> None:
    first = enforced(cloud)
    assert first.self_test is not None
    assert (first.self_test.state, first.self_test.reason) == ("passed", None)
    cloud.groups["sg-a"] = group(policy_rule("tcp", (22, 23), cidr="0.0.0.0/0"))
    elements = enforced(cloud)
    assert elements.changes
    assert elements.self_test is None
    cloud.groups["sg-a"] = group(policy_rule("tcp", (22, 23), cidr="0.0.0.0/0"), policy_rule("icmp", cidr="0.0.0.0/0"))
    rules = enforced(cloud)
    assert rules.self_test is not None
    assert node.resync(cloud.view("nc-1")).self_test is not None
    assert node.apply(cloud.view("nc-1")).self_test is None


def test_it_disturbs_nothing(cloud: Cloud, node: Node, vms: list[Vm]) -> None:
    """No frame of it leaves the host, the bridge stays what it was, sessions go on, and nothing is taken for drift."""
    enforced(cloud)
    before = node.host.links()
    with (
        Session.tcp(vms[2].host, vms[0].host, vms[0].ip, 22) as session,
        capture(node.host, "up0", lambda frame: b"\xa9\xfe\x43\x47" in frame.raw) as left,
    ):
        for _ in range(5):
            tested = node.resync(cloud.view("nc-1")).self_test
            assert tested is not None
            assert tested.state == "passed"
            assert not node.moved()
            assert session.passes(Side.CLIENT)
            assert session.passes(Side.SERVER)
        tidy(node)
        after = node.host.links()
        assert not left.frames
    assert after.keys() == before.keys() - LINKS
    assert {name: (one["address"], one["mtu"], one["ifindex"]) for name, one in after.items()} == {
        name: (one["address"], one["mtu"], one["ifindex"]) for name, one in before.items() if name not in LINKS
    }


def tidy(node: Node) -> None:
    with node.host.entered():
        node.enforcement.tidy()


# -- something passes that must not


REWRITES = {
    "spoofed": (
        "another's source address",
        "bridge",
        "prerouting priority -400",
        "ip saddr 169.254.67.73 ip saddr set 169.254.67.71",
    ),
    "unallowed": ("the ip table does not judge", "ip", "prerouting priority -250", "udp dport 8 udp dport set 7"),
    "misdirected": (
        "for another address",
        "bridge",
        "postrouting priority 250",
        "ip daddr 169.254.67.73 ip daddr set 169.254.67.72",
    ),
}


@pytest.mark.parametrize("what", REWRITES)
def test_somebody_ahead_of_us_makes_wrong_packets_look_right(cloud: Cloud, node: Node, what: str) -> None:
    words, family, hook, rewriting = REWRITES[what]
    enforced(cloud)
    node.host.nft(f"add table {family} x\nadd chain {family} x c {{ type filter hook {hook}; }}\n")
    node.host.nft(f"add rule {family} x c {rewriting}")
    assert node.moved()
    outcome = node.resync(cloud.view("nc-1"))
    assert outcome.state == "rejected"
    assert outcome.held_but_open
    assert words in reason(outcome)
    node.host.nft(f"delete table {family} x")
    again = node.apply(cloud.view("nc-1"))
    assert again.state == "applied", "what failed is tried again without being asked"
    assert again.self_test is not None


def test_bridged_packets_pass_the_ip_table_by_though_the_flag_looks_set(
    cloud: Cloud, node: Node, monkeypatch: pytest.MonkeyPatch, vms: list[Vm]
) -> None:
    enforced(cloud)
    truly = node.enforcement._links.read
    monkeypatch.setattr(node.enforcement._links, "read", lambda: replace(truly(), bridge_filtered=True))
    node.host.set_sysctl("net.bridge.bridge-nf-call-iptables", 0)
    node.host.ip("link set br0 type bridge nf_call_iptables 0")
    assert not expect([Flow.tcp(vms[1].host, vms[0].host, vms[0].ip, 23)], []), "it is open"
    outcome = node.resync(cloud.view("nc-1"))
    assert outcome.state == "rejected"
    assert "the ip table does not judge bridged packets (nf_call_iptables of br0" in reason(outcome)
    monkeypatch.undo()
    assert node.apply(cloud.view("nc-1")).state == "applied"
    assert not expect([], [Flow.tcp(vms[1].host, vms[0].host, vms[0].ip, 23)])


@pytest.mark.parametrize(
    ("table", "chain", "words"),
    [
        (ownership.BRIDGE, "prerouting", "another's source address"),
        (ownership.BRIDGE, "postrouting", "for another address"),
        (ownership.IP, "postrouting", "the ip table does not judge"),
    ],
)
def test_a_kernel_that_says_yes_and_leaves_out_a_rule(
    cloud: Cloud, node: Node, monkeypatch: pytest.MonkeyPatch, table: object, chain: str, words: str
) -> None:
    truly = node.enforcement._ruleset.commit

    def lying(changes: tuple[Change, ...], *more: Any, **others: Any) -> int:
        kept = (one for one in changes if not (isinstance(one, AddRule) and (one.table, one.chain) == (table, chain)))
        return truly(tuple(kept), *more, **others)

    monkeypatch.setattr(node.enforcement._ruleset, "commit", lying)
    outcome = node.apply(cloud.view("nc-1"))
    assert outcome.state == "rejected"
    assert words in reason(outcome)
    monkeypatch.undo()
    assert node.resync(cloud.view("nc-1")).state == "applied"


def test_an_offload_that_carries_packets_past_all_rules(cloud: Cloud, node: Node) -> None:
    enforced(cloud)
    one, two = PAIR
    node.host.nft(
        f'add table netdev x\nadd chain netdev x c {{ type filter hook ingress device "{one.name}" priority 0; }}\n'
        f'add rule netdev x c fwd to "{two.name}"'
    )
    outcome = node.resync(cloud.view("nc-1"))
    assert outcome.state == "rejected"
    assert reason(outcome).count(";") == 2, "all three are said"
    node.host.nft("delete table netdev x")
    assert node.resync(cloud.view("nc-1")).state == "applied"


# -- what is allowed does not pass


def test_somebody_ahead_of_us_drops_what_comes_by_the_bridge(cloud: Cloud, node: Node, vms: list[Vm]) -> None:
    enforced(cloud)
    node.host.nft("add table ip x\nadd chain ip x c { type filter hook forward priority -10; policy drop; }")
    assert not expect([], [Flow.tcp(vms[1].host, vms[0].host, vms[0].ip, 22)])
    outcome = node.resync(cloud.view("nc-1"))
    assert outcome.state == "degraded", "nothing is open that must not be"
    assert "something on this host drops" in reason(outcome)
    node.host.nft("delete table ip x")
    assert node.resync(cloud.view("nc-1")).state == "applied"


# -- repaired, so not to be caught


@pytest.mark.parametrize("table", ["ip verge", "bridge verge_l2", "ip others"])
def test_a_table_put_to_sleep_is_made_anew_and_others_do_not_matter(
    cloud: Cloud, node: Node, vms: list[Vm], table: str
) -> None:
    enforced(cloud)
    forbidden = Flow.tcp(vms[1].host, vms[0].host, vms[0].ip, 23)
    node.host.nft(f"add table {table} {{ flags dormant; }}")
    outcome = node.resync(cloud.view("nc-1"))
    assert outcome.state == "applied", outcome
    assert bool(outcome.changes) == ("verge" in table)
    assert not expect([Flow.tcp(vms[1].host, vms[0].host, vms[0].ip, 22)], [forbidden])


# -- the test cannot be made


def without(capability: int, step: Callable[[], Outcome]) -> Outcome:
    """By a thread that has lost it (capset(2)): capabilities are a thread's own."""
    outcomes: list[Outcome] = []

    def powerless() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0))
        data = ctypes.create_string_buffer(24)
        assert libc.capget(header, data) == 0
        words = list(struct.unpack("=6I", data.raw[:24]))
        words[0] &= ~(1 << capability)
        assert libc.capset(header, ctypes.create_string_buffer(struct.pack("=6I", *words))) == 0
        outcomes.append(step())

    thread = threading.Thread(target=powerless)
    thread.start()
    thread.join()
    return outcomes[0]


def test_who_may_not_open_raw_sockets_is_told_and_applies_all_the_same(cloud: Cloud, node: Node) -> None:
    raw = 13  # CAP_NET_RAW
    outcome = without(raw, lambda: node.apply(cloud.view("nc-1")))
    assert outcome.state == "applied"
    assert outcome.self_test is not None
    assert outcome.self_test.state == "unable"
    assert "Operation not permitted" in (outcome.self_test.reason or "")
    again = node.apply(cloud.view("nc-1")).self_test
    assert again is not None
    assert again.state == "passed"


BRIDGES = {
    "link set br0 down": "br0 is down",
    "link set br0 type bridge stp_state 1": "br0 runs STP",
}


@pytest.mark.parametrize("change", BRIDGES)
def test_a_bridge_on_which_nothing_can_be_shown(cloud: Cloud, node: Node, change: str) -> None:
    node.host.ip(change)
    tested = node.apply(cloud.view("nc-1")).self_test
    assert tested is not None
    assert tested.state == "unable"
    assert BRIDGES[change] in (tested.reason or "")


def test_what_one_who_was_killed_has_left_is_removed_by_the_next(cloud: Cloud, node: Node) -> None:
    assert PAIR
    with node.host.entered():
        killed = ScratchLinks("br0", PAIR)
        killed.there()
        killed.close()
    assert node.host.links().keys() >= LINKS
    node.restart()
    assert not node.host.links().keys() & LINKS
    assert enforced(cloud).self_test is not None
    assert not node.moved(), "the ports are no drift"
    tidy(node)
    assert not node.host.links().keys() & LINKS
