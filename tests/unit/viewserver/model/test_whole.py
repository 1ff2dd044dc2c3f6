"""The whole network as one document: what is in it shall be, what is not shall not."""

# ruff: noqa: E501 - one line for each case

from copy import deepcopy

import pytest

from tests.unit.viewserver.clouds import cloud
from viewserver.model.network import Network
from viewserver.model.updates import Applied, Refused, apply
from viewserver.model.whole import replacement

EMPTY = {"network": None, "zones": {}, "nodes": {}, "groups": {}, "instances": {}, "elastic_ips": {}}


def accepted(document, network, force=False):
    outcome = apply(network, replacement(document, network, force=force))
    assert isinstance(outcome, Applied), [fault.to_wire() for fault in outcome.faults]
    return outcome


def refused(document, network):
    outcome = apply(network, replacement(document, network, force=False))
    assert isinstance(outcome, Refused), "nothing was found wrong"
    return sorted((fault.to_wire()["pointer"], fault.message) for fault in outcome.faults)


def test_what_was_read_can_be_put_back():
    assert accepted({"revision": 7, **cloud().to_wire()}, cloud()).changed == ()
    assert accepted(cloud().to_wire(), Network()).network.to_wire() == cloud().to_wire()


def test_what_is_missing_is_deleted():
    assert accepted(EMPTY, cloud()).network.to_wire() == EMPTY
    document = cloud().to_wire()
    del document["instances"]["i-far"]
    del document["nodes"]["nc-3"]
    del document["zones"]["zone-b"]
    document["zones"]["zone-a"]["mac_prefix"] = "02:02"
    outcome = accepted(document, cloud())
    assert sorted((one.kind, one.id, one.after is None) for one in outcome.changed) == [
        ("instance", "i-far", True),
        ("node", "nc-3", True),
        ("zone", "zone-a", False),
        ("zone", "zone-b", True),
    ]


def edited(*path, value=...):
    """The document of the cloud with a value at this place, or without what stands there."""
    document = deepcopy(cloud().to_wire())
    place = document
    for part in path[:-1]:
        place = place[part]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


FAULTY = {
    "a section too many": (edited("fences", value={}), [("/fences", "is not a section")]),
    "no instances": (edited("instances"), [("/instances", "is missing; {}")]),
    "no network": (edited("network"), [("/network", "is missing; null")]),
    "a section that is a list": (edited("zones", value=[]), [("/zones", "must be an object")]),
    "instances that are null": (edited("instances", value=None), [("/instances", "must be an object")]),
    "a node that is needed": (edited("nodes", "nc-3"), [("/instances/i-far/node", "node nc-3 does not exist")]),
    "a zone that is needed": (edited("zones", "zone-b"), [("/nodes/nc-3/zone", "zone zone-b does not exist")]),
    "a group that is needed": (edited("groups", "sg-web"), [(f"/{where}", "sg-web") for where in ("groups/sg-app/ingress/0/group", "instances/i-db/groups/1", "instances/i-far/groups/0", "instances/i-web/groups/0")]),
    "an instance that is needed": (edited("instances", "i-web"), [("/elastic_ips/203.0.113.1/instance", "instance i-web does not exist")]),
    "a network that is needed": (edited("network", value=None), [(f"/elastic_ips/203.0.113.{number}", "there is no network yet") for number in (1, 2)]),
    "a field of the network": (edited("network", "mtu", value="1500"), [("/network/mtu", "must be an integer")]),
    "a field that is unknown": (edited("instances", "i-web", "x/y", value=1), [("/instances/i-web/x~1y", "is not a known field")]),
    "a rule": (edited("groups", "sg-web", "ingress", 0, "cidr", value="10.0.0.1/8"), [("/groups/sg-web/ingress/0/cidr", "host bits")]),
    "an id": (edited("elastic_ips", "::1", value={"instance": None}), [("/elastic_ips/::1", "IPv6")]),
    "an address twice": (edited("instances", "i-app", "private_ip", value="10.1.0.10"), [("/instances/i-app/private_ip", "i-web's")]),
    "a pool": (edited("zones", "zone-a", "private_ips", value=["10.1.0.10-10.1.0.11"]), [("/instances/i-db/private_ip", "is not in the pool")]),
}  # fmt: skip


@pytest.mark.parametrize(("document", "faults"), FAULTY.values(), ids=FAULTY.keys())
def test_what_is_wrong_is_told_where_it_stands(document, faults):
    found = refused(document, cloud())
    assert [pointer for pointer, _ in found] == [pointer for pointer, _ in faults]
    assert all(message in said for (_, said), (_, message) in zip(found, faults, strict=True))


@pytest.mark.parametrize("nothing", [None, [], "x", 7])
def test_what_is_no_document(nothing):
    ((pointer, message),) = refused(nothing, cloud())
    assert pointer == ""
    assert message.startswith("must be an object")


def test_many_instances_do_not_go_by_mistake():
    network = cloud()
    for number in range(30):
        instance = network.to_wire()["instances"]["i-web"]
        value = {
            **instance,
            "mac": f"d0:0d:00:00:01:{number:02x}",
            "private_ip": f"10.1.0.{50 + number}",
            "interface": f"vn_{number}",
        }
        document = deepcopy(network.to_wire())
        document["instances"][f"i-{number}"] = value
        network = accepted(document, network).network
    assert refused(cloud().to_wire(), network)[0][0] == "/instances"
    assert refused(cloud().to_wire(), network)[0][1].startswith("30 of 34 instances would be removed (i-0, i-1, i-10")
    assert apply(network, replacement(cloud().to_wire(), network, force=False)).faults[0].in_use
    assert accepted(cloud().to_wire(), network, force=True).network.to_wire() == cloud().to_wire()
