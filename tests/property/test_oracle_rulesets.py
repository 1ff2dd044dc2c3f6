"""What the compiled rulesets let through, from the cloud's operations to both ends' nodes, equals the oracle."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.networks import generated
from tests.networks.all_networks import NETWORKS
from tests.networks.generated import OUTSIDERS, begins_a_flow, messages
from tests.networks.traced import Traced
from tests.networks.words import ELASTIC, Network
from tests.oracle.objects import read
from tests.oracle.verdict import passes

MESSAGES = messages()


def pairs(network: Network) -> list[tuple[str, str]]:
    """Every two VMs, and every VM with those who are none, both ways; and all of them to every elastic IP."""
    names = [one.name for one in network.vms]
    everyone = (*names, *OUTSIDERS)
    found = [(a, b) for a in everyone for b in everyone if a != b and (a in names or b in names)]
    return found + [(a, ELASTIC + name) for a in everyone for name in network.elastic]


def disagreements(network: Network) -> list[str]:
    traced, cloud = Traced(network), read(network.operations)
    assert traced.failures == []
    wrong = []
    for source, destination in pairs(network):
        for message in MESSAGES:
            if destination.startswith(ELASTIC) and not begins_a_flow(message):
                continue
            said = passes(cloud, network.end(source), network.end(destination), message)
            if traced.passes(source, destination, message) != said:
                wrong.append(f"{source} → {destination} {message}: the oracle {'passes' if said else 'blocks'} it")
    return wrong


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_rulesets_pass_what_the_oracle_passes(chance: Random) -> None:
    network = generated.network(chance)
    assert disagreements(network) == [], network.operations


def test_generated_networks_neither_pass_nor_block_nearly_everything() -> None:
    """Else agreeing with them would mean little."""
    for seed in range(8):
        network = generated.network(Random(seed))
        cloud = read(network.operations)
        ends = [(network.end(a), network.end(b)) for a, b in pairs(network)]
        verdicts = [passes(cloud, *end, message) for end in ends for message in MESSAGES]
        assert 0.05 < sum(verdicts) / len(verdicts) < 0.95, seed


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name.replace(" ", "-"))
def test_rulesets_pass_what_the_tables_say(network: Network) -> None:
    traced = Traced(network)
    assert traced.failures == []
    for line in network.reach:
        if not {line.source, line.destination} & network.zone_of.keys():
            assert traced.passes(line.source, line.destination, line.message) == line.passes, str(line)
