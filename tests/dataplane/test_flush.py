"""Verge leaves a host as it found it, by its own marks; and ports are shut before the agent and after it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import topology
from lab.build import Lab
from lab.flows import Flow
from lab.host import Host
from lab.probes import expect
from nodeagent.dnsmasq.server import Dnsmasq
from nodeagent.enforcement import Enforcement
from nodeagent.formersettings import FormerSettings
from nodeagent.operatorrules import OperatorRules
from nodeagent.state.host import HostFacts
from tests.dataplane.place import Place

ROOT = Path(__file__).parents[2]
ENV = os.environ | {"PYTHONPATH": f"{ROOT / 'services'}:{ROOT}"}


def agentctl(host: Host, *arguments: str) -> subprocess.CompletedProcess[str]:
    with host.entered():
        return subprocess.run(
            (sys.executable, "-m", "nodeagent", *arguments), env=ENV, text=True, capture_output=True, check=False
        )


def flush(host: Host, state: Path, *options: str) -> list[str]:
    done = agentctl(host, "flush", "--state-dir", str(state), *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def whole(host: Host) -> dict[str, object]:
    """Everything of a host that an agent may touch, and what it may not: rules, links with their flags, addresses, routes,
    all IPv4 and IPv6 settings."""
    links = json.loads(host.run("ip", "-json", "-details", "link", "show"))
    keys = ("ifname", "flags", "mtu", "master", "address", "linkinfo")
    seen = [{key: link.get(key) for key in keys} for link in links]
    for link in seen:
        for data in (link["linkinfo"] or {}).values():
            for name in [name for name in data if "timer" in name or name == "state"] if isinstance(data, dict) else ():
                del data[name]
    return {
        "rules": host.run("nft", "--stateless", "list", "ruleset"),
        "links": seen,
        "addresses": sorted(map(str, host.addresses())),
        "routes": host.run("ip", "-4", "route", "show", "table", "all"),
        "sysctls": sysctls(host),
    }


def sysctls(host: Host) -> dict[str, str]:
    text = host.run("sh", "-c", "cd /proc/sys/net && grep -rs '' ipv4 ipv6 bridge 2>/dev/null; true")
    pairs = (line.partition(":")[::2] for line in text.splitlines())
    return {
        name: value for name, value in pairs if not name.endswith(("stable_secret", "flush", "route/gc_elasticity"))
    }


BOTH = pytest.mark.parametrize("at", ["impersonate", "node"], indirect=True)


@pytest.fixture
def at(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A place on which nothing of Verge has been yet. `node` gives the bridge the gateway's address."""
    mode = getattr(request, "param", "impersonate")
    with Lab(topology.two(2) if mode == "node" else topology.flat(2)) as lab:
        made = Place(lab, mode, transit=True)
        with made.cloud:
            made.node.set_sysctl("net.bridge.bridge-nf-call-iptables", 0)
            yield made


def enforce(at: Place, state: Path) -> Enforcement:
    with at.node.entered():
        made = Enforcement(
            HostFacts("br0", at.public_interface, uplinks=("up0",)),
            dnsmasq=Dnsmasq(state / "dhcp", "br0"),
            operator_rules=OperatorRules(),
            formers=FormerSettings(state),
        )
        outcome = made.apply(at.cloud.view("nc-1"), clock_seconds=int(time.time()))
    assert outcome.state == "applied", outcome
    return made


@BOTH
def test_it_leaves_everything_as_it_was_and_says_before_exactly_what_it_does(at: Place, tmp_path: Path) -> None:
    before = whole(at.node)
    made = enforce(at, tmp_path)
    during = whole(at.node)
    assert during != before
    promised = flush(at.node, tmp_path, "--dry-run")
    assert whole(at.node) == during, "a dry run touches nothing"
    assert flush(at.node, tmp_path, "--yes") == promised
    assert whole(at.node) == before
    assert any("UNFILTERED" in line for line in promised)
    assert any("# dnsmasq" in line for line in promised)
    assert made.dnsmasq
    assert made.dnsmasq.ailing(), "its process has ended"
    made.close()
    again = flush(at.node, tmp_path, "--dry-run")
    assert [line for line in again if not line.startswith("#")] == [], "there is nothing left of it"


@BOTH
def test_without_its_memory_it_finds_what_carries_its_marks(at: Place, tmp_path: Path) -> None:
    before = whole(at.node)
    enforce(at, tmp_path).close()
    during = whole(at.node)
    promised = flush(at.node, tmp_path / "elsewhere", "--dry-run")
    assert flush(at.node, tmp_path / "elsewhere", "--yes") == promised
    after = whole(at.node)
    assert after["sysctls"] != before["sysctls"], "nobody knows what they were"
    assert {key: after[key] for key in ("rules", "addresses", "routes")} == {
        key: before[key] for key in ("rules", "addresses", "routes")
    }
    assert [link["ifname"] for link in after["links"]] == [link["ifname"] for link in before["links"]]  # type: ignore[attr-defined]
    assert during["rules"] != after["rules"]


def test_what_somebody_has_changed_since_is_his(at: Place, tmp_path: Path) -> None:
    enforce(at, tmp_path).close()
    at.node.set_sysctl("net.ipv4.conf.br0.rp_filter", 1)
    at.node.nft("add rule ip verge operator_pre counter\nadd table ip theirs")
    lines = flush(at.node, tmp_path, "--yes")
    assert at.node.sysctl("net.ipv4.conf.br0.rp_filter") == "1"
    assert any(line.startswith("# left: sysctl net/ipv4/conf/br0/rp_filter=1") for line in lines)
    assert at.node.run("nft", "list", "ruleset").split() == ["table", "ip", "theirs", "{", "}"]
    assert "counter" in (tmp_path / "operator-rules.nft").read_text(), "rules of operators went with our table"


def test_what_operators_keep_with_us_is_not_lost_where_it_cannot_be_saved(at: Place, tmp_path: Path) -> None:
    enforce(at, tmp_path).close()
    at.node.nft("add rule ip verge operator_pre counter")
    no_directory = tmp_path / "a file"
    no_directory.touch()
    done = agentctl(at.node, "flush", "--yes", "--state-dir", str(no_directory))
    assert done.returncode == 1
    assert "our tables stay" in done.stderr
    assert "UNFILTERED" not in done.stdout
    assert "counter" in at.node.run("nft", "list", "chain", "ip", "verge", "operator_pre")
    blocked = Flow.tcp(at.a.host, at.node, at.address("nc-1"), 22)
    assert not expect([Flow.tcp(at.b.host, at.a.host, at.a.ip, 80)], [blocked]), "and they are in force"


def test_ports_stay_closed_if_asked_and_views_go_only_if_asked(at: Place, tmp_path: Path) -> None:
    vm, neighbour = at.a, at.b
    flow = Flow.tcp(neighbour.host, vm.host, vm.ip, 80)
    enforce(at, tmp_path).close()
    (tmp_path / "view.last").write_text("x")
    assert not expect([flow], [])
    flush(at.node, tmp_path, "--yes", "--keep-closed")
    assert not expect([], [flow, Flow.icmp(vm.host, at.node, at.address("nc-1"))])
    assert (tmp_path / "view.last").exists()
    flush(at.node, tmp_path, "--yes", "--forget")
    assert not (tmp_path / "view.last").exists()
    assert not expect([flow, Flow.tcp(vm.host, neighbour.host, neighbour.ip, 1)], []), "open, as it said"


def test_it_refuses_beside_an_agent_and_ends_it_if_asked(at: Place, tmp_path: Path) -> None:
    state = tmp_path / "state"
    agent = at.node.popen(
        *(sys.executable, "-m", "nodeagent", "run", "--node", "nc-1", "--state-dir", str(state)),
        *("--bridge", "br0", "--public-interface", "br0"),
        env=ENV,
        stdout=(tmp_path / "out").open("w"),
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: "ready" in (tmp_path / "out").read_text())
        during = whole(at.node)
        refused = agentctl(at.node, "flush", "--yes", "--state-dir", str(tmp_path / "elsewhere"))
        assert refused.returncode == 2
        assert f"an agent runs here, pid {agent.pid}" in refused.stderr
        assert whole(at.node) == during
        assert f"pid {agent.pid}" in flush(at.node, state, "--dry-run")[0]
        flush(at.node, state, "--yes", "--stop-agent")
        assert agent.wait(10) == 0
        assert not at.node.run("nft", "list", "ruleset")
    finally:
        if agent.poll() is None:
            agent.send_signal(signal.SIGKILL)
            agent.wait(10)


def wait_for(true) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
