"""A network on this machine's kernel: its lab, its views enforced on every hypervisor, and packets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from ipaddress import IPv4Address
from types import TracebackType
from typing import Self

from lab.build import Lab
from lab.flows import Flow, Outcome
from lab.host import Host
from lab.probes import probe
from tests.dataplane.cloud import Node, facts_of
from tests.networks.compiled import views
from tests.networks.words import Line, Network
from tests.oracle.message import ICMP, TCP, UDP, Message
from tests.oracle.objects import Operation


class Real:
    """A context manager. `enforce` puts a network's rules, or what came of them, into the hypervisors' kernels."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._open = ExitStack()
        self.lab = self._open.enter_context(Lab(network.topology))
        with self._open.pop_all() as unfinished:
            plug(self.lab, network)
            self.nodes = {host.name: Node(host, facts_of(network.topology)) for host in self.lab.nodes}
            for node in self.nodes.values():
                unfinished.callback(node.enforcement.close)
            self._open = unfinished.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    def enforce(self, operations: Iterable[Operation]) -> None:
        for name, view in views(operations).items():
            outcome = self.nodes[name].apply(view)
            assert outcome.state == "applied", f"{name}: {outcome}"


def plug(lab: Lab, network: Network) -> None:
    """Every VM of the network, also those that the cloud has not placed."""
    for one in network.vms:
        lab.plug(one.node, interface=one.interface, mac=one.mac, ip=one.address)


def host(lab: Lab, network: Network, name: str) -> Host:
    found = network.by_name(name)
    return lab[found.interface if found else name]


def flow(lab: Lab, network: Network, source: str, destination: str, message: Message) -> Flow:
    src, dst, address = host(lab, network, source), host(lab, network, destination), network.address(destination)
    match message.protocol:
        case number if number == TCP:
            return Flow.tcp(src, dst, address, message.first)
        case number if number == UDP:
            return Flow.udp(src, dst, address, message.first)
        case number if number == ICMP:
            return Flow.icmp(src, dst, address, message.first, message.second)
        case number:
            return Flow.raw(src, dst, address, number)


def reached(sent: Flow, outcome: Outcome) -> bool:
    """No stack takes port 0; that it refuses shows that the packet reached it, for what is dropped is dropped in silence."""
    if sent.protocol in (TCP, UDP) and sent.port == 0:
        return isinstance(outcome.error, ConnectionRefusedError)
    return outcome.passed


def replied(sent: Flow, outcome: Outcome) -> bool:
    """Did the reply pass, where the receiving stack gives one?"""
    return outcome.answered or not sent.has_answer or sent.port == 0


def differences(
    expected: Mapping[Flow, bool], seen: Mapping[Flow, IPv4Address] | None = None, *, wait: float = 0.3
) -> list[str]:
    """All flows in one batch, the passing ones as controls of the blocked ones; what is not as expected, a line each. `seen`
    says of some whose address the destination must see."""
    seen = seen or {}
    outcomes = probe(expected, awaited=[sent for sent, passes in expected.items() if passes], wait=wait)
    wrong = []
    for sent, passes in expected.items():
        outcome = outcomes[sent]
        if reached(sent, outcome) != passes:
            wrong.append(f"{sent}: {'blocked, should pass' if passes else 'passed, should be blocked'}")
        elif passes and not replied(sent, outcome):
            wrong.append(f"{sent}: passed, but its reply was blocked")
        elif passes and outcome.seen != seen.get(sent, outcome.seen):
            wrong.append(f"{sent}: passed as {outcome.seen}, should as {seen[sent]}")
    return wrong


def table_differences(lab: Lab, network: Network) -> list[str]:
    """The network's whole table, tried with real packets."""
    sent: dict[Flow, Line] = {
        flow(lab, network, line.source, line.destination, line.message): line for line in network.reach
    }
    assert len(sent) == len(network.reach), "two lines of the table say the same"
    seen = {one: network.address(line.seen) for one, line in sent.items() if line.seen}
    wrong = differences({one: line.passes for one, line in sent.items()}, seen)
    return [f"{fault} — {line.why}" for fault in wrong for one, line in sent.items() if fault.startswith(f"{one}: ")]
