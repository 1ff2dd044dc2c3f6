"""The network at any kept revision, one node's view of it, what lies between two."""

import pytest
import pytest_asyncio

from tests.integration.viewserver.serving import serving
from tests.unit.viewserver.clouds import changed, delete, instance, put
from viewserver import history

NODES = ("nc-1", "nc-2", "nc-3")
NARROWER = [{"protocol": "tcp", "from_port": 80, "to_port": 80, "cidr": "10.0.0.0/8"}]
CHANGES = [
    [changed("i-app", groups=[])],
    [put("instance", "i-new", **instance("nc-3", 40, "sg-idle", zone_net="10.2.0"))],
    [changed("sg-web", ingress=NARROWER), put("elastic_ip", "203.0.113.2", instance="i-db")],
    [put("node", "nc-4", zone="zone-b", address="192.0.2.4")],
    [changed("i-app", node="nc-2")],
    [delete("instance", "i-new"), delete("node", "nc-3"), delete("instance", "i-far")],
    [changed("i-app", groups=[]), put("elastic_ip", "203.0.113.2", instance=None)],
]


async def get(server, path, expect=200, **params):
    answer = await server.admin.get(path, params=params or None)
    assert answer.status_code == expect, answer.text
    return answer


async def view(server, node, **params):
    return await get(server, f"/v1/nodes/{node}/view", **params)


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(module_database_url, tmp_path_factory):
    async with serving(module_database_url, tmp_path_factory.mktemp("server")) as found:
        await found.cloud()
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def past(server):
    """By revision: the model, and each node's view, as they were served then."""
    found = {}
    for operations in [[], *CHANGES]:
        if operations:
            await server.update(*operations)
        model = await server.model()
        views = {node: await view(server, node) for node in model["nodes"]}
        found[model["revision"]] = (model, views)
    return found


async def test_everything_is_as_it_was_served_then(server, past, monkeypatch):
    monkeypatch.setattr(history, "PAGE", 3)
    assert len(past) == len(CHANGES) + 1
    head = max(past)
    for revision, (model, views) in past.items():
        assert (await get(server, "/v1/model", revision=revision)).json() == model
        for node, then in views.items():
            now = await view(server, node, revision=revision)
            assert (now.json(), now.headers["etag"]) == (then.json(), then.headers["etag"])
            assert now.headers["verge-revision"] == then.headers["verge-revision"]
    assert (await get(server, "/v1/model", revision=0)).json()["nodes"] == {}
    await view(server, "nc-4", revision=2, expect=404)
    for path in ("/v1/model", "/v1/nodes/nc-1/view"):
        answer = await get(server, path, revision=head + 1, expect=404)
        assert f"the head is {head}" in answer.json()["detail"]


async def test_what_lies_between_two_revisions(server, past):
    found = (await get(server, "/v1/diff", **{"from": 1, "to": 4})).json()
    edits = {(one["kind"], one["id"]): one for one in found["objects"]}
    assert edits["group", "sg-web"]["fields"] == {
        "ingress": {
            "before": past[1][0]["groups"]["sg-web"]["ingress"],
            "after": past[4][0]["groups"]["sg-web"]["ingress"],
        }
    }
    assert edits["instance", "i-new"]["op"] == "create"
    assert edits["instance", "i-new"]["revisions"] == [3]
    head = max(past)
    whole = (await get(server, "/v1/diff", **{"from": 3, "to": 7})).json()
    assert (await get(server, "/v1/diff", **{"from": 3})).json()["to"] == head
    assert ("instance", "i-new", "delete") in {(one["kind"], one["id"], one["op"]) for one in whole["objects"]}
    assert (await get(server, "/v1/diff", **{"from": 2, "to": 2})).json()["objects"] == []
    backwards = await get(server, "/v1/diff", **{"from": 3, "to": 2}, expect=422)
    assert backwards.json()["errors"] == [{"pointer": "/query/to", "message": "must not be below from, 3"}]
    await get(server, "/v1/diff", **{"from": 1, "to": head + 1}, expect=404)


async def test_the_difference_of_one_nodes_view_is_the_delta_it_was_given(server, past):
    base = past[1][1]["nc-2"].headers["etag"]
    for end in range(2, max(past) + 1):
        found = (await get(server, "/v1/diff", **{"from": 1, "to": end, "node": "nc-2"})).json()
        assert found["etag"] == {"before": base, "after": past[end][1]["nc-2"].headers["etag"]}
    delta = await server.view("nc-2", etag=base, delta=True)
    assert delta.status_code == 226
    assert found["view"] == delta.json()
    gone = (await get(server, "/v1/diff", **{"from": 1, "to": max(past), "node": "nc-3"})).json()
    assert (gone["view"], gone["etag"]["after"]) == (None, None)
    await get(server, "/v1/diff", **{"from": 1, "node": "nc-9"}, expect=404)


async def test_a_time_names_the_revision_that_was_the_head(server, past):
    times = {number: (await get(server, f"/v1/updates/{number}")).json()["at"] for number in (1, 2, 3)}
    for number, at in times.items():
        assert (await get(server, "/v1/model", at=at)).json() == past[number][0]
    assert (await view(server, "nc-1", at=times[2])).headers["etag"] == past[2][1]["nc-1"].headers["etag"]
    assert (await get(server, "/v1/model", at="2020-01-01T00:00:00Z")).json()["revision"] == 0
    naive = await get(server, "/v1/model", at="2026-01-01T00:00:00", expect=422)
    assert naive.json()["errors"][0]["pointer"] == "/query/at"
    await get(server, "/v1/model", at=times[1], revision=2, expect=422)


async def test_who_may_look_back(server, past):
    for role, node, expect in (("operator", None, 200), ("cloud", None, 200), ("node", "nc-1", 403)):
        client = await server.as_(role, node)
        for path in (
            "/v1/nodes/nc-1/view?revision=1",
            "/v1/nodes/nc-1/view?%72evision=1",
            "/v1/diff?from=1",
            "/v1/model?revision=1",
        ):
            assert (await client.get(path)).status_code == expect
