"""What a node tells the view server about the view it enforces.

    {"applied": {"etag"}, "attempted": {"etag"} | null, "state": "applied" | "degraded" | "rejected" | "pinned",
     "failures": [{"object", "stage", "reason"}], "instances": {"i-…": "ready" | …}, "sequence": 812,
     "agent": {"version", "boot_id"}, "timings_ms": {"fetch", "plan", "apply", "verify"},
     "preflight": [{"check", "ok", "severity", "found", "needed", "remedy"}],
     "drift": [{"at", "what", "culprit", "repaired_ms"}], …}

Only `applied` and `state` are required. *Applied* names the version whose every object is in force, or is listed in
`failures` and closed (then the state is `degraded`); `rejected` means that nothing of `attempted` went in.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from verge.contract.etag import ETag

State = Literal["applied", "degraded", "rejected", "pinned"]
Severity = Literal["failing", "warning"]
Readiness = Literal["ready", "waiting-for-interface", "prepared", "quarantined"]
"""Of an instance's port. `prepared`: closed, and everything that its cut-over needs is in force by name."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One object that the node could not make true and has closed instead."""

    object: str
    """`instances/i-1a2b3c4d`: section and id."""
    stage: str
    reason: str

    def to_wire(self) -> dict[str, str]:
        return {"object": self.object, "stage": self.stage, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Check:
    """Something that the host must be like, and what it is like."""

    check: str
    """Its name: `bridge`, `forward`, …"""
    ok: bool
    found: str
    needed: str = ""
    remedy: str = ""
    """A command for a shell wherever one will do; what is for people stands behind a `#`."""
    severity: Severity = "failing"
    """What it is if not ok: `failing` keeps new views out, `warning` does not."""

    @property
    def blocks(self) -> bool:
        return not self.ok and self.severity == "failing"

    def to_wire(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "ok": self.ok,
            "severity": self.severity,
            "found": self.found,
            "needed": self.needed,
            "remedy": self.remedy,
        }


@dataclass(frozen=True, slots=True)
class Drift:
    """What somebody else changed of what is enforced, and the agent repaired."""

    at: datetime
    """When it was noticed, by the node's clock; with a time zone."""
    what: str
    culprit: str | None
    """Process name and pid, where the kernel tells."""
    repaired_ms: float
    """From the notice to the end of the repair."""

    def to_wire(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "what": self.what,
            "culprit": self.culprit,
            "repaired_ms": self.repaired_ms,
        }


@dataclass(frozen=True, slots=True)
class Report:
    applied: ETag | None
    """None: nothing yet, as on a node whose first view was rejected."""
    state: State
    attempted: ETag | None = None
    failures: tuple[Failure, ...] = ()
    instances: dict[str, Readiness] = field(default_factory=dict)
    sequence: int | None = None
    """Ascending within one boot of the agent; an older one is ignored."""
    agent_version: str | None = None
    boot_id: str | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)
    kernel_digest: str | None = None
    sessions_cut: int = 0
    drift: tuple[Drift, ...] = ()
    """The latest few, oldest first."""
    preflight: tuple[Check, ...] = ()
    """What the host lacks, and in one more entry how much is as it should be; none: nobody has looked. All of them are in
    the agent's own API: a report is stored for every node at each change, and is to stay small."""

    def to_wire(self) -> dict[str, Any]:
        return {
            "applied": {"etag": str(self.applied)} if self.applied else None,
            "attempted": {"etag": str(self.attempted)} if self.attempted else None,
            "state": self.state,
            "failures": [failure.to_wire() for failure in self.failures],
            "instances": self.instances,
            "sequence": self.sequence,
            "agent": {"version": self.agent_version, "boot_id": self.boot_id},
            "timings_ms": self.timings_ms,
            "kernel_digest": self.kernel_digest,
            "sessions_cut": self.sessions_cut,
            "preflight": [one.to_wire() for one in self.preflight],
            "drift": [one.to_wire() for one in self.drift],
        }
