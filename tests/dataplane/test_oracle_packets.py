"""Random networks on a real kernel: what packets do equals the oracle.

One lab, and each network enforced over the one before, as a cloud changes. Flows of an earlier network that a later one
forbids keep their conntrack entries (the same ICMP ids, the same SCTP ports), and must be judged again.
"""

from __future__ import annotations

from itertools import permutations
from random import Random

from lab.flows import Flow
from lab.frames import ICMP, SCTP, TCP, UDP
from tests.networks import generated
from tests.networks.generated import OUTSIDERS, messages
from tests.networks.real import Real, differences, flow
from tests.networks.words import ELASTIC, Network
from tests.oracle.objects import read
from tests.oracle.verdict import passes

SEEDS = range(6)
WITH_ORIGIN = (ICMP, TCP, UDP, SCTP)
"""Of other protocols nothing tells a new flow from an answer to one in the other direction, so between two ends only one
direction is tried, the same in all networks."""
SAMPLE = 9
"""Messages tried between two ends: all of them would be 2,600 flows a network."""


def is_masqueraded(network: Network, source: str) -> bool:
    """Two instances of a node that show its address to the same peer can be told apart by ports or ids only."""
    return network.settings.get("private_nat") == "masquerade" and source not in network.elastic


def expectations(real: Real, network: Network, chance: Random) -> dict[Flow, bool]:
    cloud = read(network.operations)
    ends = [*(one.name for one in network.vms), *OUTSIDERS]
    expected = {}
    for (a, source), (b, destination) in permutations(enumerate(ends), 2):
        if source in OUTSIDERS and destination in OUTSIDERS:
            continue
        for message in chance.sample(messages(), SAMPLE):
            if message.protocol not in WITH_ORIGIN and (
                (a < b) == bool((a + b) % 2) or is_masqueraded(network, source)
            ):
                continue
            sent = flow(real.lab, network, source, destination, message)
            expected[sent] = passes(cloud, network.end(source), network.end(destination), message)
    for source in ends:
        for name in network.elastic:
            destination = ELASTIC + name
            for message in chance.sample([one for one in messages() if one.protocol in (TCP, UDP)], SAMPLE // 3):
                sent = flow(real.lab, network, source, destination, message)
                expected[sent] = passes(cloud, network.end(source), network.end(destination), message)
    return expected


def test_packets_do_what_the_oracle_says() -> None:
    with Real(generated.network(Random(SEEDS[0]))) as real:
        for seed in SEEDS:
            network = generated.network(Random(seed))
            real.enforce(network.operations)
            expected = expectations(real, network, Random(seed))
            assert {True, False} <= set(expected.values())
            assert differences(expected) == [], f"seed {seed}"
