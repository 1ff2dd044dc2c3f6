"""Who has applied what: the standing of each node, of one change, and of the whole cloud.

Versions compare within one epoch only; what a node applied before history was rewound counts as nothing. Lag in versions
is the number of changes that affected the node and that it has not applied; lag in seconds is the age of the oldest of
them, by Postgres's clock. Pure: the time is an argument.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from math import ceil
from typing import Any, Final, Literal

from verge.contract.report import Failure, Readiness
from viewserver.model.change import Change

State = Literal["converged", "lagging", "degraded", "rejected", "silent", "never-seen"]
STATES: Final[tuple[State, ...]] = ("converged", "lagging", "degraded", "rejected", "silent", "never-seen")

MARKS: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
LAGGARDS: Final = 100
"""Named at most, of a whole cloud."""

SECTIONS: Final = {
    "network": "network",
    "zone": "zones",
    "node": "nodes",
    "group": "groups",
    "instance": "instances",
    "elastic_ip": "elastic_ips",
}
"""How a report names an object of a kind: section, slash, id."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a node last reported, as it is stored."""

    epoch: int
    applied: int
    """The version in force in its kernel; 0 for none."""
    state: Literal["applied", "degraded", "rejected", "pinned"]
    attempted: int | None
    failures: tuple[Failure, ...]
    instances: dict[str, Readiness]
    at: datetime
    """When it was stored, by Postgres's clock."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A change that affects a node and that it has not applied yet."""

    revision: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server knows of one node."""

    node: str
    zone: str
    epoch: int
    version: int
    """The revision at which its view last changed."""
    pending: Sequence[Pending]
    """Ascending."""
    hosts_instances: bool
    told: Told | None
    silent: bool
    """It holds no connection and has not been heard of for longer than the grace."""

    @property
    def applied(self) -> int:
        return self.told.applied if self.told is not None and self.told.epoch == self.epoch else 0


@dataclass(frozen=True, slots=True)
class Standing:
    node: str
    zone: str
    state: State
    version: int
    applied_version: int
    lag_versions: int
    lag_seconds: float
    reason: str | None
    matters: bool = True
    """False for a node that was never seen and hosts no instance: it is listed apart and holds up nothing."""

    def to_wire(self) -> dict[str, Any]:
        return {
            "node": self.node,
            "zone": self.zone,
            "state": self.state,
            "version": self.version,
            "applied_version": self.applied_version or None,
            "lag_versions": self.lag_versions,
            "lag_seconds": round(self.lag_seconds, 3),
            "reason": self.reason,
        }


def standing(facts: Facts, now: datetime) -> Standing:
    """The node's state now. A silent node is called silent whatever it had applied: nobody knows what it does."""
    behind = facts.pending
    lag = lag_seconds(behind[0].at if behind else None, now)
    state, reason = _state(facts)
    matters = facts.told is not None or facts.hosts_instances
    return Standing(facts.node, facts.zone, state, facts.version, facts.applied, len(behind), lag, reason, matters)


def last_known(facts: Facts) -> State:
    """The node's state as it was when last heard of, whether or not it is silent now."""
    told = facts.told
    if told is None:
        return "never-seen"
    if told.state == "rejected":
        return "rejected"
    if facts.applied < facts.version:
        return "lagging"
    return "degraded" if told.state == "degraded" else "converged"


def _state(facts: Facts) -> tuple[State, str | None]:
    told, state = facts.told, last_known(facts)
    if told is None:
        return state, "no agent of this name has ever reported"
    if facts.silent:
        return "silent", f"not heard of since {told.at.isoformat(timespec='milliseconds')}"
    failed = "; ".join(f"{item.object}: {item.reason}" for item in told.failures[:3])
    if state == "rejected":
        return state, failed or "gave no reason"
    if state == "lagging":
        return state, f"applied {facts.applied or 'nothing'}, its view is at {facts.version}"
    return state, failed if state == "degraded" else None


@dataclass(frozen=True, slots=True)
class Barrier:
    """Whether one change is in force on every node that it affects."""

    revision: int
    converged: bool
    affected: int
    applied: int
    laggards: tuple[Standing, ...]
    """Those that hold it up, or the first of them."""
    laggards_total: int
    exceptions: tuple[str, ...]
    """Nodes that applied it but had to close an object which it touched."""
    unseen: tuple[str, ...]
    """Nodes it affects that were never seen and host no instance; they hold up nothing."""
    fences: tuple[tuple[str, str], ...] = ()
    """Addresses that it gave to a new node, and the node that each is still waiting for."""
    caused: tuple[int, ...] = ()
    """Changes that complete it; converged means that these are in force as well."""

    def to_wire(self) -> dict[str, Any]:
        return {
            "revision": self.revision,
            "converged": self.converged,
            "affected": self.affected,
            "applied": self.applied,
            "laggards": [item.to_wire() for item in self.laggards],
            "laggards_total": self.laggards_total,
            "exceptions": list(self.exceptions),
            "never_seen": list(self.unseen),
            "fences": [{"address": address, "waits_for": node} for address, node in self.fences],
            "caused": list(self.caused),
        }


def settled(revision: int, nodes: Iterable[Facts], now: datetime) -> Barrier:
    """For an update that changed nothing at `revision`: whether these nodes, which what it says concerns, have applied
    their views. Says no while the earlier change that made things so is not in force."""
    found = [(facts, standing(facts, now)) for facts in nodes]
    mattering = [(facts, state) for facts, state in found if state.matters]
    late = tuple(state for facts, state in mattering if facts.applied < facts.version)
    unseen = tuple(facts.node for facts, state in found if not state.matters)
    applied = len(mattering) - len(late)
    return Barrier(revision, not late, len(mattering), applied, late, len(late), (), unseen)


def barrier(
    revision: int,
    affected: Iterable[Facts],
    touched: frozenset[str],
    now: datetime,
    *,
    quorum: float = 1.0,
    allow_degraded: bool = False,
) -> Barrier:
    """`affected` are the nodes that the change names and that still exist; `touched` are its objects as reports name them."""
    applied, total = 0, 0
    laggards: list[Standing] = []
    exceptions: list[str] = []
    unseen: list[str] = []
    for facts in affected:
        now_standing = standing(facts, now)
        if not now_standing.matters:
            unseen.append(facts.node)
            continue
        total += 1
        told = facts.told
        # Failures of an attempt that was rejected say nothing of the version in force.
        failed = told is not None and told.state != "rejected" and any(item.object in touched for item in told.failures)
        if facts.applied >= revision and failed:
            exceptions.append(facts.node)
        if facts.applied >= revision and (allow_degraded or not failed):
            applied += 1
        else:
            laggards.append(now_standing)
    converged = applied >= needed(total, quorum)
    return Barrier(
        revision, converged, total, applied, tuple(laggards), len(laggards), tuple(exceptions), tuple(unseen)
    )


def needed(total: int, quorum: float) -> int:
    """How many of so many nodes are the share asked for."""
    return ceil(total * quorum - 1e-9)


def touched_objects(change: Change) -> frozenset[str]:
    """The change's objects as failures name them."""
    return frozenset(f"{SECTIONS[item.kind]}/{item.id}" for item in change.operations if item.kind in SECTIONS)


@dataclass(slots=True)
class Census:
    """Nodes counted: by state; and those that matter by how many versions they are behind, and by when the oldest change
    that they lack was committed (None: they lack none)."""

    states: Counter[State] = field(default_factory=Counter)
    behind: Counter[int] = field(default_factory=Counter)
    since: Counter[datetime | None] = field(default_factory=Counter)

    def to_wire(self, now: datetime) -> dict[str, Any]:
        counts = {state.replace("-", "_"): self.states.get(state, 0) for state in STATES}
        seconds: Counter[float] = Counter()
        for at, number in self.since.items():
            seconds[round(lag_seconds(at, now), 3)] += number
        return {
            "nodes": {"total": self.states.total(), **counts},
            "lag": {"versions": _marks(self.behind), "seconds": _marks(seconds)},
        }

    def __add__(self, other: "Census") -> "Census":
        return Census(self.states + other.states, self.behind + other.behind, self.since + other.since)


@dataclass(frozen=True, slots=True)
class Cloud:
    """The whole cloud's convergence with its head."""

    converged: bool
    """Every node that matters has applied its view, and none of those that are heard of had to close an object."""
    zones: Mapping[str, Census]
    laggards: tuple[Standing, ...]
    """Those that matter and are in another state than converged: the furthest behind first, as many as were asked for."""
    laggards_total: int
    never_seen: tuple[str, ...]
    """Of the nodes that do not matter, as many."""

    @property
    def census(self) -> Census:
        """Of all zones."""
        return sum(self.zones.values(), Census())

    def to_wire(self, revision: int, epoch: int, now: datetime) -> dict[str, Any]:
        """As `GET /v1/convergence` answers it."""
        return {
            "revision": revision,
            "epoch": epoch,
            "converged": self.converged,
            **self.census.to_wire(now),
            "zones": {zone: census.to_wire(now) for zone, census in sorted(self.zones.items())},
            "laggards": [item.to_wire() for item in self.laggards],
            "laggards_total": self.laggards_total,
            "never_seen": list(self.never_seen),
        }


def lag_seconds(since: datetime | None, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds()) if since is not None else 0.0


def _marks(counted: "Mapping[int, int] | Mapping[float, int]") -> dict[str, float | None]:
    """The percentiles of values that stand as often as is counted."""
    ranked = sorted(counted.items())
    ends = list(accumulate(number for _, number in ranked))
    total = ends[-1] if ends else 0
    return {
        name: ranked[bisect_left(ends, max(1, ceil(share * total)))][0] if total else None
        for name, share in MARKS.items()
    }


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """Nearest rank: each figure is one that was observed."""
    return ranked_percentiles(sorted(values))


def ranked_percentiles(ranked: Sequence[float]) -> dict[str, float | None]:
    """Of values in ascending order."""
    if not ranked:
        return dict.fromkeys(MARKS)
    return {name: ranked[max(0, ceil(share * len(ranked)) - 1)] for name, share in MARKS.items()}
