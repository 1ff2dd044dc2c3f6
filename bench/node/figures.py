"""A measured figure beside what was promised of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def is_met(self) -> bool:
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    @property
    def target(self) -> str:
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return f"≥ {self.at_least:g}" if self.at_least is not None else ""

    def line(self) -> str:
        mark = "✓" if self.is_met else "✗"
        return f"  {mark if self.target else ' '} {self.name:<66}{self.value:9.3g} {self.unit:<4}{self.target}"

    def json(self) -> dict[str, Any]:
        bounds = {"at_most": self.at_most, "at_least": self.at_least}
        stated = {name: bound for name, bound in bounds.items() if bound is not None}
        return {"name": self.name, "value": self.value, "unit": self.unit, **stated, "met": self.is_met}
