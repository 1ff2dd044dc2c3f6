"""Private addressing alone (rows 19 and 20): metadata knows instances by their private addresses, in every gateway mode, since
the CLC knows the way back; and where it does not, nothing comes back."""

from __future__ import annotations

import pytest

from lab.flows import Flow
from lab.probes import expect
from tests.dataplane.metadata import identity, service
from tests.networks.private_only import PRIVATE_ONLY
from tests.networks.real import Real, host
from tests.networks.words import Network


@pytest.mark.parametrize("network", PRIVATE_ONLY, ids=lambda network: network.name.replace(" ", "-"))
def test_the_metadata_service_knows_instances_by_private_addresses(network: Network) -> None:
    with Real(network) as real:
        real.enforce(network.operations)
        clc = real.lab["clc"]
        with service(clc):
            for name in ("web", "db"):
                assert identity(host(real.lab, network, name)) == str(network.address(name))
        web = host(real.lab, network, "web")
        to_clc = Flow.tcp(web, clc, network.address("clc"), 80)
        assert not expect([to_clc], [])
        clc.ip("route delete 10.111.0.0/16")
        control = [Flow.tcp(web, host(real.lab, network, "app"), network.address("app"), 8000)]
        assert not expect(control, [to_clc])
