"""A replica takes its leave, or has as many connections as it takes: nobody who asks sees a mistake."""

import asyncio
import signal

import httpx
import pytest
from sqlalchemy import text

from tests.integration.viewserver.serving import serving, until
from tests.unit.viewserver.clouds import changed
from viewserver.api.admission import RESERVED, most_connections

NODES = ("nc-1", "nc-2", "nc-3")


async def polls(server, each):
    """So many parked polls of each node, every one on a connection of its own."""
    held = await server.etags()
    made = []
    for node in NODES:
        client = await server.as_("node", node)
        made += [asyncio.ensure_future(server.view(node, etag=held[node], wait=50, client=client)) for _ in range(each)]
    await until(lambda: server.parked == len(made), "all are parked")
    return held, made


async def test_a_hundred_parked_polls_are_answered_and_their_connections_closed(cloud):
    held, made = await polls(cloud, 40)
    cloud.process.handle_exit(signal.SIGTERM, None)
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*made)
    for answer in answers:
        assert answer.status_code == 304
        assert answer.headers["etag"] == held[answer.url.path.split("/")[3]]
        assert "close" in answer.headers["connection"]
    await until(lambda: not cloud.process.server_state.connections, "none is left open")


async def test_readiness_goes_first_and_what_comes_meanwhile_is_served(database_url, tmp_path):
    async with serving(database_url, tmp_path, drain_s=1.0) as server:
        await server.cloud()
        _, made = await polls(server, 1)
        server.process.handle_exit(signal.SIGTERM, None)
        await until(lambda: server.application.leaving, "it was told")
        async with server.client(None) as balancer:
            answer = await balancer.get("/readyz")
            assert (answer.status_code, answer.json()["status"]) == (503, "leaving")
            assert (await balancer.get("/healthz")).status_code == 200
        assert not any(task.done() for task in made), "the balancer has not noticed yet"
        revision = (await server.update(changed("i-web", account="bob")))["revision"]
        async with asyncio.timeout(10):
            answers = await asyncio.gather(*made)
        assert {answer.status_code for answer in answers} <= {200, 304}
        assert revision == 2


async def test_a_commit_that_is_under_way_is_finished(cloud):
    """Another holds the head's lock when the server is told to stop, and lets go of it later."""
    operator = cloud.client(cloud.admin_token)
    async with cloud.application.server.database.begin() as conn:
        await conn.execute(text("SELECT * FROM head FOR UPDATE"))
        writing = asyncio.ensure_future(cloud.update(changed("sg-web", ingress=[]), client=operator))
        await until(lambda: any(not one.cycle.response_complete for one in active(cloud)), "it has begun")
        cloud.process.handle_exit(signal.SIGTERM, None)
        await until(lambda: cloud.process.should_exit, "it has heard")
        assert not writing.done()
    async with asyncio.timeout(10):
        assert (await writing)["revision"] == 2


def active(server):
    return [one for one in server.process.server_state.connections if one.cycle is not None]


async def test_connections_too_many_are_told_when_to_come_again(database_url, tmp_path):
    async with serving(database_url, tmp_path, max_connections=8) as server:
        await server.cloud()
        again = set()
        async with httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=None), trust_env=False) as many:
            taken = [await asyncio.open_connection(*server.url.removeprefix("http://").split(":")) for _ in range(8)]
            await until(lambda: len(server.process.server_state.connections) >= 8, "there are enough")
            for _ in range(20):
                answer = await many.get(f"{server.url}/healthz")
                assert (answer.status_code, answer.headers["connection"]) == (503, "close")
                assert answer.headers["content-type"] == "application/problem+json"
                again.add(int(answer.headers["retry-after"]))
            assert len(again) > 1, "not all of them at once"
            for _, writer in taken:
                writer.close()
                await writer.wait_closed()
            await until(lambda: len(server.process.server_state.connections) < 8, "some have left")
            assert (await many.get(f"{server.url}/healthz")).status_code == 200


def test_what_there_are_no_descriptors_for_is_refused_at_start():
    assert most_connections(None, 1024) == 1024 - RESERVED
    assert most_connections(10, 1024) == 10
    with pytest.raises(ValueError, match=r"--max-connections 1000: takes 1256 file descriptors, the limit .* is 1024"):
        most_connections(1000, 1024)
    with pytest.raises(ValueError, match="1 at least"):
        most_connections(0, 1024)
