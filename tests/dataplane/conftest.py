"""These tests change links, addresses and firewalls: they run inside a private lab, and nowhere else.

python -m lab.enter -- python -m pytest tests/dataplane
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import namespaces, topology
from lab.build import Lab, Vm
from nodeagent.dnsmasq.server import Dnsmasq
from tests.dataplane.clients import forget_address
from tests.dataplane.cloud import Cloud
from tests.unit.nodeagent.wires import group


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


@pytest.fixture
def public_directory() -> Path:
    """That others than the owner may enter, unlike pytest's own, with a name to be quoted; it goes with the lab."""
    made = Path(tempfile.mkdtemp(prefix='a "path", #', dir="/run"))
    made.chmod(0o711)
    return made


@pytest.fixture
def dhcp_cloud(flat: Lab, vms: list[Vm], public_directory: Path) -> Iterator[Cloud]:
    """DHCP on nc-1 and nc-2; the VMs have forgotten their addresses."""
    with Cloud(flat, vms) as cloud:
        cloud.groups = {"sg-a": group()}
        cloud.groups_of = {vm.interface: ["sg-a"] for vm in vms}
        cloud.network = {"mtu": 1450}
        for name in ("nc-1", "nc-2"):
            cloud.nodes[name].enforcement.dnsmasq = Dnsmasq(public_directory / name, "br0")
        cloud.enforce()
        for vm in vms:
            forget_address(vm.host)
        yield cloud
