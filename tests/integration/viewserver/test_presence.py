"""Whoever is asked, silence is the same: a node is heard of as long as any replica hears it."""

import asyncio
import contextlib

import pytest_asyncio

from tests.integration.viewserver.process import process
from tests.integration.viewserver.serving import serving, until
from tests.unit.viewserver.clouds import changed
from viewserver.store.presence import claims_since

NODES = ("nc-1", "nc-2", "nc-3")


@pytest_asyncio.fixture
async def pair(database_url, tmp_path):
    """Two replicas that give nobody time after a start, and half a second between two polls."""
    quick = {"silence_grace_s": 0.5, "start_grace_s": 0.0}
    async with serving(database_url, tmp_path, **quick) as one:
        await one.cloud()
        await one.apply(*NODES)
        async with serving(database_url, tmp_path, admin_token=one.admin_token, **quick) as two:
            yield one, two


async def states(server):
    answer = await server.admin.get("/v1/nodes")
    return {one["node"]: one["state"] for one in answer.json()["nodes"]}


async def counted(server):
    answer = (await server.admin.get("/v1/convergence")).json()
    return {state: answer["nodes"][state] for state in ("converged", "silent")}


async def all_heard(server):
    return await counted(server) == {"converged": 3, "silent": 0}


async def one_silent(server):
    return await counted(server) == {"converged": 2, "silent": 1}


async def told(server):
    """Silences and returns, oldest first."""
    found = (await server.admin.get("/v1/happenings")).json()["happenings"]
    return [(one["kind"], one["node"]) for one in found if one["kind"] in ("silent", "back")][::-1]


async def come_true(servers, asked, wanted=True):
    """Until each of these answers so, when it is asked."""
    for server in servers:
        async with asyncio.timeout(20):
            while (found := await asked(server)) != wanted:
                await asyncio.sleep(0.02)
        assert found == wanted


class Agent:
    """A node that polls without end, and no more once `stop` was called."""

    def __init__(self, server, node):
        self.server, self.node = server, node
        self.task = asyncio.ensure_future(self._poll())

    async def _poll(self):
        etag = None
        while True:
            answer = await self.server.view(self.node, etag=etag, wait=30 if etag else None)
            assert answer.status_code in (200, 304), answer.text
            etag = answer.headers["etag"]

    async def held(self):
        await until(lambda: self.server.replica.views.held(self.node) or self.task.done())
        assert not self.task.done(), self.task.result()
        return self

    async def stop(self):
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


async def all_at(server):
    return {node: await Agent(server, node).held() for node in NODES}


async def test_a_node_that_polls_one_replica_is_heard_of_by_the_other(pair):
    one, two = pair
    agents = await all_at(one)
    await come_true(pair, all_heard)
    await agents["nc-2"].stop()
    await come_true(pair, one_silent)
    for server in pair:
        assert (await states(server))["nc-2"] == "silent"
        named = (await server.admin.get("/v1/convergence")).json()["laggards"]
        assert [(item["node"], item["state"]) for item in named] == [("nc-2", "silent")]
    seen = [(await server.admin.get("/v1/nodes/nc-2")).json()["last_seen"] for server in pair]
    assert seen[0] == seen[1] is not None
    again = await Agent(two, "nc-2").held()
    await come_true(pair, all_heard)
    for agent in (again, agents["nc-1"], agents["nc-3"]):
        await agent.stop()


async def test_a_barrier_names_the_silent_alike_on_every_replica(pair):
    one, two = pair
    agents = await all_at(one)
    await agents["nc-1"].stop()
    await come_true(pair, one_silent)
    made = await one.update(changed("sg-web", ingress=[]))
    assert "nc-1" in made["affected"]

    async def reasons(server):
        answer = await server.admin.get("/v1/convergence", params={"revision": made["revision"]})
        return {item["node"]: item["state"] for item in answer.json()["laggards"]}

    await until(lambda: two.replica.held.revision >= made["revision"], "the other has followed")
    for server in pair:
        found = await reasons(server)
        assert found.pop("nc-1") == "silent"
        assert set(found.values()) <= {"lagging"}
    for node in ("nc-2", "nc-3"):
        await agents[node].stop()


async def test_one_that_changes_replica_is_not_silent_in_between(pair):
    """To and fro, each time as soon as the other one has it; neither replica ever says that it was away."""
    one, two = pair
    agent = await Agent(one, "nc-1").held()
    for server in (two, one, two):
        moved = await Agent(server, "nc-1").held()
        await agent.stop()
        agent = moved
        await come_true(pair, claimant, server.replica.presence.me)
        await until(
            lambda: not any("nc-1" in asked.replica.presence._left for asked in pair), "the old one gives it up"
        )
        for asked in pair:
            assert (await states(asked))["nc-1"] == "converged"
    for server in pair:
        assert [kind for kind, node in await told(server) if node == "nc-1" and kind == "silent"] == []
    await agent.stop()


async def claimant(server):
    claim = server.replica.presence.claims.get("nc-1")
    return claim.replica if claim is not None and claim.connected else None


async def test_nothing_is_written_while_nothing_changes(pair):
    one, two = pair
    agents = [*(await all_at(one)).values()]
    for node in NODES:
        await until(lambda node=node: elsewhere(two, node), "the other has been told")
    before = two.replica.presence.claims.copy()
    for _ in range(5):
        for node in NODES:  # a poll ends, and the next one begins
            answer = await one.view(node, etag=(await one.view(node)).headers["etag"], wait=0.01)
            assert answer.status_code == 304
    async with one.application.server.database.begin() as conn:
        _, rows = await claims_since(conn, 0)
    assert {row.node: row for row in rows} == before
    for agent in agents:
        await agent.stop()


async def test_the_nodes_of_a_replica_that_is_killed_have_time_to_come_to_another(database_url, tmp_path):
    quick = {"key": None, "silence_grace_s": 0.5, "start_grace_s": 0.0}
    async with (
        process(tmp_path, database_url) as killed,
        serving(database_url, tmp_path, admin_token=killed.token, **quick) as other,
    ):
        await other.cloud()
        tokens = {node: (await other.token("node", node))["token"] for node in NODES}
        etags = await other.etags()
        polls = []
        for node in ("nc-1", "nc-2"):
            headers = {"If-None-Match": etags[node], "Prefer": "wait=30"}
            asked = other.client(tokens[node]).get(f"{killed.url}/v1/nodes/{node}/view", headers=headers)
            polls.append(asyncio.ensure_future(asked))
        await until(lambda: all(elsewhere(other, node) for node in ("nc-1", "nc-2")), "they poll the one to be killed")
        for node in NODES:
            await other.report(node, etags[node])
        await come_true([other], told, [("silent", "nc-3")])  # which reports, but polls nobody
        await killed.kill()
        await asyncio.gather(*polls, return_exceptions=True)
        moved = await Agent(other, "nc-1").held()
        assert (await states(other))["nc-2"] == "converged", "it may still come"
        await come_true([other], told, [("silent", "nc-3"), ("silent", "nc-2")])
        assert (await states(other))["nc-1"] == "converged"
        await moved.stop()


def elsewhere(server, node):
    claim = server.replica.presence.claims.get(node)
    return claim is not None and claim.connected and claim.replica != server.replica.presence.me
