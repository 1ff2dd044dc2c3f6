"""Any order of updates reaching the same model gives the same digests, and work is done where something changed only.

The incremental compile (`Derived.advance`) is held against the full one (`Derived.of`) and, once more, against what a
node reads out of the rendered view.
"""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from tests.property.random_network import histories, last_of, rebuilt, walk
from verge.contract.view import View
from viewserver.compile.derived import Derived
from viewserver.compile.placement import touched_nodes


def keys_of(outcome):
    return [(item.kind, item.id) for item in outcome.changed]


@given(histories)
def test_advancing_gives_what_a_full_compile_gives(history):
    derived = Derived.empty()
    for _, outcome in walk(history):
        derived, _ = derived.advance(outcome.network, keys_of(outcome))
        assert derived == Derived.of(outcome.network)


@given(histories)
def test_the_affected_nodes_are_those_whose_digest_differs(history):
    derived = Derived.empty()
    for _, outcome in walk(history):
        before = derived.digests
        derived, affected = derived.advance(outcome.network, keys_of(outcome))
        after = derived.digests
        assert sorted(affected) == sorted(node for node in after if before.get(node) != after[node])
        assert set(after) == {node for node, _ in outcome.network.of_kind("node")}


@given(histories)
def test_a_node_is_affected_exactly_when_the_view_it_reads_differs(history):
    derived, views = Derived.empty(), {}
    for _, outcome in walk(history):
        derived, affected = derived.advance(outcome.network, keys_of(outcome))
        now = {node: orjson.loads(derived.render(node)) for node in derived.digests}
        assert set(affected) == {node for node, view in now.items() if views.get(node) != view}
        views = now


@given(histories)
def test_only_nodes_in_placement_are_compiled(history):
    compiled = []
    whole, Derived.digest_of = (
        Derived.digest_of,
        lambda self, node, seen: compiled.append(node) or whole(self, node, seen),
    )
    try:
        derived = Derived.empty()
        for before, outcome in walk(history):
            compiled.clear()
            derived, _ = derived.advance(outcome.network, keys_of(outcome))
            assert sorted(compiled) == sorted(touched_nodes(before, outcome.network, keys_of(outcome)))
    finally:
        Derived.digest_of = whole


@given(histories, st.randoms())
def test_the_order_of_updates_leaves_no_trace(history, order):
    network = last_of(history)
    once = rebuilt(network, order)
    assert once == network, "the indices depend on how the network came about"
    assert Derived.of(once).digests == Derived.of(network).digests

    objects = list(network.objects)
    order.shuffle(objects)
    derived = Derived.empty()
    for step in range(1, len(objects) + 1):  # one object after the other, in any order that is valid at each step
        part = rebuilt(network)
        for kind, key in objects[step:]:
            part = part.without(kind, key)
        if not whole_enough(part):
            continue
        changed = [key for key in network.objects if part.objects.get(key) != derived.network.objects.get(key)]
        derived, _ = derived.advance(part, changed)
    assert derived.digests == Derived.of(network).digests


def whole_enough(network):
    """Nothing leans on what is not there."""
    return all(network.zone(node.zone) for _, node in network.of_kind("node")) and all(
        (one.node is None or network.node(one.node)) and all(network.group(group) for group in one.groups)
        for _, one in network.of_kind("instance")
    )


@given(histories)
def test_a_node_reads_the_digest_that_the_server_derived(history):
    derived = Derived.of(last_of(history))
    for node, digest in derived.digests.items():
        view = View.parse(orjson.loads(derived.render(node)))
        assert view.digest == digest
        assert view.node == node
        assert View.parse(orjson.loads(view.to_bytes())) == view


@given(histories)
def test_a_view_holds_what_the_node_needs_and_nothing_else(history):
    """Read independently of the compiler, from the model as `GET /v1/model` shows it."""
    network = last_of(history)
    model, derived = network.to_wire(), Derived.of(network)
    allow = bool(model["network"]) and model["network"]["same_group_traffic"] == "allow"
    elastic = {value["instance"]: address for address, value in model["elastic_ips"].items() if value["instance"]}
    placed = {key: one for key, one in model["instances"].items() if one["node"]}
    for node in model["nodes"]:
        view = orjson.loads(derived.render(node))
        mine = {key for key, one in placed.items() if node in (one["node"], one["migrating_to"])}
        groups = {group for key in mine for group in placed[key]["groups"]}
        named = {
            rule["group"]
            for group in groups
            for rule in model["groups"][group]["ingress"] + (model["groups"][group]["egress"] or [])
            if "group" in rule
        }
        assert set(view["instances"]) == mine
        assert set(view["groups"]) == groups
        assert set(view["members"]) == named | (groups if allow else set())
        for group, addresses in view["members"].items():
            inside = [key for key, one in placed.items() if group in one["groups"]]
            expected = {placed[key]["private_ip"] for key in inside}
            expected |= {elastic[key] for key in inside if key in elastic}
            assert set(addresses) == expected
            assert len(addresses) == len(expected)
        for key in mine:
            assert view["instances"][key]["elastic_ip"] == elastic.get(key)
            assert view["instances"][key]["node"] == placed[key]["node"], "whose port is open, on all that see it"
