"""An agent on a host that is not fit: what it keeps out and why, what it keeps, and that it goes on by itself when mended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab.host import Host
from tests.dataplane.test_agent_process import Process, ours, serving, wire
from tests.dataplane.test_preflight import FAULTS, mend

ROOT = Path(__file__).parents[2]


@pytest.fixture
def node(flat, vms, tmp_path):
    started = Process(flat["nc-1"], tmp_path, f"unix:{tmp_path}/server.sock")
    yield started
    if started.running and started.running.poll() is None:
        started.running.kill()
        started.running.wait(15)


def docker_comes(host: Host) -> None:
    FAULTS["docker's forward policy"].make(host)


async def test_a_failing_requirement_keeps_a_view_out_until_it_is_mended(node):
    async with serving(node) as server:
        docker_comes(node.host)
        etag = await server.publish(wire(22))
        node.start()
        await node.ready()
        await server.until(lambda: server.newest["state"] == "rejected")
        report = server.newest
        assert report["applied"] is None
        assert report["attempted"] == {"etag": str(etag)}
        [failure] = report["failures"]
        assert (failure["object"], failure["stage"]) == ("host/forward", "preflight")
        assert "docker" in failure["reason"]
        assert "DOCKER-USER" in failure["reason"]
        assert report["preflight"][0]["check"] == "forward"
        assert report["preflight"][0]["remedy"] in failure["reason"]
        assert "table bridge verge_l2" in ours(node), "its ports are closed all the same"

        mend(node.host, report["preflight"][0]["remedy"])
        await server.until(lambda: server.newest["state"] == "applied")
        assert server.newest["applied"] == {"etag": str(etag)}
        assert not [one for one in server.newest["preflight"] if one["check"] == "forward"]


async def test_what_is_in_force_stays_and_is_repaired_and_a_newer_view_waits(node):
    async with serving(node) as server:
        first = await server.publish(wire(22))
        node.start()
        await node.ready()
        await server.until(lambda: first in server.applied and server.newest["state"] == "applied")
        docker_comes(node.host)
        await server.until(lambda: server.newest["state"] == "degraded")
        assert server.newest["applied"] == {"etag": str(first)}
        assert server.newest["failures"][0]["stage"] == "preflight"

        second = await server.publish(wire(23))
        await server.until(lambda: server.newest["state"] == "rejected")
        assert server.newest["applied"] == {"etag": str(first)}
        assert server.newest["attempted"] == {"etag": str(second)}
        node.host.nft("delete element ip verge local4 { 10.111.101.94 }")
        await server.until(lambda: "10.111.101.94" in ours(node).split("set local4")[1].split("}")[0])

        node.running.kill()
        node.running.wait(15)
        node.start("http://127.0.0.1:1")
        await node.ready()
        status = await node.get("/v1/status")
        assert (status["state"], status["applied"]["etag"]) == ("rejected", str(first)), (
            "what was in force, and no more"
        )

        answer = await node.get("/v1/preflight")
        assert answer["ok"] is False
        mend(node.host, answer["checks"][0]["remedy"])
        node.running.kill()
        node.running.wait(15)
        node.start()
        await node.ready()
        await server.until(lambda: server.newest["state"] == "applied" and second in server.applied)


async def test_a_warning_keeps_nothing_out_and_is_reported(node):
    async with serving(node) as server:
        node.host.ip("link set up0 mtu 1400")
        etag = await server.publish(wire(22))
        node.start()
        await node.ready()
        await server.until(lambda: etag in server.applied and server.newest["state"] == "applied")
        await server.until(lambda: any(one["check"] == "mtu" for one in server.newest["preflight"]))
        [told] = [one for one in server.newest["preflight"] if one["check"] == "mtu"]
        assert (told["ok"], told["severity"]) == (False, "warning")
        assert server.newest["preflight"][-1]["check"] == "all others"


async def test_the_command_beside_a_running_agent(node):
    """It reads the view on disk, and takes our own dnsmasq for ours."""
    async with serving(node) as server:
        etag = await server.publish(wire(22))
        node.start()
        await node.ready()
        await server.until(lambda: etag in server.applied and server.newest["state"] == "applied")
        words = ("--state-dir", str(node.directory / "state"), "--bridge", "br0", "--public-interface", "br0")
        ran = node.host.popen(
            *(sys.executable, "-m", "nodeagent", "preflight", "--node", "nc-1", "--json", *words),
            cwd=ROOT / "services",
            stdout=subprocess.PIPE,
            text=True,
        )
        said, _ = ran.communicate(timeout=60)
        assert ran.returncode == 0, said
        answer = json.loads(said)
        assert answer["view"] == etag.digest
        checks = {one["check"]: one for one in answer["checks"]}
        assert checks["dhcp-port"]["ok"], "the agent's own dnsmasq is no rival"
        assert checks["bridge-address"]["found"] == "10.111.0.101/16"
        asked = await node.get("/v1/preflight")
        assert {one["check"] for one in asked["checks"]} >= set(checks)
