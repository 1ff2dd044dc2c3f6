"""Others on port 67: who has it, who shares it, and who only seems to."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.host import Host
from nodeagent.dnsmasq.server import Dnsmasq
from tests.dataplane.clients import Client
from tests.dataplane.cloud import Cloud
from verge.contract.report import Failure

_HOLD = "import socket, sys; s = socket.socket(2, 2){}; s.bind(({!r}, 67)); print('held', flush=True); sys.stdin.read()"
_SHARE = "; s.setsockopt(1, socket.SO_REUSEADDR, 1); s.setsockopt(1, socket.SO_REUSEPORT, 1)"
_ON = "; s.setsockopt(1, socket.SO_BINDTODEVICE, b'{}')"


@pytest.fixture
def cloud(dhcp_cloud: Cloud) -> Cloud:
    return dhcp_cloud


def server(cloud: Cloud) -> Dnsmasq:
    found = cloud.nodes["nc-1"].enforcement.dnsmasq
    assert found is not None
    return found


@contextmanager
def holder(host: Host, options: str = "", address: str = "") -> Iterator[str]:
    """Somebody has the port while the block runs. How he is to be named."""
    with host.entered():
        words = [sys.executable, "-c", _HOLD.format(options, address)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"held\n"
        yield f"{Path(f'/proc/{process.pid}/comm').read_text().strip()} (pid {process.pid})"
    finally:
        process.communicate()


@contextmanager
def foreign_dnsmasq(host: Host, directory: Path, interface: str, first: str) -> Iterator[int]:
    """As libvirt starts it for a network of its own (src/network/bridge_driver.c)."""
    configuration = directory / "foreign.conf"
    configuration.write_text(
        f"strict-order\nexcept-interface=lo\nbind-dynamic\ninterface={interface}\nport=0\nuser=\n"
        f"dhcp-range={first},static\ndhcp-no-override\ndhcp-authoritative\ndhcp-leasefile={directory}/foreign.leases\n"
    )
    words = ("dnsmasq", "--keep-in-foreground", "--log-facility=-", "--pid-file=", f"--conf-file={configuration}")
    process = host.popen(*words, stderr=subprocess.PIPE)
    try:
        for line in iter(process.stderr.readline, b""):
            if b"started, version" in line:
                break
        assert process.poll() is None
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        process.stderr.close()


def only_failure(cloud: Cloud) -> Failure:
    node = cloud.nodes["nc-1"]
    outcome = node.apply(cloud.view("nc-1"))
    assert outcome.state == "degraded"
    assert set(outcome.instances.values()) == {"ready"}, "rules do not wait for DHCP"
    (failure,) = outcome.failures
    assert (failure.object, failure.stage) == ("host/dnsmasq", "dhcp")
    return failure


def assert_serving(cloud: Cloud, directory: Path) -> None:
    node = cloud.nodes["nc-1"]
    assert node.moved(), "seen by the look of each second"
    assert node.resync(cloud.view("nc-1")).state == "applied"
    assert not node.moved()
    assert (server(cloud).status.state, server(cloud).status.problem) == ("serving", None)
    with Client.udhcpc(cloud.vms[0].host, directory / "client") as client:
        client.event("bound")


@pytest.mark.parametrize("options", ["", _ON.format("elsewhere")], ids=["everywhere", "another link"])
def test_a_taken_port_is_reported_with_who_has_it(cloud: Cloud, tmp_path: Path, options: str) -> None:
    """One that shares with nobody keeps us out, whatever link it is bound to."""
    node = cloud.nodes["nc-1"]
    node.host.ip("link add elsewhere type bridge", "link set elsewhere up")
    server(cloud).close()
    node.enforcement.dnsmasq = Dnsmasq(tmp_path / "nc-1", "br0")
    with holder(node.host, options) as name:
        assert f"UDP port 67 is taken by {name}: end it" in only_failure(cloud).reason
        assert server(cloud).status.state == "failed"
        assert not node.moved()
    assert_serving(cloud, tmp_path)


@pytest.mark.parametrize("address", ["", "10.111.0.101"], ids=["any address", "the bridge's own"])
def test_who_shares_the_port_is_named_when_he_comes(cloud: Cloud, tmp_path: Path, address: str) -> None:
    node, pid = cloud.nodes["nc-1"], server(cloud).status.pid
    with holder(node.host, _SHARE, address) as name:
        assert node.moved()
        reason = only_failure(cloud).reason
        assert f"UDP port 67 is shared with {name}, which hears br0" in reason
        assert not node.moved(), "known"
        assert only_failure(cloud).reason == reason, "as long as it lasts"
        assert (server(cloud).status.state, server(cloud).status.problem) == ("serving", reason)
    assert_serving(cloud, tmp_path)
    assert server(cloud).status.pid == pid


def test_who_shared_it_before_us_is_named_too(cloud: Cloud, tmp_path: Path) -> None:
    server(cloud).close()
    with holder(cloud.nodes["nc-1"].host, _SHARE + _ON.format("br0")) as name:
        cloud.nodes["nc-1"].resync(cloud.view("nc-1"))
        assert f"shared with {name}" in only_failure(cloud).reason
    assert_serving(cloud, tmp_path)


def test_a_second_dnsmasq_on_our_bridge_is_a_culprit(cloud: Cloud, tmp_path: Path) -> None:
    node = cloud.nodes["nc-1"]
    with foreign_dnsmasq(node.host, tmp_path, "br0", "10.111.0.0") as pid:
        assert f"shared with dnsmasq (pid {pid})" in only_failure(cloud).reason
    assert_serving(cloud, tmp_path)


@pytest.mark.parametrize("first", [True, False], ids=["before us", "after us"])
def test_libvirts_on_its_own_bridge_is_none(cloud: Cloud, tmp_path: Path, first: bool) -> None:
    node, view = cloud.nodes["nc-1"], cloud.view("nc-1")
    node.host.ip("link add virbr0 type bridge", "address add 192.168.122.1/24 dev virbr0", "link set virbr0 up")
    if first:
        server(cloud).close()
    else:
        node.resync(view)  # the ruleset's part of a new link
    with foreign_dnsmasq(node.host, tmp_path, "virbr0", "192.168.122.0"):
        assert node.resync(view).state == "applied"
        assert not node.moved()
        assert server(cloud).status.problem is None
        with Client.udhcpc(cloud.vms[0].host, tmp_path / "client") as client:
            client.event("bound")
            client.renew()
            client.event("renew")
