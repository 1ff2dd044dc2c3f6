"""Nodes are spread over the servers, and again over those that are left when one fails."""

from collections import Counter

from nodeagent.session.choice import in_order

SERVERS = ("http://a:8470", "http://b:8470", "http://c:8470")
NODES = [f"nc-{number}" for number in range(3000)]


def test_each_server_is_the_first_of_its_share_and_the_second_of_half_of_the_others():
    orders = Counter(in_order(SERVERS, node) for node in NODES)
    assert len(orders) == 6
    assert all(400 < count < 600 for count in orders.values())


def test_the_order_in_which_they_are_given_does_not_matter():
    assert all(in_order(SERVERS, node) == in_order(SERVERS[::-1], node) for node in NODES)


def test_one_server_less_moves_the_nodes_of_that_one_only():
    for node in NODES:
        assert in_order(SERVERS[:2], node) == tuple(one for one in in_order(SERVERS, node) if one in SERVERS[:2])
