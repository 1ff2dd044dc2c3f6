"""A migration's cut-over concerns the two nodes and nobody else, whatever else the cloud holds."""

import orjson
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.property.random_network import histories, last_of
from tests.unit.viewserver.clouds import put
from viewserver.compile.derived import Derived
from viewserver.model.objects import to_wire
from viewserver.model.updates import parse
from viewserver.update import Lift, evaluate


def offered(derived, key, **fields):
    """The instance put with other fields, at revision 7; nobody has applied anything yet."""
    value = {**to_wire("instance", derived.network.instance(key)), **fields}
    return evaluate(derived, parse([put("instance", key, **value)]), 7, lambda _: 0)


def seen(derived, node, key):
    view = orjson.loads(derived.render(node))
    return view["instances"].get(key), view["groups"], view["members"]


def may_go(network):
    """(instance, target) of every migration that could begin."""
    zones = {node: value.zone for node, value in network.of_kind("node")}
    return sorted(
        (key, node)
        for key, value in network.of_kind("instance")
        for node, zone in zones.items()
        if value.node not in (None, node) and zones[value.node] == zone and value.migrating_to is None
        if all(network.instance(other).interface != value.interface for other in network.instances_at(node))
    )


@st.composite
def migrations(draw):
    """A cloud, with one instance of it and where that goes."""
    found = Derived.of(last_of(draw(histories)))
    going = may_go(found.network)
    assume(going)
    return (found, *draw(st.sampled_from(going)))


@given(migrations())
def test_it_wakes_the_old_node_and_then_the_new_and_changes_no_members(migration):
    start, key, target = migration
    instance = start.network.instance(key)
    before = offered(start, key, migrating_to=target).derived
    elastic = before.network.elastic_ip_of.get(key)
    assert seen(before, target, key)[0]["node"] == instance.node, "closed"
    withdrawn = offered(before, key, node=target, migrating_to=None)
    assert withdrawn.affected == (instance.node,)
    assert seen(withdrawn.derived, target, key) == seen(before, target, key)
    assert seen(withdrawn.derived, instance.node, key)[0] is None
    fenced = set(withdrawn.derived.network.fenced)
    assert fenced == {str(instance.private_ip), elastic} - {None}
    granted = evaluate(withdrawn.derived, Lift(tuple(sorted(fenced))), 8, lambda _: 0)
    assert granted.affected == (target,)
    opened, groups, members = seen(granted.derived, target, key)
    assert (opened["node"], opened["elastic_ip"]) == (target, elastic)
    assert (groups, members) == seen(before, target, key)[1:]
    assert withdrawn.derived.members == granted.derived.members == before.members
    assert granted.derived.digests == Derived.of(granted.derived.network).digests


@given(migrations())
def test_one_that_is_called_off_leaves_nothing(migration):
    start, key, target = migration
    preparing = offered(start, key, migrating_to=target)
    called_off = offered(preparing.derived, key, migrating_to=None)
    assert called_off.derived.network == start.network
    assert called_off.derived.digests == start.digests
    assert set(called_off.affected) == {start.network.instance(key).node, target}
