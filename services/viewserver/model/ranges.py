"""Sets of whole numbers as sorted, disjoint, inclusive ranges: addresses and ports. Pure."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

Range = tuple[int, int]
Ranges = tuple[Range, ...]
"""Ascending, and no two of them touch."""


def merged(ranges: Iterable[Range]) -> Ranges:
    found: list[Range] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)


def without(ranges: Ranges, taken: Ranges) -> Ranges:
    """What is in the first and not in the second."""
    left: list[Range] = []
    at = 0
    for low, high in ranges:
        while at < len(taken) and taken[at][1] < low:
            at += 1
        start, index = low, at
        while index < len(taken) and taken[index][0] <= high:
            if taken[index][0] > start:
                left.append((start, taken[index][0] - 1))
            start = taken[index][1] + 1
            index += 1
        if start <= high:
            left.append((start, high))
    return tuple(left)


def segments(ranges: Sequence[Range]) -> list[Range]:
    """The pieces between all their ends: each range is a union of whole pieces. Those that no range covers are among them."""
    cuts = sorted({low for low, _ in ranges} | {high + 1 for _, high in ranges})
    return [(low, after - 1) for low, after in pairwise(cuts)]
