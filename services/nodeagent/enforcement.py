"""View in, kernel out: the one door between the agent's shell and everything that touches the kernel.

    desired(view) ──┐
                    ├─▶ plan ─▶ bridge flag, port settings ─▶ one nft transaction ─▶ verify
    believed ───────┘                                            │
       ▲  observe, when the kernel's generation moved            └─ refused: nothing went in, the last good stays
       └──────────────────────────────────────────────────────────── what the kernel now holds

Blocking, and for one thread at a time: the shell calls it from a worker thread.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from nodeagent.state.host import HostFacts
from verge.contract.report import Failure, Readiness
from verge.contract.view import InstanceId, View


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a view.

    applied   every object of it is in force
    degraded  every object is in force, or named in `failures` and closed
    rejected  nothing of it went in; what was in force before still is, and `failures` gives the kernel's reason
    """

    state: Literal["applied", "degraded", "rejected"]
    failures: tuple[Failure, ...] = ()
    instances: Mapping[InstanceId, Readiness] = field(default_factory=dict)
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    """`plan` (with observing, where that was needed), `apply`, `verify`."""
    changes: int = 0
    """Kernel objects added, removed or set; 0 when the kernel held it all already."""
    sessions_judged_again: int = 0
    """Instances whose sessions were put to a new judgement, because something that had allowed them was withdrawn."""


@dataclass(frozen=True, slots=True)
class PlanText:
    """What would change in the kernel now, for people: one line a step, the nft transaction last."""

    steps: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.steps)


class Enforcement:
    """Makes the kernel match views, and remembers what the kernel holds so that nothing is read twice."""

    generation: int
    """The last policy generation used; keep it in the checkpoint and hand it to the next `Enforcement`."""

    def __init__(self, facts: HostFacts, *, last_generation: int = 0) -> None:
        """Touches nothing. Uses the network namespace of the thread that makes it."""
        raise NotImplementedError

    def apply(self, view: View | None, *, clock_seconds: int) -> Outcome:
        """Make the kernel match `view`; changes only what differs. `clock_seconds` (of the epoch) seeds policy
        generations, so that none is used twice for an address even when every memory was lost.

        None means that nothing is known: where our tables are absent the closed skeleton goes in; where they are
        present they stay as they are, since they are the last good state of an agent that died.
        """
        raise NotImplementedError

    def plan(self, view: View | None) -> PlanText:
        """What `resync` would change now. Nothing is touched."""
        raise NotImplementedError

    def resync(self, view: View | None, *, clock_seconds: int) -> Outcome:
        """Like `apply`, after reading back everything that is ours."""
        raise NotImplementedError

    def moved(self) -> bool:
        """Has somebody else changed a ruleset or our bridge's flag since our last commit? Cheap: call it each second.
        Any change by anyone counts, so True means `resync` (which may find nothing to do), not yet that ours differs."""
        raise NotImplementedError

    def readiness(self, view: View | None) -> dict[InstanceId, Readiness]:
        """Per instance of `view`: is its interface there, on our bridge, or can it never be? Call `apply` when an
        answer changed: a port that shows up needs its settings."""
        raise NotImplementedError

    def ruleset(self, view: View | None) -> tuple[str, str]:
        """(desired, observed) as nft text. Policy generations are in the observed one only."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of sockets. What is in the kernel stays."""
        raise NotImplementedError
