"""Any network survives being told as a document, whatever was there before; and nothing that is no document does harm."""

from dataclasses import replace
from ipaddress import IPv4Address
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.random_network import histories, last_of
from tests.property.test_checks import JSON
from tests.unit.viewserver.eucalyptus.documents import EXAMPLES, accepted, announce, written
from viewserver.eucalyptus import gni
from viewserver.eucalyptus.broadcast import broadcast
from viewserver.eucalyptus.configuration import configuration
from viewserver.eucalyptus.text import read_yaml
from viewserver.model.invariants import check_all
from viewserver.model.network import Network
from viewserver.model.objects import Metadata
from viewserver.model.updates import Applied, apply
from viewserver.model.whole import replacement


def sayable(network):
    """What of a network a Eucalyptus document can say; the rest as an import leaves it."""
    found = Network()
    settings = network.settings
    found = found.put(
        "network",
        "network",
        replace(
            settings,
            metadata=settings.metadata or Metadata(host=IPv4Address("10.0.0.3")),
            same_group_traffic="allow",
            gateway_mode="impersonate",
            mtu=None,
        ),
    )
    for name, zone in network.of_kind("zone"):
        found = found.put("zone", name, replace(zone, mac_prefix="d0:0d"))
    address_of = {}
    for name, node in network.of_kind("node"):
        address_of[name] = str(node.address)
        found = found.put("node", str(node.address), replace(node, gateway_mode=None))
    for key, group in network.of_kind("group"):
        found = found.put("group", key, replace(group, name=key, egress=None))
    for key, instance in network.of_kind("instance"):
        placed = instance.node is not None
        found = found.put(
            "instance",
            key,
            replace(
                instance,
                node=address_of[instance.node] if placed else None,
                zone=None if placed else instance.zone,
                interface=f"vn_{key}",
                migrating_to=None,
            ),
        )
    for address, elastic in network.of_kind("elastic_ip"):
        if elastic.instance is not None:
            found = found.put("elastic_ip", address, elastic)
    return found


DIALECTS = st.sampled_from(["4.4", "5.x", "plain"])


@given(histories, DIALECTS)
def test_a_network_told_as_a_document_is_the_same_network(history, dialect):
    told = sayable(last_of(history))
    network = accepted(announce(written(told, dialect=dialect)))
    assert network.to_wire() == told.to_wire()
    assert check_all(network) == []


@given(histories, histories, DIALECTS)
def test_what_was_there_before_does_not_matter(history, former, dialect):
    told, before = sayable(last_of(history)), sayable(last_of(former))
    xml = written(told, dialect=dialect)
    after = accepted(announce(xml, before, prune=True, force=True), before)
    assert after.to_wire() == told.to_wire()
    assert accepted(announce(xml, after), after).to_wire() == told.to_wire()


@given(histories, histories)
def test_a_document_of_other_nodes_is_applied_or_refused_and_breaks_nothing(history, former):
    """Nodes of the former network have names of their own, and stay: they may well have an address in the way."""
    told, before = sayable(last_of(history)), last_of(former)
    outcome = apply(before, announce(written(told), before, force=True))
    if isinstance(outcome, Applied):
        assert check_all(outcome.network) == []
        after = outcome.network.to_wire()
        assert after["instances"].keys() == told.to_wire()["instances"].keys()
        assert after["elastic_ips"] == told.to_wire()["elastic_ips"]
        assert {key: one["ingress"] for key, one in after["groups"].items()} == {
            key: one["ingress"] for key, one in told.to_wire()["groups"].items()
        }
    else:
        assert all("node" in fault.message or "zone" in fault.message for fault in outcome.faults)


@given(histories, histories)
def test_a_whole_model_replaces_any_network(history, former):
    wanted, before = last_of(history), last_of(former)
    outcome = apply(before, replacement(wanted.to_wire(), before, force=True))
    assert isinstance(outcome, Applied), outcome
    assert outcome.network.to_wire() == wanted.to_wire()
    touched = {(one.kind, one.id) for one in outcome.changed}
    assert touched == {
        (kind, key)
        for kind, key in {*wanted.objects, *before.objects}
        if wanted.get(kind, key) != before.get(kind, key) and kind != "withdrawal"
    }


# --- nothing does harm ---

EXAMPLE, _ = read_yaml((EXAMPLES / "network-flat.yaml").read_bytes())


def places(value, at=()):
    yield at
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*at, key))


def put_at(value, at, new):
    if not at:
        return new
    if isinstance(value, dict):
        return {key: put_at(one, at[1:], new) if key == at[0] else one for key, one in value.items()}
    return [put_at(one, at[1:], new) if index == at[0] else one for index, one in enumerate(value)]


@given(st.sampled_from(list(places(EXAMPLE))), JSON, histories)
def test_a_network_document_spoiled_anywhere_is_taken_or_refused(at, junk, history):
    before = last_of(history)
    outcome = apply(before, configuration(put_at(EXAMPLE, at, junk), before, [], prune=True))
    if isinstance(outcome, Applied):
        assert check_all(outcome.network) == []
    else:
        assert all(fault.to_wire()["message"] for fault in outcome.faults)


SMALL = (EXAMPLES / "gni-small.xml").read_bytes()
COUNT = sum(1 for _ in ET.fromstring(SMALL).iter())


@pytest.mark.parametrize("spoil", ["remove", "text", "name", "tag", "twice"])
@given(index=st.integers(0, COUNT - 1), junk=st.text(max_size=8), history=histories)
def test_network_information_spoiled_anywhere_is_taken_or_refused(spoil, index, junk, history):
    root = ET.fromstring(SMALL)
    parents = {child: parent for parent in root.iter() for child in parent}
    element = list(root.iter())[index]
    if spoil == "remove" and element in parents:
        parents[element].remove(element)
    elif spoil == "twice" and element in parents:
        parents[element].append(element)
    elif spoil == "text":
        element.text = junk
    elif spoil == "name":
        element.set("name", junk)
    elif spoil == "tag":
        element.tag = junk or "x"
    before = last_of(history)
    outcome = apply(before, broadcast(gni.read(root), before, prune=True, force=True))
    if isinstance(outcome, Applied):
        assert check_all(outcome.network) == []
    else:
        assert all(fault.to_wire()["message"] for fault in outcome.faults)
