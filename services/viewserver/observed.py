"""What reports and changes tell over time, for whoever draws graphs: time by stage, repairs, sessions cut, how long fences held.

Each replica counts the reports that it stored, so the sum over the replicas counts every report once. Time until a node was
told and until its report was stored is by Postgres's clock; time within the node by its own monotonic one, as it reports it.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from prometheus_client import Histogram, Metric
from prometheus_client.core import CounterMetricFamily

from verge.contract.report import Report

STAGE_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
FENCE_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 60, 300, 3600, 86400)
AGENT_STAGES: Final = ("fetch", "plan", "apply", "verify")


class Observed:
    def __init__(self) -> None:
        self.stages = Histogram(
            "verge_stage_seconds",
            "What each stage of a node's convergence takes.",
            ["stage"],
            registry=None,
            buckets=STAGE_BUCKETS,
        )
        self.fences = Histogram(
            "verge_fence_wait_seconds",
            "From an address's withdrawal until it was granted to its new node.",
            registry=None,
            buckets=FENCE_BUCKETS,
        )
        for stage in ("told", *AGENT_STAGES, "reported"):
            self.stages.labels(stage)
        self._told: dict[str, tuple[int, datetime]] = {}
        """By node: the version that it was last told, and has not reported yet."""
        self._drift = 0
        self._cut = 0

    def reported(self, node: str, report: Report, seen: datetime) -> None:
        """A report was stored."""
        told = self._told.get(node)
        if told is not None and report.applied is not None and report.applied.version >= told[0]:
            del self._told[node]
            self.stages.labels("reported").observe(max(0.0, (seen - told[1]).total_seconds()))
        self._drift += len(report.drift)
        self._cut += report.sessions_cut
        for stage, spent in report.timings_ms.items():
            if stage in AGENT_STAGES:
                self.stages.labels(stage).observe(spent / 1000)

    def answered(self, node: str, version: int, committed: datetime | None, now: datetime) -> None:
        """A node was told, for the first time, a view that a change made at `committed`; None if that is not known any more."""
        self._told[node] = (version, now)
        if committed is not None:
            self.stages.labels("told").observe(max(0.0, (now - committed).total_seconds()))

    def lifted(self, withdrawn: Iterable[datetime], granted: datetime) -> None:
        """Fences were lifted."""
        for at in withdrawn:
            self.fences.observe(max(0.0, (granted - at).total_seconds()))

    def collect(self) -> Iterator[Metric]:
        yield from self.stages.collect()
        yield from self.fences.collect()
        yield CounterMetricFamily("verge_drift_repaired", "Repairs of what others had changed on nodes.", self._drift)
        yield CounterMetricFamily("verge_sessions_cut", "Flows that nodes ended with their elastic IP.", self._cut)
