"""Sets of boxes in their one canonical form.

A box is a tuple of spans: source addresses × protocol × ports, say. Rules overlap as people please; the kernel's interval
sets must not: adding a subset behind its superset fails, and deleting an element that is not there can delete another
one that contains its corner (nft_set_pipapo). So the rules of one group become boxes that are pairwise disjoint, and equal
unions give equal boxes, which makes them comparable from one view to the next.

            ports ─▶                          ports ─▶
     10/8   ├────────────┤             10/8   ├───┤   ├────┤        cut where any rule begins or ends, keep in
     10.1/16    ├──┤  ├─────┤     →    10/8       ├───┤    │        each piece the fewest prefixes, and join
                                       10.1/16             ├─┤      pieces that hold the same
"""

from collections.abc import Iterable, Iterator

from nodeagent.state.ruleset import Span

Box = tuple[Span, ...]


def canonical(boxes: Iterable[Box], *, prefixes: bool) -> frozenset[Box]:
    """Pairwise disjoint boxes with the same union; equal unions give equal results.

    With `prefixes` the first span of each box is a range of addresses, and comes out as CIDR prefixes.
    """
    if not prefixes:
        return frozenset(spans for _, spans in _canonical([(None, box) for box in boxes]))
    cut = _canonical([(box[0], box[1:]) for box in boxes])
    return frozenset((addresses, *spans) for addresses, spans in cut if addresses is not None)


def covers(boxes: frozenset[Box], other: Iterable[Box], *, prefixes: bool) -> bool:
    """Does the union of `boxes` (canonical) contain all of `other`?"""
    return canonical([*boxes, *other], prefixes=prefixes) == boxes


_Cut = tuple[Span | None, Box]
"""Addresses, if they matter, and the other spans."""


def _canonical(boxes: list[_Cut]) -> set[_Cut]:
    if not boxes:
        return set()
    if not boxes[0][1]:
        ranges = [span for span, _ in boxes if span is not None]
        return {(span, ()) for span in _prefixes(ranges)} if ranges else {(None, ())}
    edges = sorted({edge for _, spans in boxes for edge in (spans[0].low, spans[0].high + 1)})
    done: set[_Cut] = set()
    running: dict[_Cut, int] = {}  # what holds in the piece before, and since where
    for low, after in zip(edges, [*edges[1:], edges[-1]], strict=True):
        here = [(addresses, spans[1:]) for addresses, spans in boxes if spans[0].low <= low <= spans[0].high]
        piece = _canonical(here) if after > low else set()
        for rest in running.keys() - piece:
            addresses, spans = rest
            done.add((addresses, (Span(running.pop(rest), low - 1), *spans)))
        for rest in piece:
            running.setdefault(rest, low)
    return done


def _prefixes(spans: list[Span]) -> Iterator[Span]:
    """The fewest CIDR prefixes with the same union."""
    spans.sort()
    low, high = spans[0]
    for span in spans[1:]:
        if span.low > high + 1:
            yield from _split(low, high)
            low, high = span
        high = max(high, span.high)
    yield from _split(low, high)


def _split(low: int, high: int) -> Iterator[Span]:
    while low <= high:
        size = low & -low if low else 1 << 32
        while size > high - low + 1:
            size >>= 1
        yield Span(low, low + size - 1)
        low += size
