"""The agent's shell against a small view server over real HTTP, with a kernel in memory."""

import asyncio
import contextlib

import pytest

from nodeagent.agent import assemble
from nodeagent.checkpoint import Checkpoint
from nodeagent.session.choice import in_order
from nodeagent.settings import ApiAddress, Settings
from tests.integration.agent_kernel import Kernel, MemoryEnforcement
from tests.integration.agent_server import ViewServer
from tests.unit.nodeagent.views import etag_of, view_wire

ONE, TWO, THREE = view_wire(port=22), view_wire(port=80), view_wire(port=443)


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture(params=["deltas", "whole views"])
def agent_of(tmp_path, kernel, request):
    """Makes agents on the same disk and kernel, as restarts of one; all of it holds by either way of hearing of changes."""
    deltas = request.param == "deltas"

    def make(*servers: str, token: str = "secret"):
        file = tmp_path / "token"
        file.write_text(token)
        api = ApiAddress(tmp_path / "agent.sock")
        settings = Settings("nc-1", servers, file, tmp_path, "br0", "br0", "vn_*", api, deltas)
        return assemble(settings, lambda generation: MemoryEnforcement(kernel, generation))

    return make


@contextlib.asynccontextmanager
async def running(agent):
    stop = asyncio.Event()
    await agent.start()
    task = asyncio.ensure_future(agent.run(stop))
    try:
        yield agent
    finally:
        stop.set()
        await task
        agent.passes.close()
        await agent.client.close()


async def passed(agent, holds):
    """Until `holds()`; checked after every pass."""
    async with asyncio.timeout(15):
        while True:
            event = agent.passes.passed
            if holds():
                return
            await event.wait()


async def test_a_published_view_is_enforced_and_heard_of_and_reported_with_timings(agent_of, kernel):
    async with ViewServer().serving() as server:
        await server.publish(ONE)
        async with running(agent_of(server.url)):
            await server.until(lambda: server.reports)
            two = await server.publish(TWO)
            await server.until(lambda: two in server.applied and server.newest["applied"] == {"etag": str(two)})
            assert kernel.content == two.digest
            report = server.reports[-1]
            assert report["state"] == "applied"
            assert report["timings_ms"].keys() == {"fetch", "plan", "apply", "verify"}
            assert report["instances"] == {"i-1a2b3c4d": "ready"}
            assert report["sequence"] > server.reports[0]["sequence"]
            assert report["agent"]["boot_id"] == server.reports[0]["agent"]["boot_id"]


async def test_one_answer_for_each_change_and_then_a_held_request(agent_of):
    async with ViewServer().serving() as server:
        await server.publish(ONE)
        async with running(agent_of(server.url)) as agent:
            for wire in (TWO, THREE, ONE):
                etag = await server.publish(wire)
                await server.until(lambda etag=etag: etag in server.applied)
            await passed(agent, lambda: agent.passes.held.etag == etag)
            newer = 226 if agent.settings.deltas else 200
            assert [status for status, _ in server.answers] == [200] + [newer] * (len(server.answers) - 1)
            assert len(server.answers) <= 4


async def test_after_a_restart_the_view_on_disk_is_enforced_without_any_server(agent_of, kernel):
    async with ViewServer().serving() as server:
        etag = await server.publish(ONE)
        async with running(agent_of(server.url)):
            await server.until(lambda: etag in server.applied)
        dead = server.url
    kernel.content = None  # the machine was restarted too
    agent = agent_of(dead)
    await agent.start()
    assert kernel.content == etag.digest
    assert agent.session.held == etag
    assert agent.session.next_view_request(0).bases == (etag,)
    agent.passes.close()


async def test_a_first_start_without_a_server_closes_everything(agent_of, kernel):
    async with running(agent_of("http://127.0.0.1:1")) as agent:
        assert kernel.content == "closed"
        assert agent.passes.held is None


async def test_the_server_goes_away_and_comes_back(agent_of, kernel):
    server = ViewServer()
    async with server.serving():
        first = await server.publish(ONE)
        agent = agent_of(server.url)
        started = running(agent)
        await started.__aenter__()
        await server.until(lambda: first in server.applied)
        port = int(server.url.rpartition(":")[2])
    assert kernel.content == first.digest
    async with server.serving(port):
        second = await server.publish(TWO)
        await server.until(lambda: second in server.applied)
        await started.__aexit__(None, None, None)
    assert kernel.content == second.digest


async def test_the_next_server_is_asked_when_one_is_down(agent_of, kernel):
    async with ViewServer().serving() as server:
        etag = await server.publish(ONE)
        async with running(agent_of("http://127.0.0.1:1", server.url)):
            await server.until(lambda: etag in server.applied)
            assert kernel.content == etag.digest


async def test_a_replica_that_is_behind_is_left_alone(agent_of, kernel):
    async with ViewServer().serving() as one, ViewServer().serving() as other:
        first, _ = in_order((one.url, other.url), "nc-1")
        ahead, behind = (one, other) if first == one.url else (other, one)
        await behind.publish(ONE)
        ahead.revision = 4
        etag = await ahead.publish(TWO)
        async with running(agent_of(ahead.url, behind.url)) as agent:
            await ahead.until(lambda: etag in ahead.applied)
            ahead.failing = 503
            await ahead._wake()
            await behind.until(lambda: behind.answers)
            ahead.failing = None
            asked = len(ahead.answers)
            await ahead.publish(THREE)
            await ahead.until(lambda: len(ahead.answers) > asked and ahead.etag in ahead.applied)
            assert kernel.content == ahead.etag.digest
            assert etag_of(ONE, 1).digest not in kernel.history
            assert agent.session.held == ahead.etag


async def test_a_view_that_is_not_what_its_etag_says_is_refused_reported_and_waited_out(agent_of, kernel):
    async with ViewServer().serving() as server:
        good = await server.publish(ONE)
        async with running(agent_of(server.url)):
            await server.until(lambda: good in server.applied)
            bad = await server.publish(TWO, digest="0" * 32)
            await server.until(lambda: server.newest["state"] == "rejected")
            report = server.reports[-1]
            assert report["attempted"] == {"etag": str(bad)}
            assert report["applied"] == {"etag": str(good)}
            assert kernel.content == good.digest
            assert ("" in [given for _, given in server.answers[-2:]]) is True
            better = await server.publish(THREE)
            await server.until(lambda: better in server.applied)
            assert kernel.content == better.digest


async def test_a_rejected_view_leaves_the_last_in_force_and_is_tried_until_the_kernel_takes_it(agent_of, kernel):
    async with ViewServer().serving() as server:
        good = await server.publish(ONE)
        async with running(agent_of(server.url)):
            await server.until(lambda: good in server.applied)
            kernel.refused = {etag_of(TWO, 2).digest}
            poison = await server.publish(TWO)
            await server.until(lambda: server.newest["state"] == "rejected")
            report = server.reports[-1]
            assert (report["applied"]["etag"], report["attempted"]["etag"]) == (str(good), str(poison))
            assert report["failures"][0]["reason"] == "the kernel refuses it"
            assert kernel.content == good.digest
            kernel.flush()  # what is in force is looked after while the newer one is refused
            async with asyncio.timeout(15):
                while kernel.content != good.digest:
                    await asyncio.sleep(0.01)
            kernel.refused = set()
            await server.until(lambda: poison in server.applied)
            assert kernel.content == poison.digest


async def test_after_a_restart_a_rejected_view_falls_back_to_the_last_good_one(agent_of, kernel):
    async with ViewServer().serving() as server:
        good = await server.publish(ONE)
        async with running(agent_of(server.url)):
            await server.until(lambda: good in server.applied)
            kernel.refused = {etag_of(TWO, 2).digest}
            poison = await server.publish(TWO)
            await server.until(lambda: server.newest["state"] == "rejected")
    kernel.content = None
    agent = agent_of("http://127.0.0.1:1")
    await agent.start()
    assert kernel.content == good.digest
    assert (agent.passes.in_force.etag, agent.passes.held.etag) == (good, poison)
    assert agent.passes.told.state == "rejected"
    agent.passes.close()


async def test_a_missing_bridge_is_waited_for(agent_of, kernel):
    kernel.bridge = False
    async with ViewServer().serving() as server:
        etag = await server.publish(ONE)
        async with running(agent_of(server.url)) as agent:
            await server.until(lambda: server.reports)
            assert server.reports[-1]["state"] == "rejected"
            assert server.reports[-1]["applied"] is None
            assert agent.passes.told.failures[0].reason == "br0 does not exist"
            kernel.bridge = True
            await server.until(lambda: etag in server.applied)
            assert kernel.content == etag.digest


async def test_what_others_did_to_the_kernel_is_repaired(agent_of, kernel):
    async with ViewServer().serving() as server:
        etag = await server.publish(ONE)
        async with running(agent_of(server.url)) as agent:
            await server.until(lambda: etag in server.applied)
            kernel.flush()
            await passed(agent, lambda: kernel.content == etag.digest)


async def test_a_port_that_shows_up_is_applied_and_reported_ready(agent_of, kernel):
    kernel.interfaces = set()
    async with ViewServer().serving() as server:
        await server.publish(ONE)
        async with running(agent_of(server.url)):
            await server.until(lambda: server.reports)
            assert server.reports[-1]["state"] == "applied"
            assert server.reports[-1]["instances"] == {"i-1a2b3c4d": "waiting-for-interface"}
            kernel.interfaces = {"vn_i-1a2b3c4d"}
            await server.until(lambda: server.newest["instances"] == {"i-1a2b3c4d": "ready"})


async def test_a_removed_node_keeps_its_view_and_says_so(agent_of, kernel):
    async with ViewServer().serving() as server:
        etag = await server.publish(ONE)
        async with running(agent_of(server.url)) as agent:
            await server.until(lambda: etag in server.applied)
            server.removed = True
            await server.publish(TWO)
            await server.until(lambda: [status for status, _ in server.answers].count(404) >= 2)
            assert agent.session.standing == "removed"
            assert kernel.content == etag.digest


async def test_a_token_is_replaced_without_a_restart(agent_of, kernel, tmp_path):
    async with ViewServer().serving() as server:
        etag = await server.publish(ONE)
        async with running(agent_of(server.url, token="wrong")) as agent:
            await server.until(lambda: server.answers)
            assert agent.passes.held is None
            (tmp_path / "token").write_text("secret\n")
            await server.until(lambda: etag in server.applied)


async def test_a_checkpoint_of_another_node_is_not_enforced(agent_of, kernel, tmp_path, capsys):
    async with ViewServer("nc-2").serving() as server:
        wire = view_wire("nc-2")
        etag = await server.publish(wire)
        from nodeagent.checkpoint import Stored

        Checkpoint(tmp_path, "nc-2").propose(Stored("nc-2", etag, None, server.body))
    agent = agent_of("http://127.0.0.1:1")
    await agent.start()
    assert kernel.content == "closed"
    assert "belongs to node nc-2, this is nc-1" in capsys.readouterr().err
    agent.passes.close()


async def test_a_full_disk_degrades_the_report_and_not_the_rules(agent_of, kernel, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "view.next")

    monkeypatch.setattr(Checkpoint, "propose", full)
    async with ViewServer().serving() as server:
        etag = await server.publish(ONE)
        async with running(agent_of(server.url)):
            await server.until(lambda: server.reports)
            report = server.reports[-1]
            assert (report["state"], report["applied"]) == ("degraded", {"etag": str(etag)})
            assert report["failures"] == [
                {"object": "checkpoint", "stage": "disk", "reason": "No space left on device (view.next)"}
            ]
            assert kernel.content == etag.digest
