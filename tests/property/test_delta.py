"""The algebra of deltas: they save bytes and nothing else."""

import json
from copy import deepcopy
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.random_network import histories, last_of, walk
from tests.property.test_checks import JSON
from verge.contract.delta import EMPTY, apply, diff
from verge.contract.view import View, ViewInvalid
from viewserver.compile.derived import Derived
from viewserver.compile.difference import difference


def views(history):
    """(derived, the views of all its nodes) after each valid update."""
    derived = Derived.empty()
    for _, outcome in walk(history):
        derived, _ = derived.advance(outcome.network, [(item.kind, item.id) for item in outcome.changed])
        yield derived, {node: View.parse(orjson.loads(derived.render(node))) for node in derived.digests}


def sent(delta):
    """As it arrives."""
    return orjson.loads(orjson.dumps(delta))


@given(histories)
def test_a_delta_leads_from_the_base_to_the_view(history):
    steps = list(views(history))
    for older in (steps[0][1], steps[-1][1]):
        for _, newer in steps:
            for node in older.keys() & newer.keys():
                folded = apply(older[node], sent(diff(older[node], newer[node])))
                assert folded == newer[node]
                assert folded.digest == newer[node].digest
                assert orjson.loads(folded.to_bytes()) == orjson.loads(newer[node].to_bytes())


@given(histories)
def test_between_a_view_and_itself_there_is_nothing(history):
    for _, found in views(history):
        for view in found.values():
            assert diff(view, view) == EMPTY
            assert apply(view, sent(EMPTY)) == view


@given(histories)
def test_one_delta_over_two_changes_is_both(history):
    steps = [found for _, found in views(history)]
    for one, two, three in zip(steps, steps[1:], steps[2:], strict=False):
        for node in one.keys() & two.keys() & three.keys():
            by_steps = apply(apply(one[node], sent(diff(one[node], two[node]))), sent(diff(two[node], three[node])))
            assert by_steps == apply(one[node], sent(diff(one[node], three[node])))


@given(histories)
def test_the_server_says_what_the_contract_says(history):
    steps = list(views(history))
    for older, old_views in (steps[0], steps[len(steps) // 2]):
        for newer, new_views in steps[-2:]:
            for node in old_views.keys() & new_views.keys():
                assert sent(difference(older, newer, node)) == diff(old_views[node], new_views[node])


@given(histories)
def test_members_are_added_and_removed_relative_to_the_base(history):
    steps = [found for _, found in views(history)]
    for older, newer in pairwise(steps):
        for node in older.keys() & newer.keys():
            for group, edit in diff(older[node], newer[node])["members"].items():
                before = set(older[node].members[group].texts()) if group in older[node].members else set()
                assert not set(edit["add"]) & set(edit["remove"])
                assert not set(edit["add"]) & before
                assert set(edit["remove"]) <= before
                assert group in newer[node].members


@given(histories)
def test_a_delta_names_only_what_the_node_sees(history):
    """A group that another tenant's nodes see is no part of it."""
    steps = list(views(history))
    (older, old_views), (newer, new_views) = steps[0], steps[-1]
    for node in old_views.keys() & new_views.keys():
        delta = sent(difference(older, newer, node))
        seen, gone = new_views[node], old_views[node]
        assert set(delta["set"].get("groups", ())) <= set(seen.groups)
        assert set(delta["set"].get("instances", ())) <= set(seen.instances)
        assert set(delta["members"]) <= set(seen.members)
        assert set(delta["unset"].get("members", ())) <= set(gone.members)


@given(histories, st.data())
def test_a_delta_on_another_base_never_passes_for_the_view(history, data):
    """Either it is refused, or the digest tells."""
    steps = [found for _, found in views(history)]
    base, newer, other = (data.draw(st.sampled_from(steps)) for _ in range(3))
    for node in base.keys() & newer.keys() & other.keys():
        try:
            found = apply(other[node], sent(diff(base[node], newer[node])))
        except ViewInvalid:
            continue
        assert (found.digest == newer[node].digest) == (found == newer[node])


@st.composite
def spoiled(draw, value):
    """The value with anything at all in one or two places."""
    value = [deepcopy(value)]
    for _ in range(draw(st.integers(1, 2))):
        place, step = value, 0
        while isinstance(place[step], dict | list) and place[step] and draw(st.integers(0, 4)):
            place = place[step]
            step = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        place[step] = draw(JSON)
    return orjson.loads(json.dumps(value[0]))  # as it would arrive


@given(histories, st.data())
def test_whatever_else_comes_for_a_view_is_refused_as_that(history, data):
    derived = Derived.of(last_of(history))
    for node in sorted(derived.digests):
        wire = data.draw(spoiled(orjson.loads(derived.render(node))))
        try:
            view = View.parse(wire)
        except ViewInvalid:
            continue
        assert View.parse(orjson.loads(view.to_bytes())).digest == view.digest
        break


@given(histories, st.data())
def test_whatever_else_comes_for_a_delta_is_refused_as_that(history, data):
    steps = [found for _, found in views(history)]
    for node in sorted(steps[0].keys() & steps[-1].keys()):
        delta = data.draw(spoiled(sent(diff(steps[0][node], steps[-1][node]))))
        try:
            apply(steps[0][node], delta)
        except ViewInvalid:
            continue
        break


@pytest.mark.parametrize("wire", [None, [], 7, "view", {}, {"schema": 2}, {"schema": True}])
def test_what_is_no_view_at_all(wire):
    with pytest.raises(ViewInvalid):
        View.parse(wire)
