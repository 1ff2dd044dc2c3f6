"""What comes of handing a view to enforcement."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal

from nodeagent.desired.node import Desired
from nodeagent.probes import Verdict
from nodeagent.state.host import Links
from verge.contract.report import Failure, Readiness
from verge.contract.view import InstanceId


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a view.

    applied   every object of it is in force
    degraded  every object is in force, or named in `failures` and closed
    rejected  nothing of it went in; what was in force before still is, and `failures` gives the kernel's reason
              (or it went in, and real packets showed that the kernel does not enforce it: see `self_test`)
    """

    state: Literal["applied", "degraded", "rejected"]
    failures: tuple[Failure, ...] = ()
    instances: Mapping[InstanceId, Readiness] = field(default_factory=dict)
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    """`plan` (with observing, where that was needed), `apply`, `verify` (with the self-test, where one was made)."""
    changes: int = 0
    """Kernel objects added, removed or set; 0 when the kernel held it all already."""
    sessions_judged_again: int = 0
    """Instances whose sessions were put to a new judgement, because something that had allowed them was withdrawn."""
    sessions_cut: int = 0
    """Flows that ended because their elastic IP has gone; about so many (`kernel.handover`)."""
    settings: tuple[str, ...] = ()
    """What was set outside the ruleset, as commands, with what was there before."""
    notes: tuple[str, ...] = ()
    """What became of operators' rules, where they could not stay as they were."""
    self_test: Verdict | None = None
    """Of this pass; None: none was made."""

    @property
    def held_but_open(self) -> bool:
        """The kernel holds the view, and real packets passed that must not."""
        return self.self_test is not None and self.self_test.state == "leaks"


@dataclass(frozen=True, slots=True)
class PlanText:
    """What would change in the kernel now, for people: one line a step, the nft transaction between what closes and what
    opens."""

    steps: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.steps)


class Clock:
    """Milliseconds spent by stage."""

    def __init__(self) -> None:
        self.spent_ms: dict[str, float] = {"plan": 0.0, "apply": 0.0, "verify": 0.0}
        self._since = perf_counter()

    def lap(self, stage: str) -> None:
        now = perf_counter()
        self.spent_ms[stage] += (now - self._since) * 1000
        self._since = now


def port_states(wanted: Desired, links: Links, bridge: str) -> dict[InstanceId, Readiness]:
    """Of each instance: is its interface there, on this bridge; is it on its way here; or can it never be?"""
    states: dict[InstanceId, Readiness] = dict.fromkeys(sorted(wanted.quarantined), "quarantined")
    states |= dict.fromkeys(sorted(wanted.prepared), "prepared")
    for name, interface in wanted.interfaces.items():
        port = links.ports.get(interface)
        states[name] = "ready" if port is not None and port.bridge == bridge else "waiting-for-interface"
    return states
