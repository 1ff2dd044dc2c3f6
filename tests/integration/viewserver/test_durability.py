"""Restarted, killed, its Postgres killed: same revisions, same ETags, and no acknowledged update is lost.

The servers are processes of their own, with the Postgres that they start themselves.
"""

import asyncio

import httpx
import orjson
import pytest
import pytest_asyncio

from tests.integration.viewserver.process import Process
from tests.unit.viewserver.clouds import CLOUD, delete, instance, put
from verge.contract.etag import ETag
from verge.contract.view import View
from viewserver.compile.held import Held
from viewserver.model.change import Change, Recorded
from viewserver.model.invariants import check_all

NODES = ("nc-1", "nc-2", "nc-3")


@pytest_asyncio.fixture
async def server(tmp_path):
    found = await Process(tmp_path).start()
    async with client_of(found) as client:
        answer = await client.post("/v1/updates", json={"operations": CLOUD})
        assert answer.status_code == 200
    yield found
    if found.child.returncode is None:
        assert await found.terminate() == 0


def client_of(server):
    return httpx.AsyncClient(
        base_url=server.url, headers={"authorization": f"Bearer {server.token}"}, timeout=30, trust_env=False
    )


async def picture(client):
    """Everything that must be the same afterwards."""
    model = (await client.get("/v1/model")).json()
    updates = (await client.get("/v1/updates?limit=1000")).json()["updates"]
    for one in updates:  # written down within seconds
        for slow in ("told_ms", "stages_ms", "rejections"):
            one["summary"].pop(slow, None)
    views = {}
    for node in sorted(model["nodes"]):
        answer = await client.get(f"/v1/nodes/{node}/view")
        assert ETag.parse(answer.headers["etag"]).digest == View.parse(answer.json()).digest
        views[node] = (answer.headers["etag"], answer.content)
    return model, updates, views


async def replayed(client):
    """The network and ETags that the change records alone lead to."""
    held = Held.empty()
    head = (await client.get("/v1/model")).json()["revision"]
    for revision in range(1, head + 1):
        record = (await client.get(f"/v1/updates/{revision}")).json()
        operations = tuple(
            Recorded(one["kind"], one["id"], one["before"], one["after"]) for one in record["operations"]
        )
        change = Change(revision, record["epoch"], record["at"], record["actor"], operations, tuple(record["affected"]))
        held = held.fold(change)
    assert check_all(held.network) == []
    return held


class Writers:
    """Several that write without a pause, and note what was acknowledged. One that got no answer asks again, with the same
    key, until it has one."""

    def __init__(self, server, many=4):
        self.server = server
        self.acknowledged = {}
        self.tasks = [asyncio.ensure_future(self._write(number)) for number in range(many)]

    async def _write(self, number):
        for step in range(10**6):
            key = f"{number}-{step}"
            value = instance("nc-3" if step % 3 else "nc-2", 60 + number, "sg-web", account=f"{step}")
            value["private_ip"] = f"10.{1 if step % 3 == 0 else 2}.0.{60 + number}"
            operations = (
                [put("instance", f"i-w{number}", **value)] if step % 7 else [delete("instance", f"i-w{number}")]
            )
            self.acknowledged[key] = await self._until_answered(key, operations)

    async def _until_answered(self, key, operations):
        while True:
            try:
                async with client_of(self.server) as client:
                    answer = await client.post(
                        "/v1/updates", json={"operations": operations}, headers={"Idempotency-Key": key}
                    )
            except httpx.TransportError:
                await asyncio.sleep(0.02)
                continue
            if answer.status_code == 503:
                assert answer.headers["retry-after"]
                await asyncio.sleep(0.02)
                continue
            assert answer.status_code == 200, answer.text
            return answer.json()["revision"], answer.json()["changed"], operations

    async def until(self, more):
        """Until so many more were acknowledged."""
        wanted = len(self.acknowledged) + more
        async with asyncio.timeout(60):
            while len(self.acknowledged) < wanted:
                for task in self.tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.01)

    async def stop(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def whole(client, writers):
    """Nothing acknowledged is lost, nothing was written twice, and the records lead to what is served."""
    model, _, views = await picture(client)
    made = {}
    for key, (revision, changed, operations) in writers.acknowledged.items():
        assert revision <= model["revision"]
        if not changed:
            continue
        assert revision not in made, f"{key} and {made[revision]} are both revision {revision}"
        made[revision] = key
        record = (await client.get(f"/v1/updates/{revision}")).json()
        found = {one["id"]: one["after"] for one in record["operations"] if one["kind"] == "instance"}
        (operation,) = operations
        expected = operation.get("value")
        assert operation["id"] in found
        assert (found[operation["id"]] or {}).get("account") == (expected or {}).get("account")
    held = await replayed(client)
    assert orjson.loads(orjson.dumps(held.network.to_wire())) == {
        name: one for name, one in model.items() if name != "revision"
    }
    assert {node: str(held.etag(node)) for node in held.derived.digests} == {
        node: etag for node, (etag, _) in views.items()
    }


async def test_stopped_in_order_and_started_again(server):
    async with client_of(server) as client:
        before = await picture(client)
    assert await server.terminate() == 0
    await server.start()
    async with client_of(server) as client:
        assert await picture(client) == before
        held = await client.get("/v1/nodes/nc-1/view", headers={"If-None-Match": before[2]["nc-1"][0]})
        assert held.status_code == 304


@pytest.mark.slow
async def test_the_server_is_killed_while_many_write(server):
    writers = Writers(server)
    for _ in range(3):
        await writers.until(20)
        await server.kill()
        await server.start()
    await writers.until(20)
    await writers.stop()
    async with client_of(server) as client:
        await whole(client, writers)
        before = await picture(client)
    await server.kill()
    await server.start()
    async with client_of(server) as client:
        assert await picture(client) == before
    assert before[0]["revision"] > 40


@pytest.mark.slow
async def test_postgres_is_killed_while_many_write(server):
    writers = Writers(server)
    for _ in range(2):
        await writers.until(20)
        server.kill_postgres()
    await writers.until(20)
    await writers.stop()
    async with client_of(server) as client:
        await whole(client, writers)
        before = await picture(client)
    assert server.child.returncode is None
    assert await server.terminate() == 0
    await server.start()
    async with client_of(server) as client:
        assert await picture(client) == before


async def test_an_etag_of_before_is_the_base_of_a_delta_after(server):
    async with client_of(server) as client:
        base = await client.get("/v1/nodes/nc-2/view")
        await client.post("/v1/updates", json={"operations": [put("elastic_ip", "203.0.113.2", instance="i-far")]})
    await server.kill()
    await server.start()
    async with client_of(server) as client:
        headers = {"If-None-Match": base.headers["etag"], "A-IM": "verge-delta"}
        answer = await client.get("/v1/nodes/nc-2/view", headers=headers)
        assert answer.status_code == 226
        assert answer.json()["members"] == {"sg-web": {"add": ["203.0.113.2"], "remove": []}}


@pytest.mark.parametrize("parked", ["polls", "barrier", "update"])
async def test_stopping_answers_those_who_wait_and_ends_with_0(server, parked):
    """Each of them was ready to wait for 50 seconds."""
    async with client_of(server) as client:
        _, _, views = await picture(client)

        async def poll(node):
            return await client.get(f"/v1/nodes/{node}/view?wait=50", headers={"If-None-Match": views[node][0]})

        waits = {
            "polls": lambda: [poll(node) for node in NODES],
            "barrier": lambda: [client.get("/v1/convergence?revision=1&wait=50") for _ in NODES],
            "update": lambda: [
                client.post(
                    "/v1/updates?wait=applied&timeout=50",
                    json={"operations": [put("elastic_ip", "203.0.113.2", instance="i-app")]},
                )
            ],
        }[parked]()
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        async with asyncio.timeout(20):  # the server has heard all of them when it has answered one that came after
            done, _ = await asyncio.wait(tasks, timeout=0.5)
            assert not done
            assert (await client.get("/healthz")).status_code == 200
        async with asyncio.timeout(20):
            assert await server.terminate() == 0
        answers = [await task for task in tasks]
    for answer in answers:
        if parked == "polls":
            assert answer.status_code == 304
            assert answer.headers["etag"] == views[answer.url.path.split("/")[3]][0]
        else:
            assert (answer.status_code, answer.json()["converged"]) == (200, False)
    assert "Traceback" not in server.log
