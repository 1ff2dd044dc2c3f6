"""The agent as a process, on a real kernel: killed at any moment, started again with and without its server."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from pathlib import Path

import httpx
import orjson
import pytest

from tests.integration.agent_server import ViewServer
from tests.unit.nodeagent.views import view_wire
from verge.contract.etag import ETag

ROOT = Path(__file__).parents[2]


class Process:
    """One node's agent; started and ended as often as a test likes, always with the same state directory."""

    def __init__(self, host, directory: Path, server: str, bridge: str = "br0") -> None:
        self.host, self.directory, self.server, self.bridge = host, directory, server, bridge
        self.running = None
        (directory / "token").write_text("secret")

    def start(self, server: str | None = None) -> None:
        """Started, not yet ready."""
        self.running = self.host.popen(
            *(sys.executable, "-m", "nodeagent", "run", "--node", "nc-1", "--server", server or self.server),
            *("--token-file", str(self.directory / "token"), "--state-dir", str(self.directory / "state")),
            *("--bridge", self.bridge, "--public-interface", self.bridge),
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'services'}:{ROOT}"},
            stdout=(self.directory / "out").open("w"),
            stderr=(self.directory / "err").open("a"),
        )

    async def ready(self) -> None:
        async with asyncio.timeout(30):
            while "ready" not in (self.directory / "out").read_text():
                assert self.running.poll() is None, (self.directory / "err").read_text()
                await asyncio.sleep(0.01)

    async def end(self, number: signal.Signals) -> int:
        self.running.send_signal(number)
        return await asyncio.to_thread(self.running.wait, 15)

    async def get(self, path: str) -> dict:
        transport = httpx.AsyncHTTPTransport(uds=str(self.directory / "state" / "agent.sock"))
        async with httpx.AsyncClient(transport=transport, base_url="http://agent", timeout=15) as client:
            return (await client.get(path)).json()


@pytest.fixture
def node(flat, vms, tmp_path):
    """nc-1 of the flat network; its first port is that of the instance in the views."""
    process = Process(flat["nc-1"], tmp_path, f"unix:{tmp_path}/server.sock")
    yield process
    if process.running and process.running.poll() is None:
        process.running.kill()
        process.running.wait(15)


def wire(port: int) -> dict:
    return view_wire(port=port, instance="i-00000001")


def ours(node: Process) -> str:
    return node.host.run("nft", "list", "ruleset")


@contextlib.asynccontextmanager
async def serving(node: Process):
    server = ViewServer()
    async with server.serving(path=node.directory / "server.sock"):
        yield server


async def test_it_stops_in_order_with_its_rules_in_force_and_leaves_no_socket(node):
    async with serving(node) as server:
        etag = await server.publish(wire(22))
        for number in (signal.SIGTERM, signal.SIGINT):
            node.start()
            await node.ready()
            await server.until(lambda: etag in server.applied)
            before = ours(node)
            assert await node.end(number) == 0
            assert ours(node) == before
            assert "table ip verge" in before
            assert not (node.directory / "state" / "agent.sock").exists()


async def test_two_agents_never_share_a_state_directory(node):
    node.start("http://127.0.0.1:1")
    await node.ready()
    second = Process(node.host, node.directory, "http://127.0.0.1:1")
    second.start()
    assert await asyncio.to_thread(second.running.wait, 15) == 2
    assert f"in use by another agent, pid {node.running.pid}" in (node.directory / "err").read_text()


async def test_killed_at_any_moment_it_never_enforces_less_than_it_reported(node):
    dice = random.Random(20)
    async with serving(node) as server:
        await server.publish(wire(1000))
        for round_ in range(8):
            node.start()
            await node.ready()
            for port in range(10):
                await server.publish(wire(2000 + 20 * round_ + port))
                await asyncio.sleep(dice.random() * 0.02)  # where in a pass it dies is up to the dice
            assert await node.end(signal.SIGKILL) == -signal.SIGKILL
            reported = max((etag.version for etag in server.applied), default=0)

            node.start("http://127.0.0.1:1")  # the server is away
            await node.ready()
            status = await node.get("/v1/status")
            assert status["state"] == "applied", status
            assert status["applied"]["version"] >= reported
            assert ETag.parse(status["applied"]["etag"]) in server.known
            assert (await node.get("/v1/plan")) == {"empty": True, "steps": []}
            assert await node.end(signal.SIGKILL) == -signal.SIGKILL
        assert reported > 1


async def test_a_flushed_ruleset_comes_back(node):
    async with serving(node) as server:
        etag = await server.publish(wire(22))
        node.start()
        await node.ready()
        await server.until(lambda: etag in server.applied)
        before = (await node.get("/v1/ruleset"))["desired"]
        node.host.run("nft", "flush", "ruleset")
        async with asyncio.timeout(15):
            while "table ip verge" not in ours(node):
                await asyncio.sleep(0.05)
        assert (await node.get("/v1/plan"))["empty"]
        assert (await node.get("/v1/ruleset"))["desired"] == before
        assert "drift-repaired" in (node.directory / "err").read_text()


async def test_a_bridge_that_is_missing_is_waited_for_without_ending(node):
    node.bridge = "br7"
    async with serving(node) as server:
        await server.publish(wire(22))
        node.start()
        await node.ready()
        await server.until(lambda: server.newest["state"] in ("degraded", "rejected"))
        status = await node.get("/v1/status")
        assert "br7" in orjson.dumps(status["failures"]).decode()
        node.host.ip("link add br7 type bridge")
        await server.until(lambda: server.newest["state"] == "applied")
        assert node.running.poll() is None
