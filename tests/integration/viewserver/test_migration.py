"""A live migration, as the cloud and the two hypervisors see it: prepared, cut over, in force on one node at a time."""

import asyncio

from tests.integration.viewserver.serving import until
from tests.unit.viewserver.clouds import changed


async def asked(server, client=None, **params):
    answer = await (client or server.admin).get("/v1/instances/i-web", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def says(server, node, state):
    """The node applies what its view holds now, and says this of the instance."""
    await server.report(node, (await server.view(node)).headers["etag"], instances={"i-web": state} if state else {})


async def test_the_hypervisor_starts_when_the_target_is_prepared_and_the_cut_over_waits_for_the_source(cloud):
    await says(cloud, "nc-1", "ready")
    made = await cloud.update(changed("i-web", migrating_to="nc-2"))
    assert sorted(made["affected"]) == ["nc-1", "nc-2"]
    waiting = asyncio.ensure_future(asked(cloud, client=await cloud.as_("node", "nc-2"), wait="prepared", timeout=30))
    await until(lambda: len(cloud.replica.progress) > 0 or waiting.done())
    assert not waiting.done()
    await says(cloud, "nc-1", "ready")
    await says(cloud, "nc-2", "prepared")
    found = await waiting
    assert (found["prepared"], found["migrating_to"], found["target_state"]) == (True, "nc-2", "prepared")
    assert (found["node"], found["state"], found["ready"]) == ("nc-1", "ready", True)

    prepared_view = (await cloud.view("nc-2")).headers["etag"]
    made = await cloud.update(changed("i-web", node="nc-2"))
    assert made["affected"] == ["nc-1"]
    assert "i-web" not in (await cloud.view("nc-1")).json()["instances"]
    assert (await cloud.view("nc-2")).headers["etag"] == prepared_view, "still closed, and not woken"
    found = await asked(cloud)
    assert (found["state"], found["ready"], found["migrating_to"]) == ("fenced", False, None)
    fences = (await cloud.admin.get("/v1/fences")).json()["fences"]
    assert {(one["address"], one["from"], one["to"]) for one in fences} == {
        ("10.1.0.10", "nc-1", "nc-2"),
        ("203.0.113.1", "nc-1", "nc-2"),
    }

    poll = await cloud.park("nc-2", prepared_view)
    await says(cloud, "nc-1", None)
    opened = (await poll).json()["instances"]["i-web"]
    assert (opened["node"], opened["elastic_ip"]) == ("nc-2", "203.0.113.1")
    assert (await asked(cloud))["ready"] is False, "it was prepared, which is not open"
    await says(cloud, "nc-2", "ready")
    assert (await asked(cloud))["ready"] is True
    barrier = await cloud.admin.get("/v1/convergence", params={"revision": made["revision"]})
    assert barrier.json()["converged"] is True


async def test_a_source_that_is_silent_is_waited_for(cloud):
    await cloud.apply("nc-1", "nc-2")
    await cloud.update(changed("i-web", migrating_to="nc-2"))
    await says(cloud, "nc-2", "prepared")
    await cloud.update(changed("i-web", node="nc-2"))
    assert (await asked(cloud, wait="ready", timeout=0.1))["state"] == "fenced"
    for address in ("10.1.0.10", "203.0.113.1"):
        answer = await cloud.admin.delete(f"/v1/fences/{address}")
        assert answer.status_code == 200, "an operator knows that the source is dead"
    opened = (await cloud.view("nc-2")).json()["instances"]["i-web"]
    assert (opened["node"], opened["elastic_ip"]) == ("nc-2", "203.0.113.1")


async def test_a_node_asks_for_what_is_on_its_way_to_it_only(cloud):
    await cloud.update(changed("i-web", migrating_to="nc-2"))
    for node, status in (("nc-1", 200), ("nc-2", 200), ("nc-3", 403)):
        answer = await (await cloud.as_("node", node)).get("/v1/instances/i-web")
        assert answer.status_code == status, node
    await cloud.update(changed("i-web"))
    assert (await (await cloud.as_("node", "nc-2")).get("/v1/instances/i-web")).status_code == 403
