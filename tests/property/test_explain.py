"""What `explain` says of a packet equals the oracle, which reads the cloud's operations and knows nothing of it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.networks import generated
from tests.networks.all_networks import NETWORKS
from tests.networks.compiled import accepted
from tests.networks.generated import OUTSIDERS, begins_a_flow, messages
from tests.networks.words import ELASTIC, Network
from tests.oracle.message import Message as Sent
from tests.oracle.objects import read
from tests.oracle.verdict import passes, source_seen
from viewserver.explain.question import Message, Question
from viewserver.explain.verdict import Explanation, explain
from viewserver.model.network import Network as Model

MESSAGES = messages()


def explained(model: Model, network: Network, source: str, destination: str, sent: Sent) -> Explanation:
    return explain(model, Question(network.end(source), network.end(destination), Message(*sent)))


def pairs(network: Network) -> list[tuple[str, str]]:
    """Everybody with everybody of whom at least one is a VM, also by elastic IPs and as and to hypervisors."""
    names = [one.name for one in network.vms]
    everyone = (*names, *OUTSIDERS, *network.zone_of)
    found = [(a, b) for a in everyone for b in everyone if a != b and (a in names or b in names)]
    return found + [(a, ELASTIC + name) for a in everyone for name in network.elastic]


def hides(network: Network, source: str, destination: str) -> bool:
    """Masqueraded, an instance is its node to other nodes, which the oracle does not know."""
    one = network.by_name(source)
    masquerades = network.settings.get("private_nat") == "masquerade" and source not in network.elastic
    return one is not None and masquerades and destination in network.zone_of and destination != one.node


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 2**32))
def test_verdicts_and_sources_are_the_oracles(chance: Random, seed: int) -> None:
    network, sample = generated.network(chance), Random(seed)
    cloud, model = read(network.operations), accepted(network.operations)
    for source, destination in pairs(network):
        for sent in sample.sample(MESSAGES, 9):
            if not begins_a_flow(sent) and (destination.startswith(ELASTIC) or source in network.zone_of):
                continue  # of ICMP that belongs to no flow the oracle does not speak; packets do
            if hides(network, source, destination):
                continue
            said = explained(model, network, source, destination, sent)
            ends = network.end(source), network.end(destination)
            what = f"{source} → {destination} {sent}: {[stage.text for stage in said.stages]}"
            assert said.allowed == passes(cloud, *ends, sent), what
            if said.allowed and network.by_name(destination) is not None:
                assert said.seen == source_seen(cloud, *ends), what


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name.replace(" ", "-"))
def test_verdicts_are_what_the_tables_of_the_named_networks_say(network: Network) -> None:
    model = accepted(network.operations)
    for line in network.reach:
        if not network.by_name(line.source) and not network.by_name(line.destination):
            continue  # nothing of Verge's
        said = explained(model, network, line.source, line.destination, line.message)
        what = f"{line}: {[stage.text for stage in said.stages]}"
        assert said.allowed == line.passes, what
        if line.seen:
            assert said.seen == network.address(line.seen), what


def test_what_decides_is_named() -> None:
    """Whatever the verdict: a stage, and of groups the rule, a group that limits nothing, or the setting."""
    for seed in range(6):
        network = generated.network(Random(seed))
        model = accepted(network.operations)
        for source, destination in pairs(network):
            said = explained(model, network, source, destination, Sent(6, 80))
            assert said.deciding is not None, (source, destination)
            assert (said.deciding.outcome == "drops") == (not said.allowed)
            ruled = said.deciding.judged.ruled if said.deciding.judged else None
            if ruled is not None:
                group = model.group(ruled.group)
                assert group is not None
                rules = group.ingress if ruled.direction == "ingress" else group.egress
                assert ruled.rule in (rules or ())
