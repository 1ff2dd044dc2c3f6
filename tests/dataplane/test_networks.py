"""Every named network on a real kernel: its whole table of who may reach whom, with real packets."""

from __future__ import annotations

import pytest

from tests.networks.all_networks import NETWORKS
from tests.networks.real import Real, table_differences
from tests.networks.words import Network


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name.replace(" ", "-"))
def test_packets_do_what_the_table_says(network: Network) -> None:
    with Real(network) as real:
        real.enforce(network.operations)
        assert table_differences(real.lab, network) == []
