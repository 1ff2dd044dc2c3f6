"""Two replicas behind the haproxy of `deploy/haproxy`: one is told to stop, one is killed. Nobody who polls sees an error."""

import asyncio
import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.integration.viewserver.process import Process, process
from tests.integration.viewserver.serving import serving, until
from tests.integration.viewserver.test_failover import Agent
from tests.unit.viewserver.clouds import changed

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "haproxy" / "haproxy.cfg"
NODES = ("nc-1", "nc-2", "nc-3")

pytestmark = pytest.mark.skipif(
    not shutil.which("haproxy", path="/usr/sbin:/usr/bin"), reason="haproxy is not installed"
)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Balancer:
    def __init__(self, one, two):
        self.address = f"127.0.0.1:{free_port()}"
        self.environment = {
            **os.environ,
            "VERGE_FRONT": self.address,
            "VERGE_A": one.url.removeprefix("http://"),
            "VERGE_B": two.url.removeprefix("http://"),
        }
        self.log = ""

    async def __aenter__(self):
        command = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
        self.child = await asyncio.create_subprocess_exec(
            command, "-db", "-f", str(CONFIGURATION), env=self.environment, stderr=asyncio.subprocess.PIPE
        )
        self.reader = asyncio.ensure_future(self._read())
        return self

    async def _read(self):
        async for line in self.child.stderr:
            self.log += line.decode()

    async def __aexit__(self, *_):
        self.child.terminate()
        await self.child.wait()
        await self.reader


async def test_one_leaves_and_one_is_killed(database_url, tmp_path):
    async with (
        process(tmp_path, database_url) as killed,
        serving(database_url, tmp_path, admin_token=killed.token, key=None, drain_s=3.0) as leaving,
        serving(database_url, tmp_path, admin_token=killed.token, key=None) as writer,
        Balancer(killed, leaving) as balancer,
    ):
        await writer.cloud()
        agents = []
        for number in range(12):
            node = NODES[number % 3]
            path = tmp_path / f"{number}.token"
            path.write_text((await writer.token("node", node))["token"])
            agents.append(Agent(node, (f"http://{balancer.address}",), path))
        try:
            await until(lambda: all(agent.versions for agent in agents), "all have a view")
            await until(lambda: 0 < leaving.parked < 12, "both replicas have some of them")
            for agent in agents:
                agent.statuses.clear()  # a token that was made at another replica is known here a moment later: 401 till then
            await killed.kill()
            await until(lambda: leaving.parked == 12, "the other has them all")
            await have(writer, agents, changed("sg-web", ingress=[]))
            again = await Process(tmp_path, database_url).start_at(killed.url)
            try:
                await until(lambda: "Server viewservers/a is UP" in balancer.log, "it is back")
                leaving.process.handle_exit(15, None)
                await until(lambda: leaving.process.should_exit and not leaving.parked, "it has left")
                await have(writer, agents, changed("sg-web", name="another"))
                assert "Server viewservers/b is DOWN" in balancer.log
            finally:
                assert await again.terminate() == 0
            for agent in agents:
                assert not agent.task.done(), agent.task.result()
                assert agent.versions == sorted(agent.versions)
                assert set(agent.statuses) <= {200, 226, 304}
        finally:
            for agent in agents:
                await agent.stop()


async def have(writer, agents, *operations):
    """All follow a change, wherever they are."""
    await writer.update(*operations)
    held = {node: writer.replica.held.etag(node) for node in NODES}
    await until(lambda: all(agent.session.held == held[agent.session.node] for agent in agents), "all have it")
