"""What `explain` says of random networks equals what packets do on a real kernel: the verdict, and whom the destination sees.

On the flat network and on separate ones, hypervisors among the ends. Each network has a lab of its own: flows and guests'
neighbour entries keep what they learnt from an earlier network, which is no business of a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from itertools import permutations
from random import Random

import pytest

from lab.flows import Flow
from lab.frames import ICMP, SCTP, TCP, UDP
from lab.topology import two
from tests.networks import generated
from tests.networks.compiled import accepted
from tests.networks.generated import begins_a_flow, messages
from tests.networks.real import Real, differences, flow
from tests.networks.routed_zones import SETTINGS
from tests.networks.words import ELASTIC, Network
from viewserver.explain.question import Message, Question
from viewserver.explain.verdict import explain

SEEDS = (101, 102)
SAMPLE = 5
"""Messages tried between two ends."""
WITH_ORIGIN = (ICMP, TCP, UDP, SCTP)
"""Of other protocols nothing tells a new flow from an answer to an earlier one in the other direction."""
FIRST_ELASTIC = IPv4Address("198.51.100.200")


def flat(chance: Random) -> Network:
    return generated.network(chance)


def separate(chance: Random) -> Network:
    """The same cloud on two networks, with elastic IPs on the public one."""
    network = generated.network(chance)
    elastic = {name: str(FIRST_ELASTIC + number) for number, name in enumerate(network.elastic)}
    return replace(network, topology=two(3), settings={**network.settings, **SETTINGS}, elastic=elastic)


def ends(network: Network) -> Iterator[tuple[str, str]]:
    """Who sends to whom. Hosts whose address depends on the way they take are no sources: the router, and a hypervisor of two
    networks by private addresses."""
    names = [one.name for one in network.vms]
    for source, destination in permutations([*names, "outside", "clc", *network.zone_of], 2):
        if source not in names and destination not in names:
            continue
        if source in network.zone_of and network.topology.is_separate:
            continue
        yield source, destination
    for source in (*names, "outside", "clc", *network.zone_of):
        yield from ((source, ELASTIC + name) for name in network.elastic)


def expectations(real: Real, network: Network, chance: Random) -> tuple[dict[Flow, bool], dict[Flow, IPv4Address]]:
    model = accepted(network.operations)
    expected: dict[Flow, bool] = {}
    seen: dict[Flow, IPv4Address] = {}
    sendable = [one for one in messages() if one.protocol in WITH_ORIGIN]
    for source, destination in ends(network):
        for sent in chance.sample(sendable, SAMPLE):
            if destination.startswith(ELASTIC) and (sent.protocol not in (TCP, UDP) or not begins_a_flow(sent)):
                continue
            said = explain(model, Question(network.end(source), network.end(destination), Message(*sent)))
            one = flow(real.lab, network, source, destination, sent)
            expected[one] = said.allowed
            is_read = sent.protocol not in (TCP, UDP) or sent.first > 0  # no stack takes port 0
            if said.seen is not None and source not in network.zone_of and is_read:
                seen[one] = said.seen
    return expected, seen


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [flat, separate])
def test_packets_do_what_explain_says(kind: Callable[[Random], Network], seed: int) -> None:
    network = kind(Random(seed))
    with Real(network) as real:
        real.enforce(network.operations)
        expected, seen = expectations(real, network, Random(seed))
        assert {True, False} <= set(expected.values())
        assert len(set(seen.values())) > len(network.elastic)
        wrong = differences(expected, seen)
        assert not wrong, "\n".join([str(network.settings), *wrong])
