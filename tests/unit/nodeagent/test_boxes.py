from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from nodeagent.desired.boxes import Box, canonical, covers
from nodeagent.state.ruleset import Span


def spans(limit: int) -> st.SearchStrategy[Span]:
    ends = st.integers(0, limit)
    return st.tuples(ends, ends).map(lambda pair: Span(min(pair), max(pair)))


def prefixes(bits: int) -> st.SearchStrategy[Span]:
    def make(address: int, length: int) -> Span:
        size = 1 << bits - length
        return Span(address & -size, (address & -size) + size - 1)

    return st.builds(make, st.integers(0, (1 << bits) - 1), st.integers(0, bits))


boxes_of_rules = st.lists(st.tuples(prefixes(4), spans(3), spans(7)), max_size=8)


def points(boxes: list[Box] | frozenset[Box]) -> set[tuple[int, int, int]]:
    return {
        (address, kind, port)
        for addresses, kinds, ports in boxes
        for address in range(addresses.low, addresses.high + 1)
        for kind in range(kinds.low, kinds.high + 1)
        for port in range(ports.low, ports.high + 1)
    }


def overlap(one: Box, other: Box) -> bool:
    return all(a.low <= b.high and b.low <= a.high for a, b in zip(one, other, strict=True))


@given(boxes_of_rules)
def test_the_boxes_are_disjoint_and_equal_the_rules(rules: list[Box]) -> None:
    boxes = canonical(rules, prefixes=True)
    assert not [pair for pair in combinations(boxes, 2) if overlap(*pair)]
    assert points(boxes) == points(rules)


@given(boxes_of_rules)
def test_the_addresses_of_a_box_are_a_prefix(rules: list[Box]) -> None:
    for addresses, *_ in canonical(rules, prefixes=True):
        size = addresses.high - addresses.low + 1
        assert size & (size - 1) == 0
        assert addresses.low % size == 0


@given(boxes_of_rules, st.randoms())
def test_equal_unions_give_equal_boxes(rules: list[Box], random: object) -> None:
    boxes = canonical(rules, prefixes=True)
    cut = [
        (addresses, kinds, Span(port, port))
        for addresses, kinds, ports in rules
        for port in range(ports.low, ports.high + 1)
    ]
    random.shuffle(cut)  # type: ignore[attr-defined]
    assert canonical(cut, prefixes=True) == boxes
    assert canonical(boxes, prefixes=True) == boxes


@given(boxes_of_rules, boxes_of_rules)
def test_covers_is_containment(rules: list[Box], others: list[Box]) -> None:
    boxes = canonical(rules, prefixes=True)
    assert covers(boxes, others, prefixes=True) == (points(others) <= points(rules))


@given(st.lists(st.tuples(spans(3), spans(7)), max_size=8))
def test_without_addresses(rules: list[Box]) -> None:
    boxes = canonical(rules, prefixes=False)
    everywhere = Span(0, 0)
    assert points([(everywhere, *box) for box in boxes]) == points([(everywhere, *box) for box in rules])
    assert not [pair for pair in combinations(boxes, 2) if overlap(*pair)]


def test_edges_of_what_a_port_and_an_address_can_be() -> None:
    world, tcp = Span(0, 0xFFFF_FFFF), Span(6, 6)
    one = (
        (world, tcp, Span(0, 0)),
        (world, tcp, Span(65535, 65535)),
        (Span(0xFFFF_FFFF, 0xFFFF_FFFF), tcp, Span(0, 65535)),
    )
    assert canonical(one, prefixes=True) == {
        (world, tcp, Span(0, 0)),
        (world, tcp, Span(65535, 65535)),
        (Span(0xFFFF_FFFF, 0xFFFF_FFFF), tcp, Span(1, 65534)),
    }
