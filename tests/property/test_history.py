"""Looking back: what lies between two revisions, and one node's view of a past network, are what a full compile says."""

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.random_network import NODES, histories
from tests.property.test_replay import committed
from viewserver.compile.alone import alone
from viewserver.compile.difference import difference
from viewserver.model.between import Between
from viewserver.model.network import Network
from viewserver.model.updates import replay


@settings(max_examples=40)
@given(histories)
def test_one_nodes_view_alone_is_its_view(history):
    for _, held in committed(history):
        for node in held.derived.digests:
            found = alone(held.network, node)
            assert found.digest_of(node) == held.derived.digests[node]
            assert found.render(node) == held.derived.render(node)


@settings(max_examples=40)
@given(histories, st.data())
def test_two_revisions_differ_in_what_leads_from_one_to_the_other(history, data):
    records = committed(history)
    end = data.draw(st.integers(0, len(records)))
    start = data.draw(st.integers(0, end))
    after = records[end - 1][1].network if end else Network()
    before = records[start - 1][1].network if start else Network()
    between, changes = Between(), [change for change, _ in records[start:end]][::-1]
    cut = data.draw(st.integers(0, len(changes)))
    for page in (changes[:cut], changes[cut:]):
        between.take(page)

    assert replay(after, between.reversal()).objects == before.objects
    edits = between.edits()
    assert {(one.kind, one.id) for one in edits} == {
        key for key in {*before.objects, *after.objects} if before.objects.get(key) != after.objects.get(key)
    }
    for one in edits:
        assert all(start < revision <= end for revision in one.revisions)
        assert set(one.to_wire()["fields"]) == {
            name
            for name in {*(one.before or ()), *(one.after or ())}
            if one.before and one.after and one.before[name] != one.after[name]
        }


@settings(max_examples=40)
@given(histories, st.data())
def test_the_difference_of_one_nodes_views_is_that_of_two_compiles(history, data):
    records = committed(history)
    end = data.draw(st.integers(1, len(records)))
    start = data.draw(st.integers(1, end))
    new, old = (records[at - 1][1].derived for at in (end, start))
    for node in new.digests:
        found = difference(alone(old.network, node), alone(new.network, node), node)
        assert orjson.dumps(found) == orjson.dumps(difference(old, new, node))
    for node in NODES:  # nodes that are not there see nothing
        if new.network.node(node) is None:
            assert not alone(new.network, node).instance_leaves
