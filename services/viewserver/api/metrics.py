"""`GET /metrics`: what a Prometheus server scrapes. Names and meanings stand in docs/metrics.md.

Everything is read when it is asked for, from what the server counts anyway; nothing is measured for the scrape's sake. A
registry of its own: the library's global one would collect whatever a dependency puts there.
"""

from collections.abc import Iterator, Mapping

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, Metric, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from viewserver.api.context import CallerOf, Server, ServerOf
from viewserver.model.convergence import STATES, Cloud

router = APIRouter(tags=["service"])

Answers = Mapping[str, Mapping[int, int]]
"""By route, by status."""
QUANTILES = {"p50": "0.5", "p90": "0.9", "p99": "0.99", "max": "1"}
disable_created_metrics()  # type: ignore[no-untyped-call] # a series more for each histogram, and nobody asks for it


@router.get(
    "/metrics",
    summary="Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def get_metrics(request: Request, server: ServerOf, caller: CallerOf) -> Response:
    """In the Prometheus text format, or OpenMetrics for those who accept it. docs/metrics.md says what each name means."""
    caller.may("operator")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(
        _Collected(server, request.app.state.answers, server.replica.standings.cloud(server.replica.clock.now(), 0))
    )
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), headers={"content-type": content_type, "cache-control": "no-store"})


class _Collected(Collector):
    def __init__(self, server: Server, answers: Answers, cloud: Cloud) -> None:
        self.server = server
        self.answers = answers
        self.cloud = cloud

    def collect(self) -> Iterator[Metric]:
        yield from self._network()
        yield from self._nodes()
        yield from self._traffic()
        yield from self.server.updates.commit_seconds.collect()
        yield from self.server.replica.convergence_seconds.collect()
        yield from self.server.replica.observed.collect()

    def _network(self) -> Iterator[Metric]:
        replica = self.server.replica
        yield GaugeMetricFamily("verge_revision", "The head revision, as this replica holds it.", replica.held.revision)
        yield GaugeMetricFamily("verge_epoch", "Raised when history was rewound.", replica.held.epoch)
        yield GaugeMetricFamily(
            "verge_stale_seconds",
            "How long this replica has not known whether it is at the head.",
            replica.stale_seconds(),
        )
        yield GaugeMetricFamily(
            "verge_fences_waiting", "Addresses held back from their new node.", len(replica.held.network.fenced)
        )
        yield CounterMetricFamily(
            "verge_changes", "Changes committed or followed by this replica.", replica.changes_taken_in
        )

    def _nodes(self) -> Iterator[Metric]:
        nodes = GaugeMetricFamily("verge_nodes", "Nodes by state.", labels=["state"])
        everywhere = self.cloud.census
        for state in STATES:
            nodes.add_metric([state], everywhere.states.get(state, 0))
        yield nodes
        marks = everywhere.to_wire(self.server.replica.clock.now())["lag"]
        for name, what, values in (
            ("verge_lag_versions", "Changes not yet applied, over the nodes.", marks["versions"]),
            ("verge_lag_seconds", "Age of the oldest of them, over the nodes.", marks["seconds"]),
        ):
            lag = GaugeMetricFamily(name, what, labels=["quantile"])
            for mark, value in values.items():
                lag.add_metric([QUANTILES[mark]], value or 0)
            yield lag

    def _traffic(self) -> Iterator[Metric]:
        replica = self.server.replica
        waits = GaugeMetricFamily("verge_waits_open", "Requests that are held open.", labels=["kind"])
        waits.add_metric(["view"], len(replica.views))
        waits.add_metric(["barrier"], replica.barriers)
        waits.add_metric(["events"], len(self.server.events))
        yield waits
        yield CounterMetricFamily(
            "verge_feed_seconds", "Processor time that watching live has cost.", self.server.events.spent_s
        )
        answers = CounterMetricFamily("verge_answers", "Answers given.", labels=["route", "status"])
        for route, counts in self.answers.items():
            for status, count in sorted(counts.items()):
                answers.add_metric([route, str(status)], count)
        yield answers
        reports = CounterMetricFamily("verge_reports", "Reports stored by this replica.", labels=["state"])
        for state in ("applied", "degraded", "rejected", "pinned"):
            reports.add_metric([state], self.server.reports.stored[state])
        yield reports
