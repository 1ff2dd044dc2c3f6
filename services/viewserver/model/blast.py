"""How far an update reaches, and how far it may. Pure.

A limit is `N`, `P%` of all there are, or both as `N,P%`: whichever is more, so that it means something to small clouds and to
large ones.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from viewserver.model.ingress import Loss


@dataclass(frozen=True, slots=True)
class Limit:
    number: int
    percent: int

    @classmethod
    def parse(cls, text: str) -> "Limit":
        """Raises ValueError."""
        numbers: list[int] = []
        percents: list[int] = []
        for part in text.split(","):
            found = re.fullmatch(r"(\d{1,9})(%?)", part)
            if found is None or (found[2] and int(found[1]) > 100):
                raise ValueError(f"{text!r} is no limit: a number, a percentage, or both as 10,10%")
            (percents if found[2] else numbers).append(int(found[1]))
        if max(len(numbers), len(percents)) > 1:
            raise ValueError(f"{text!r} is no limit: one number and one percentage at most")
        return cls(max(numbers, default=0), max(percents, default=0))

    def of(self, total: int) -> int:
        return max(self.number, total * self.percent // 100)


@dataclass(frozen=True, slots=True)
class Limits:
    nodes: Limit | None = None
    """Whose view an update may change."""
    loss: Limit | None = None
    """Instances that may lose ingress, those removed included."""

    def exceeded(self, reach: "Reach") -> list[str]:
        """What is too much, in words; nothing where all is within the limits."""
        found = []
        for limit, count, total, what in (
            (self.nodes, reach.nodes, reach.nodes_total, "nodes would be affected"),
            (self.loss, len(reach.losses), reach.instances_total, "instances would lose ingress"),
        ):
            if limit is not None and count > limit.of(total):
                found.append(f"{count} of {total} {what}; the limit is {limit.of(total)}")
        return found


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Reach:
    """Of one update."""

    nodes: int
    nodes_total: int
    instances_total: int
    """Placed ones; one that is migrating counts on both nodes."""
    losses: Sequence[Loss]

    def to_wire(self) -> dict[str, Any]:
        return {
            "nodes_total": self.nodes_total,
            "instances_total": self.instances_total,
            "losing_ingress": [loss.to_wire() for loss in self.losses],
        }
