"""Agents that know two replicas, one of which is killed: all are served by the other, none sees an older view or a mistake.

The agents are the real session and the real client, without a kernel.
"""

import asyncio
import random
import time

from nodeagent.session import Offered, Retry, Session, Unreachable
from nodeagent.viewclient import ViewClient
from tests.integration.viewserver.process import process
from tests.integration.viewserver.serving import serving, until
from tests.unit.viewserver.clouds import changed

NODES = ("nc-1", "nc-2", "nc-3")


class Agent:
    def __init__(self, node, servers, token_file):
        self.client = ViewClient(node, token_file)
        self.session = Session(node=node, servers=servers, agent_version="1", boot_id="boot")
        self.versions = []
        self.statuses = []
        self.retries = []
        self.task = asyncio.ensure_future(self.follow())

    async def follow(self):
        while True:
            request = self.session.next_view_request(time.monotonic())
            try:
                answer = await self.client.view(request)
            except Unreachable as reason:
                step = self.session.unreachable(str(reason), random.random())
            else:
                self.statuses.append(answer.status)
                step = self.session.answered(answer, time.monotonic(), random.random())
            match step:
                case Offered(etag=etag):
                    self.versions.append((etag.epoch, etag.version))
                case Retry(delay_s=delay):
                    self.retries.append(step.reason)
                    await asyncio.sleep(delay)

    async def stop(self):
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.client.close()


async def test_one_of_two_is_killed(database_url, tmp_path):
    async with (
        process(tmp_path, database_url) as killed,
        serving(database_url, tmp_path, admin_token=killed.token, key=None) as left,
    ):
        await left.cloud()
        agents = []
        for node in NODES:
            path = tmp_path / f"{node}.token"
            path.write_text((await left.token("node", node))["token"])
            servers = (left.url, killed.url) if node == "nc-3" else (killed.url, left.url)
            agents.append(Agent(node, servers, path))
        try:
            await until(lambda: all(agent.versions for agent in agents), "all have a view")
            for step in range(5):
                await left.update(changed("i-web", account=f"a{step}"), changed("sg-web", name=f"web{step}"))
            await killed.kill()
            made = await left.update(changed("sg-web", ingress=[]))
            wanted = {node: left.replica.held.etag(node) for node in NODES}
            await until(
                lambda: {agent.session.node: agent.session.held for agent in agents} == wanted, "all have the last"
            )
            await until(lambda: left.parked == len(NODES), "all wait at the one that is left")
            for agent in agents:
                assert not agent.task.done(), agent.task.result()
                assert agent.versions == sorted(agent.versions)
                assert set(agent.statuses) <= {200, 226, 304}
                assert agent.session.standing == "following"
            moved = [
                agent for agent in agents if agent.session.node in made["affected"] and agent.session.node != "nc-3"
            ]
            assert moved, "some of those that had to move had news to miss"
            barred = await left.admin.get("/v1/happenings")
            assert [one for one in barred.json()["happenings"] if one["kind"] in ("silent", "back")] == []
        finally:
            for agent in agents:
                await agent.stop()
