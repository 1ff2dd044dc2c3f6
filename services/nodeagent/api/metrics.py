"""`GET /metrics`: what a Prometheus server scrapes. Names and meanings stand in docs/metrics-agent.md.

Everything is read when it is asked for, from what the agent counts anyway.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import get_args

from fastapi.responses import Response
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from nodeagent.agent import Agent
from nodeagent.api import wire
from nodeagent.api.status import status_of
from nodeagent.metering import Traffic
from nodeagent.session import Standing
from nodeagent.state.limits import WHAT
from verge.contract.view import InstanceId

PASSES = ("applied", "degraded", "rejected")
STAGES = ("plan", "apply", "verify")
FORMS = ("delta", "whole")


def exposed(agent: Agent, traffic: Mapping[InstanceId, Traffic], dropped: Mapping[str, int], accept: str) -> Response:
    """In the Prometheus text format, or OpenMetrics for those who accept it. `dropped` by the limit it was beyond."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(agent, traffic, dropped))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return Response(encode(registry), headers={"content-type": content_type, "cache-control": "no-store"})


class _Collected(Collector):
    def __init__(self, agent: Agent, traffic: Mapping[InstanceId, Traffic], dropped: Mapping[str, int]) -> None:
        self.agent = agent
        self.traffic = traffic
        self.dropped = dropped
        self.status = status_of(agent)

    def collect(self) -> Iterator[Metric]:
        yield from self._view()
        yield from self._passes()
        yield _counts(
            "verge_agent_limited_packets",
            "Dropped beyond a limit of an instance.",
            "limit",
            WHAT,
            Counter(self.dropped),
        )
        yield from self._server()
        yield from self._traffic()

    def _view(self) -> Iterator[Metric]:
        status = self.status
        version = GaugeMetricFamily("verge_agent_view_version", "Of the view held, and applied.", labels=["view"])
        epoch = GaugeMetricFamily("verge_agent_view_epoch", "Of the view held, and applied.", labels=["view"])
        for name, known in (("held", status.held), ("applied", status.applied)):
            if known:
                version.add_metric([name], known.version)
                epoch.add_metric([name], known.epoch)
        yield version
        yield epoch
        age = GaugeMetricFamily("verge_agent_view_age_seconds", "Since the server last confirmed or moved the view.")
        if status.view_age_s is not None:
            age.add_metric([], status.view_age_s)
        yield age
        yield _one_of("verge_agent_state", "1 for the state of enforcement.", "state", wire.STATES, status.state)
        test = status.self_test.state
        yield _one_of("verge_agent_self_test", "1 for what packets showed.", "result", wire.SELF_TESTS, test)
        instances = GaugeMetricFamily("verge_agent_instances", "Instances by readiness.", labels=["readiness"])
        counts = Counter(status.instances.values())
        for readiness in get_args(wire.Readiness):
            instances.add_metric([readiness], counts[readiness])
        yield instances
        yield GaugeMetricFamily("verge_agent_failures", "Objects that are closed and reported.", len(status.failures))
        yield GaugeMetricFamily(
            "verge_agent_checkpoint_failing",
            "1: the view cannot be kept on disk.",
            int(status.checkpoint_problem is not None),
        )

    def _passes(self) -> Iterator[Metric]:
        tally = self.agent.passes.tally
        yield _counts("verge_agent_passes", "Passes, by the state they ended in.", "state", PASSES, tally.passes)
        yield _counts("verge_agent_pass_seconds", "Spent in passes, by stage.", "stage", STAGES, tally.seconds)
        yield _counts("verge_agent_views", "Taken from the server, by form.", "form", FORMS, tally.views)
        for name, what, value in (
            ("verge_agent_changes", "Kernel objects added, removed or set.", tally.changes),
            ("verge_agent_pass_failures", "Failures, once for each pass that met them.", tally.failures),
            ("verge_agent_drift_repaired", "Changes of others that were put right.", tally.drift),
            ("verge_agent_sessions_judged_again", "Addresses whose sessions were judged again.", tally.judged_again),
            ("verge_agent_sessions_cut", "Flows that ended with their elastic IP.", tally.cut),
        ):
            yield CounterMetricFamily(name, what, value)

    def _server(self) -> Iterator[Metric]:
        server, reporting = self.status.server, self.agent.session.reporting
        standings = get_args(Standing)
        yield _one_of("verge_agent_server", "1 for the standing.", "standing", standings, server.standing)
        stale = GaugeMetricFamily("verge_agent_server_stale_seconds", "The server's word that what it serves is old.")
        stale.add_metric([], server.stale_s or 0)
        yield stale
        yield CounterMetricFamily("verge_agent_reports_sent", "Reports that the server took.", reporting.sent)
        yield CounterMetricFamily("verge_agent_reports_failed", "Attempts that it did not take.", reporting.failed)

    def _traffic(self) -> Iterator[Metric]:
        labels = ["instance_id", "direction", "scope"]
        packets = CounterMetricFamily("verge_instance_packets", "IP packets that passed.", labels=labels)
        sizes = CounterMetricFamily("verge_instance_bytes", "Bytes of IP packets that passed.", labels=labels)
        for instance, counts in sorted(self.traffic.items()):
            for (direction, scope), count in counts.items():
                packets.add_metric([instance, direction, scope], count.packets)
                sizes.add_metric([instance, direction, scope], count.bytes)
        yield packets
        yield sizes


def _one_of(name: str, what: str, label: str, values: tuple[str, ...], chosen: str | None) -> Metric:
    family = GaugeMetricFamily(name, what, labels=[label])
    for value in values:
        family.add_metric([value], int(value == chosen))
    return family


def _counts(
    name: str, what: str, label: str, values: tuple[str, ...], counts: "dict[str, float] | Counter[str]"
) -> Metric:
    family = CounterMetricFamily(name, what, labels=[label])
    for value in values:
        family.add_metric([value], counts.get(value, 0))
    return family
