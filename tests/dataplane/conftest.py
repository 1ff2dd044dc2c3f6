"""These tests change links, addresses and firewalls: they run inside a private lab, and nowhere else.

python -m lab.enter -- python -m pytest tests/dataplane
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import namespaces, topology
from lab.build import Lab, Vm


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if not namespaces.inside():
        pytest.fail(
            "data-plane tests run inside a lab: python -m lab.enter -- python -m pytest tests/dataplane", pytrace=False
        )


@pytest.fixture
def flat() -> Iterator[Lab]:
    """A fresh flat network: router, outside, clc, and nc-1 to nc-3 without VMs."""
    with Lab(topology.flat(3)) as lab:
        yield lab


@pytest.fixture
def vms(flat: Lab) -> list[Vm]:
    """Six VMs, two on each node: vn_i-00000001 (10.111.101.94) and the next on nc-1, …"""
    return [
        flat.plug(
            f"nc-{n // 2 + 1}",
            interface=f"vn_i-{n + 1:08d}",
            mac=f"d0:0d:00:00:00:{n + 1:02x}",
            ip=topology.FIRST_VM + n,
        )
        for n in range(6)
    ]
