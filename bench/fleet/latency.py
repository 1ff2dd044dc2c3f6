"""Percentiles of what was measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Marks:
    p50: float
    p99: float
    max: float
    count: int

    def row(self) -> dict[str, float]:
        return {name: round(value, 3) for name, value in asdict(self).items()}


def marks(values: Iterable[float]) -> Marks:
    """Raises ValueError for none."""
    ranked = sorted(values)
    if not ranked:
        raise ValueError("nothing was measured")
    return Marks(_at(ranked, 0.5), _at(ranked, 0.99), ranked[-1], len(ranked))


def _at(ranked: list[float], share: float) -> float:
    """The smallest value that so many of all do not exceed."""
    return ranked[min(len(ranked) - 1, max(0, -int(-share * len(ranked) // 1) - 1))]
