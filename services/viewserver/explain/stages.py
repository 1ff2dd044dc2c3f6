"""What happens to a packet, stage by stage, each on a node; and what one node makes of it in all."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any, Literal

from viewserver.explain.judging import Judged
from viewserver.model.objects import Key

Check = Literal[
    "port", "egress", "translation", "spoofing", "host", "ingress", "metadata", "dhcp", "nobody", "unjudged"
]
"""
    port         the instance's port: is there one, and is it open?
    egress       rules of the source's groups, at the source's port
    translation  of the destination to an instance, of the source to an elastic IP or to a node's address
    spoofing     private addresses on a separate public network
    host         what nodes and instances may send each other: vm_to_host, host_to_vm
    ingress      rules of the destination's groups, or same_group_traffic, behind all translation
    metadata     169.254.169.254, which no group speaks of
    dhcp         messages to a DHCP server, which no group speaks of
    nobody       no instance has that address
    unjudged     behind the last node that judges
"""
Outcome = Literal["passes", "drops", "translates"]


@dataclass(frozen=True, slots=True)
class Stage:
    node: str | None
    """Where it happens; None: nowhere, or beyond what Verge enforces."""
    check: Check
    outcome: Outcome
    text: str
    judged: Judged | None = None

    def to_wire(self) -> dict[str, Any]:
        wire: dict[str, Any] = {"node": self.node, "check": self.check, "outcome": self.outcome, "text": self.text}
        if self.judged is not None:
            wire["rule"] = self.judged.ruled.to_wire() if self.judged.ruled else None
            wire["membership"] = [link.to_wire() for link in self.judged.chain]
            wire["near_misses"] = [miss.to_wire() for miss in self.judged.misses]
        return wire


@dataclass(frozen=True, slots=True)
class Part:
    """One node's whole share, or what is so without any node."""

    node: str | None
    stages: tuple[Stage, ...]
    seen: IPv4Address
    """The packet's source address behind the last stage."""
    facts: frozenset[Key] = field(default=frozenset())
    """What it was read from."""
    notes: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        return all(stage.outcome != "drops" for stage in self.stages)

    @property
    def deciding(self) -> Stage | None:
        """The stage that drops the packet, else the last one that judged it by rules or settings."""
        dropping = next((stage for stage in self.stages if stage.outcome == "drops"), None)
        judging = [stage for stage in self.stages if stage.check in ("egress", "ingress", "host", "metadata")]
        return dropping or (judging[-1] if judging else None)


@dataclass(slots=True)
class Record:
    """A part in the making."""

    node: str | None
    seen: IPv4Address
    stages: list[Stage] = field(default_factory=list)
    facts: set[Key] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def passes(self, check: Check, text: str, judged: Judged | None = None) -> None:
        self._add(check, "passes", text, judged)

    def translates(self, text: str) -> None:
        self._add("translation", "translates", text, None)

    def drops(self, check: Check, text: str, judged: Judged | None = None) -> Part:
        self._add(check, "drops", text, judged)
        return self.part()

    def judges(self, check: Check, judged: Judged) -> bool:
        self._add(check, "passes" if judged.passes else "drops", judged.text, judged)
        return judged.passes

    def _add(self, check: Check, outcome: Outcome, text: str, judged: Judged | None) -> None:
        self.stages.append(Stage(self.node, check, outcome, text, judged))
        self.facts |= judged.facts if judged else frozenset()

    def part(self) -> Part:
        return Part(self.node, tuple(self.stages), self.seen, frozenset(self.facts), tuple(self.notes))
