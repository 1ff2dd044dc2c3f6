"""How far an update may reach, and what it takes."""

import pytest

from tests.unit.viewserver.clouds import accepted, changed, cloud, delete, put
from viewserver.model.blast import Limit, Limits, Reach
from viewserver.model.ingress import Loss, losses
from viewserver.model.ranges import merged, segments, without


def lost(*operations):
    network = cloud()
    outcome = accepted(*operations, network=network)
    found = losses(network, outcome.network, [(item.kind, item.id) for item in outcome.changed])
    return {one.instance: (one.why, [each.to_wire() for each in one.lost], one.addresses) for one in found}


@pytest.mark.parametrize(
    ("text", "total", "most"), [("10", 1000, 10), ("10%", 45, 4), ("10,10%", 45, 10), ("10%,10", 450, 45), ("0", 9, 0)]
)
def test_a_limit_is_a_number_a_share_or_the_greater_of_both(text, total, most):
    assert Limit.parse(text).of(total) == most


@pytest.mark.parametrize("text", ["", "ten", "-1", "101%", "1,2", "1%,2%", "1.5", "10%%", "1,2%,3"])
def test_what_is_no_limit_is_refused(text):
    with pytest.raises(ValueError, match="limit"):
        Limit.parse(text)


def test_what_exceeds_is_said_with_all_there_is():
    reach = Reach(12, 40, 100, [Loss(f"i-{number}", "nc-1", "it is removed") for number in range(3)])
    limits = Limits(Limit.parse("10,10%"), Limit.parse("2"))
    assert limits.exceeded(reach) == [
        "12 of 40 nodes would be affected; the limit is 10",
        "3 of 100 instances would lose ingress; the limit is 2",
    ]
    assert Limits().exceeded(reach) == []


def test_a_narrowed_rule_is_told_to_the_port_and_the_source():
    rules = [
        {"protocol": "tcp", "from_port": 80, "to_port": 80, "cidr": "0.0.0.0/1"},
        {"protocol": "tcp", "from_port": 8, "to_port": 90, "cidr": "192.0.0.0/2"},
    ]
    found = lost(changed("sg-web", ingress=rules))
    assert found.keys() == {"i-web", "i-db", "i-far"}
    assert found["i-web"] == (
        "what reaches it is less",
        [{"protocol": "tcp", "from_port": 80, "to_port": 80, "sources": ["128.0.0.0/2"]}],
        (),
    )


def test_a_peer_that_leaves_its_group_and_one_that_is_gone():
    found = lost(changed("i-web", groups=[]))
    assert found["i-app"][1] == [
        {"protocol": "tcp", "from_port": 8080, "to_port": 8080, "sources": ["10.1.0.10", "203.0.113.1"]}
    ]
    assert found["i-web"][1] == [{"protocol": "tcp", "from_port": 80, "to_port": 80, "sources": ["0.0.0.0/0"]}]
    gone = lost(delete("elastic_ip", "203.0.113.1"), delete("instance", "i-web"))
    assert gone.keys() == {"i-web"}
    assert gone["i-web"][0] == "it is removed"


def test_an_address_that_is_taken_away():
    assert lost(put("elastic_ip", "203.0.113.1", instance=None)) == {
        "i-web": ("it leaves an address", [], ("203.0.113.1",))
    }
    assert lost(put("elastic_ip", "203.0.113.2", instance="i-db")) == {}


def test_what_is_opened_or_moved_loses_nothing():
    opened = [{"protocol": "all", "cidr": "0.0.0.0/0"}]
    assert lost(changed("sg-app", ingress=opened)) == {}
    assert lost(changed("i-app", node="nc-2")) == {}


def test_every_protocol_alike_is_said_once():
    network = accepted(changed("sg-web", ingress=[{"protocol": "all", "cidr": "10.0.0.0/8"}]), network=cloud()).network
    after = accepted(changed("sg-web", ingress=[]), network=network)
    found = {one.instance: one for one in losses(network, after.network, [("group", "sg-web")])}
    assert found["i-web"].to_wire()["lost"] == [{"protocol": "all", "sources": ["10.0.0.0/8"]}]


def test_ranges():
    assert merged([(5, 9), (1, 3), (4, 4), (12, 12), (8, 10)]) == ((1, 10), (12, 12))
    assert without(((1, 10), (20, 30)), ((3, 4), (9, 22), (30, 30))) == ((1, 2), (5, 8), (23, 29))
    assert without(((1, 2),), ()) == ((1, 2),)
    assert segments([(1, 4), (3, 9)]) == [(1, 2), (3, 4), (5, 9)]
