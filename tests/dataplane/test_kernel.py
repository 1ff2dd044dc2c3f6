"""The kernel itself takes every plan, and refuses what the fake refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.host import Host
from nodeagent.kernel import KernelRefused
from nodeagent.kernel.links import HostLinks
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
from nodeagent.state.host import Identity
from nodeagent.state.rule import ACCEPT, DROP, Dispatch, Field, Goto, Jump, KeyType, equals, rule, within
from nodeagent.state.ruleset import Hook, Map, Observed, Set, Span
from tests.dataplane.cloud import FACTS, Node
from tests.dataplane.seen import observed, policy
from tests.unit.nodeagent.fake_nft import FakeNft, Refused
from tests.unit.nodeagent.policy import wires
from tests.unit.nodeagent.test_plan import Node as FakeNode
from tests.unit.nodeagent.wires import view

IP = ownership.IP
ONE_LAB = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def host() -> Iterator[Host]:
    """A host with a bridge and nothing else."""
    host = Host.create("alone")
    host.ip("link add br0 type bridge", "link set br0 up")
    yield host
    host.delete()


def identity(host: Host) -> Identity:
    with host.entered():
        links = HostLinks(FACTS)
        try:
            return links.read().identity
        finally:
            links.close()


# -- the plan and the fake against the kernel


@pytest.mark.slow
@ONE_LAB
@given(st.lists(st.tuples(wires(), st.booleans()), min_size=1, max_size=4))
def test_the_kernel_takes_every_plan_and_holds_what_the_fake_holds(
    host: Host, path: list[tuple[dict[str, Any], bool]]
) -> None:
    host.nft("flush ruleset")
    node, fake = Node(host), FakeNode(identity(host))
    node.apply(None)
    fake.become(None)
    for wire, forgetful in path:
        if forgetful:
            node.restart()
        wanted = view(**wire)
        outcome = node.apply(wanted)
        assert outcome.state == "applied", outcome
        fake.become(wanted, forgetful=forgetful)
        assert policy(observed(host)) == policy(fake.kernel.observed())
        assert node.plan(wanted) == ()
        assert node.resync(wanted).changes == 0
    node.enforcement.close()


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
        # from the base chain only: the kernel refuses loops, and the fake does not look for them
        st.just(AddRule(IP, "base", rule(Dispatch(Field.IP_SADDR, "verdicts")))),
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


@pytest.mark.slow
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
