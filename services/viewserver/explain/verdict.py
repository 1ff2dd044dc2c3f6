"""The two parts, one behind the other: what is meant to happen to the packet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal

from viewserver.explain.arriving import to_instance, to_node
from viewserver.explain.leaving import is_host, leaving
from viewserver.explain.question import End, Question, Unasked, resolve
from viewserver.explain.stages import Part, Record, Stage
from viewserver.model.network import Network
from viewserver.model.objects import Key

Role = Literal["source", "destination"]
Networks = Mapping[str, Network]
"""Node → the network whose view it goes by."""


@dataclass(frozen=True, slots=True)
class Route:
    """The ends, and the nodes that judge: none where nobody is placed, or where an end is no instance."""

    question: Question
    source: End
    destination: End
    source_node: str | None
    destination_node: str | None

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(node for node in (self.source_node, self.destination_node) if node is not None))


@dataclass(frozen=True, slots=True)
class Explanation:
    route: Route
    parts: tuple[tuple[Role, Part], ...]
    """In the order in which the packet meets them; those behind a drop are there too, judged as if it had come so far."""

    @property
    def allowed(self) -> bool:
        return all(part.passes for _, part in self.parts)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Up to the one that drops it."""
        found = []
        for _, part in self.parts:
            for stage in part.stages:
                found.append(stage)
                if stage.outcome == "drops":
                    return tuple(found)
        return tuple(found)

    @property
    def deciding(self) -> Stage | None:
        """Of what is allowed: the destination's word, the source's where there is none."""
        dropping = [part for _, part in self.parts if not part.passes]
        found = [part.deciding for part in (dropping[:1] or [part for _, part in reversed(self.parts)])]
        return next((stage for stage in found if stage is not None), None)

    @property
    def seen(self) -> IPv4Address | None:
        """Whom the destination sees; None where nothing gets there."""
        return self.parts[-1][1].seen if self.allowed else None

    @property
    def facts(self) -> frozenset[Key]:
        ends = (self.route.source, self.route.destination)
        by_elastic: set[Key] = {("elastic_ip", str(end.address)) for end in ends if end.by_elastic}
        return frozenset(by_elastic).union(*(part.facts for _, part in self.parts))

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(note for _, part in self.parts for note in part.notes))


def route(network: Network, question: Question) -> Route:
    """Raises Unasked."""
    faults: dict[str, str] = {}
    ends = []
    for name, text in (("from", question.source), ("to", question.destination)):
        try:
            ends.append(resolve(network, text))
        except ValueError as wrong:
            faults[name] = str(wrong)
    if faults:
        raise Unasked(faults)
    source, destination = ends
    if "instance" not in (source.kind, destination.kind):
        why = f"neither {question.source} nor {question.destination} is an instance: Verge judges what instances send or get"
        raise Unasked({"from": why})
    if source.kind == "metadata":
        raise Unasked({"from": "nothing is sent from the metadata address: it stands for a service elsewhere"})
    source_node = _placed(network, source)
    destination_node = _placed(network, destination)
    if destination.kind == "node":
        destination_node = destination.name
    elif source_node is not None and is_host(network, source_node, destination):
        destination_node = source_node
    return Route(question, source, destination, source_node, destination_node)


def _placed(network: Network, end: End) -> str | None:
    instance = network.instance(end.name) if end.kind == "instance" and end.name else None
    return instance.node if instance else None


def explain(network: Network, question: Question) -> Explanation:
    """What is meant to happen. Raises Unasked."""
    return judge(route(network, question), network, network)


def judge(asked: Route, at_source: Network, at_destination: Network) -> Explanation:
    """With each node's part read from the network that it goes by."""
    source, destination, message = asked.source, asked.destination, asked.question.message
    parts: list[tuple[Role, Part]] = []
    seen = source.address
    if source.kind == "instance" and source.name is not None:
        part = leaving(at_source, asked.source_node, source.name, destination, message)
        parts.append(("source", part))
        seen = part.seen
    if destination.kind == "instance" and destination.name is not None:
        if (source.kind, source.name) == ("instance", destination.name) and not destination.by_elastic:
            return Explanation(asked, tuple(parts))
        node = asked.destination_node
        part = to_instance(at_destination, node, destination.name, source, destination, message, seen)
        parts.append(("destination", part))
    elif asked.destination_node is not None:
        parts.append(
            ("destination", to_node(at_destination, asked.destination_node, source, destination, message, seen))
        )
    else:
        parts.append(("destination", _beyond(destination, seen)))
    return Explanation(asked, tuple(parts))


def _beyond(destination: End, seen: IPv4Address) -> Part:
    record = Record(None, seen)
    if destination.kind == "vacant":
        facts: set[Key] = {("elastic_ip", str(destination.address))} if destination.by_elastic else set()
        record.facts |= facts
        record.drops("nobody", f"no instance has {destination.address}, so nobody answers for it")
    else:
        what = "the metadata service" if destination.kind == "metadata" else str(destination.address)
        record.passes("unjudged", f"{what} sees it come from {seen}; what becomes of it there is not Verge's to say")
    return record.part()
