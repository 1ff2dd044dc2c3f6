"""The boot gate: an instance is ready when its node says so of what was last said of the instance."""

import asyncio

from tests.integration.viewserver.serving import until
from tests.unit.viewserver.clouds import changed


async def ready(server, client=None, **params):
    answer = await (client or server.admin).get("/v1/instances/i-web", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def applied(server, state):
    etag = (await server.view("nc-1")).headers["etag"]
    await server.report("nc-1", etag, instances={"i-web": state})


async def test_it_is_ready_when_its_node_has_its_port_in_force(cloud):
    assert (await ready(cloud))["state"] == "waiting-for-node"
    await applied(cloud, "waiting-for-interface")
    found = await ready(cloud)
    assert (found["ready"], found["state"], found["node"]) == (False, "waiting-for-interface", "nc-1")
    waiting = asyncio.ensure_future(ready(cloud, wait="ready", timeout=30))
    await until(lambda: len(cloud.replica.progress) > 0 or waiting.done())
    assert not waiting.done()
    await applied(cloud, "ready")
    assert (await waiting)["ready"] is True


async def test_what_was_said_of_it_since_counts(cloud):
    await applied(cloud, "ready")
    assert (await ready(cloud))["ready"] is True
    made = await cloud.update(changed("i-web", groups=[]))
    found = await ready(cloud, wait="ready", timeout=0.05)
    assert (found["state"], found["changed_at_revision"]) == ("waiting-for-node", made["revision"])
    await applied(cloud, "ready")
    assert (await ready(cloud))["ready"] is True


async def test_a_node_asks_for_its_own_only(cloud):
    assert (await ready(cloud, client=await cloud.as_("node", "nc-1")))["id"] == "i-web"
    assert (await ready(cloud, client=await cloud.as_("cloud")))["id"] == "i-web"
    other = await cloud.as_("node", "nc-2")
    assert (await other.get("/v1/instances/i-web")).status_code == 403
    assert (await other.get("/v1/instances/i-none")).status_code == 403
    assert (await cloud.admin.get("/v1/instances/i-none")).status_code == 404
