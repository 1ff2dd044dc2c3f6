"""The oracle reads the contract as whoever wrote the tables of the named networks did, line by line."""

from __future__ import annotations

import pytest

from tests.networks.all_networks import NETWORKS
from tests.networks.words import Line, Network
from tests.oracle.objects import read
from tests.oracle.verdict import passes


@pytest.mark.parametrize(("network", "line"), [(n, line) for n in NETWORKS for line in n.reach], ids=str)
def test_the_oracle_agrees_with_the_table(network: Network, line: Line) -> None:
    cloud = read(network.operations)
    assert passes(cloud, network.end(line.source), network.end(line.destination), line.message) == line.passes, str(
        line
    )
