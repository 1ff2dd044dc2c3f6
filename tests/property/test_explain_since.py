"""Since when a verdict has been so, and what a node that is behind does, equal a naive look at every revision."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.networks import generated
from tests.networks.compiled import accepted
from viewserver.compile.derived import Derived
from viewserver.explain.enforced import Seen, enforced
from viewserver.explain.question import Message, Question, Unasked
from viewserver.explain.since import Step, since
from viewserver.explain.verdict import Explanation, explain
from viewserver.model import updates
from viewserver.model.convergence import SECTIONS, Facts, Pending, Told
from viewserver.model.network import Network

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHANGES = 20


def history(seed: int) -> tuple[list[Network], list[frozenset[str]]]:
    """Networks by revision from 1 on, and what each change touched; one object at a time becomes what it is in another cloud."""
    chance = Random(seed)
    start = generated.network(chance).operations
    networks, touched = [Network(), accepted(start)], [frozenset[str]()]
    touched.append(frozenset(f"{SECTIONS[one['kind']]}/{one['id']}" for one in start))
    while len(networks) < CHANGES:
        other = generated.network(chance).operations
        operation = chance.choice(
            [one for one in other if one["kind"] in ("group", "instance", "elastic_ip", "network")]
        )
        if operation["kind"] != "network" and chance.random() < 0.15:
            operation = {"op": "delete", "kind": operation["kind"], "id": operation["id"]}
        outcome = updates.apply(networks[-1], updates.parse([operation]))
        if isinstance(outcome, updates.Applied) and outcome.changed:
            networks.append(outcome.network)
            touched.append(frozenset(f"{SECTIONS[one.kind]}/{one.id}" for one in outcome.changed))
    return networks, touched


def questions(network: Network, chance: Random) -> list[Question]:
    ends = [name for name, _ in network.of_kind("instance")] + [name for name, _ in network.of_kind("elastic_ip")]
    asked = []
    for _ in range(40):
        source, destination = chance.choice([*ends, "203.0.113.10", "nc-1"]), chance.choice([*ends, "nc-2"])
        sent = chance.choice(generated.messages())
        asked.append(Question(source, destination, Message(*sent)))
    return asked


def at(network: Network, question: Question) -> Explanation | None:
    try:
        return explain(network, question)
    except Unasked:
        return None


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32))
def test_since_is_the_first_revision_of_the_last_run(seed: int) -> None:
    networks, touched = history(seed)
    head = len(networks) - 1
    for question in questions(networks[head], Random(seed)):
        now = at(networks[head], question)
        if now is None:
            continue
        steps = (Step(r, touched[r], completes=False, before=networks[r - 1]) for r in range(head, 0, -1))
        found = since(now, steps)
        naive = head
        while (then := at(networks[naive - 1], question)) and (then.allowed, then.seen) == (now.allowed, now.seen):
            naive -= 1
        assert found[None] == naive, question


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32))
def test_a_node_that_is_behind_does_what_the_network_that_it_knows_says(seed: int) -> None:
    """Each node at a revision of its own. What the second one does is judged with the source that the first one gives it."""
    networks, _ = history(seed)
    chance, head = Random(seed), len(networks) - 1
    versions = {node: chance.randint(1, head) for node in generated.NODES}
    seen = {node: Seen(_facts(node, version, head), networks[version]) for node, version in versions.items()}
    for question in questions(networks[head], chance):
        meant = at(networks[head], question)
        if meant is None:
            continue
        found = enforced(networks[head], meant, seen, NOW)
        if not found.shares:
            continue
        only = {versions[share.node] for share in found.shares}
        if len(only) == 1:  # one network, so its own verdict on the same instances is what happens
            then = at(networks[only.pop()], question)
            if then is not None and then.route == meant.route:
                assert found.now == ("allowed" if then.allowed else "denied"), question
        drops = any(share.enforces == "drops" for share in found.shares)
        assert not (drops and found.now == "allowed")
        if found.in_force and meant.allowed:
            assert found.now == "allowed"
        for share in found.shares:
            if versions[share.node] == head and share.role == "source":
                assert share.in_force


def test_what_is_behind_makes_a_difference() -> None:
    """Else the property above would mean little: the views that differ, differ in verdicts too."""
    differing = 0
    for seed in range(4):
        networks, _ = history(seed)
        assert Derived.of(networks[1]).digests != Derived.of(networks[-1]).digests
        for question in questions(networks[-1], Random(seed)):
            first, last = at(networks[1], question), at(networks[-1], question)
            differing += first is not None and last is not None and first.allowed != last.allowed
    assert differing > 5


def _facts(node: str, applied: int, version: int) -> Facts:
    told = Told(1, applied, "applied", None, (), {}, NOW)
    pending = (Pending(version, NOW),) if applied < version else ()
    return Facts(node, "zone-a", 1, version, pending, hosts_instances=True, told=told, silent=False)
