"""Writing over HTTP: atomic, once, at the revision it was meant for; and what is refused leaves nothing."""

# ruff: noqa: E501 - one line for each case

import asyncio
import json
from http import HTTPStatus

import pytest

from tests.integration.conftest import administer
from tests.integration.store.test_failures import _TERMINATE, name_of
from tests.integration.viewserver.serving import serving
from tests.unit.viewserver.clouds import CLOUD, changed, delete, instance, put
from tests.unit.viewserver.model.test_bad_input import FAULTY

ONE = {"operations": [changed("sg-idle", name="one")]}
TWO = {"operations": [changed("sg-idle", name="two")]}


async def kept(server):
    """What a refused request must leave alone."""
    return await server.model(), await server.etags(), (await server.admin.get("/v1/updates")).json()


async def test_what_an_update_answers(cloud):
    answer = await cloud.admin.post("/v1/updates", json={"operations": [changed("nc-3", gateway_mode="node")]})
    body = answer.json()
    assert answer.status_code == 200
    assert (body["epoch"], body["revision"], body["changed"], body["affected"]) == (1, 2, True, ["nc-3"])
    assert body["affected_nodes"] == 1
    assert answer.headers["location"] == "/v1/updates/2"
    assert answer.headers["verge-revision"] == "1.2"
    assert answer.headers["etag"] == '"2"'
    record = (await cloud.admin.get("/v1/updates/2")).json()
    assert (record["actor"], record["affected"]) == ("first admin", ["nc-3"])
    assert body["committed_at"] == record["at"]
    ((kind, key, before, after),) = [tuple(one[name] for name in ("kind", "id", "before", "after")) for one in record["operations"]]  # fmt: skip
    assert (kind, key, before["gateway_mode"], after["gateway_mode"]) == ("node", "nc-3", None, "node")
    assert record["nodes"] == {"nc-3": None}


async def test_an_update_that_changes_nothing_makes_no_revision(cloud):
    body = await cloud.update(*CLOUD)
    assert (body["changed"], body["revision"], body["affected"]) == (False, 1, [])
    assert (await cloud.model())["revision"] == 1


async def test_an_update_that_no_node_sees_makes_a_revision_and_moves_no_version(cloud):
    before = await cloud.etags()
    body = await cloud.update(put("group", "sg-new", name="n", account="bob"))
    assert (body["changed"], body["revision"], body["affected"]) == (True, 2, [])
    assert await cloud.etags() == before


@pytest.mark.parametrize("name", ["a missing field", "IPv6 in a rule", "host bits in a rule", "a group that is not", "another's private IP"])  # fmt: skip
async def test_a_refused_update_names_its_faults_and_leaves_nothing(cloud, name):
    operation, pointer, message = FAULTY[name]
    before = await kept(cloud)
    answer = await cloud.admin.post("/v1/updates", json={"operations": [operation, changed("sg-idle", name="good")]})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["title"]) == (422, HTTPStatus(422).phrase)
    ((found, said),) = [(one["pointer"], one["message"]) for one in body["errors"]]
    assert found == pointer
    assert message in said
    assert await kept(cloud) == before


async def test_one_hundred_faults_are_one_hundred_errors(cloud):
    operations = [put("instance", f"i-{number}", **instance("nc-9", 30, mac="x")) for number in range(50)]
    answer = await cloud.admin.post("/v1/updates", json={"operations": operations})
    pointers = {one["pointer"] for one in answer.json()["errors"]}
    assert {f"/operations/{number}/value/{field}" for number in range(50) for field in ("node", "mac")} <= pointers


async def test_deleting_what_is_in_use_is_409(cloud):
    before = await kept(cloud)
    answer = await cloud.admin.post("/v1/updates", json={"operations": [delete("group", "sg-app")]})
    assert answer.status_code == 409
    assert answer.json()["errors"] == [{"pointer": "/operations/0/id", "message": "group sg-app is in use by instance i-app, instance i-db"}]  # fmt: skip
    assert await kept(cloud) == before


BODIES = {
    "nothing": (b"", "", "is not JSON"),
    "no JSON": (b"{", "", "is not JSON"),
    "no UTF-8": (b'{"operations": ["\xff"]}', "", "is not JSON"),
    "half a surrogate": (rb'{"operations": ["\ud800"]}', "", "is not JSON"),
    "a NUL": (rb'{"operations": ["\u0000"]}', "", "NUL"),
    "infinity": (b'{"operations": [1e999]}', "", "is not JSON"),
    "a list": (b"[]", "", "must be an object"),
    "no operations": (b"{}", "/operations", "is missing"),
    "operations of another type": (b'{"operations": {}}', "/operations", "must be a list"),
    "a field too many": (b'{"operations": [], "force": true}', "/force", "is not a known field"),
    "too deep": (b'{"operations": ' + b"[" * 5000 + b"]" * 5000 + b"}", "", "is not JSON"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "pointer", "message"), BODIES.values(), ids=BODIES.keys())
async def test_what_is_no_update_is_422(cloud, body, pointer, message):
    answer = await cloud.admin.post("/v1/updates", content=body)
    assert answer.status_code == 422
    ((found, said),) = [(one["pointer"], one["message"]) for one in answer.json()["errors"]]
    assert found == pointer
    assert message in said
    assert (await cloud.model())["revision"] == 1


async def test_deep_nesting_is_refused_where_it_is(cloud):
    nested = b"[" * 900 + b"]" * 900
    body = json.dumps({"operations": [changed("zone-a", deep="X")]}).encode().replace(b'"X"', nested)
    answer = await cloud.admin.post("/v1/updates", content=body)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"pointer": "/operations/0/value/deep", "message": "is not a known field"}]


async def test_more_operations_than_the_limit_are_413(cloud):
    operations = [delete("instance", "i-none")] * 10_000
    assert (await cloud.update(*operations))["changed"] is False
    answer = await cloud.admin.post("/v1/updates", json={"operations": [*operations, delete("instance", "i-none")]})
    assert answer.status_code == 413
    assert answer.json()["detail"] == "the update has 10001 operations; the limit is 10000"


async def test_more_bytes_than_the_limit_are_413(database_url, tmp_path):
    async with serving(database_url, tmp_path, max_body_bytes=1000) as server:

        async def chunks():
            for _ in range(50):
                yield b" " * 100

        for content in (b" " * 1001, chunks()):
            answer = await server.admin.post("/v1/updates", content=content)
            assert answer.status_code == 413
            assert "1000" in answer.json()["detail"]
        assert (await server.admin.put("/v1/groups/sg-1", content=b" " * 1001)).status_code == 413


async def test_the_same_key_and_body_again_is_the_first_answer(cloud):
    key = {"Idempotency-Key": "k1"}
    first = await cloud.admin.post("/v1/updates", json=ONE, headers=key)
    await cloud.update(*TWO["operations"])
    again = await cloud.admin.post("/v1/updates", json=ONE, headers=key)
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await cloud.model())["groups"]["sg-idle"]["name"] == "two"
    other = await cloud.admin.post("/v1/updates", json=TWO, headers=key)
    assert other.status_code == 422
    assert (await cloud.model())["revision"] == 3


async def test_many_with_the_same_key_at_once_make_one_revision(replicas):
    key = {"Idempotency-Key": "k1"}
    answers = await asyncio.gather(
        *(server.admin.post("/v1/updates", json=ONE, headers=key) for server in replicas for _ in range(5))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["revision"] for answer in answers} == {2}
    assert (await replicas[0].model())["revision"] == 2


async def test_a_refused_request_does_not_use_up_its_key(cloud):
    key = {"Idempotency-Key": "k1"}
    bad = await cloud.admin.post("/v1/updates", json={"operations": [changed("i-web", node="nc-9")]}, headers=key)
    assert bad.status_code == 422
    assert (await cloud.admin.post("/v1/updates", json=ONE, headers=key)).json()["revision"] == 2


async def test_a_key_is_the_callers_own(cloud):
    clients = [await cloud.as_("cloud"), await cloud.as_("operator")]
    answers = [await client.post("/v1/updates", json=body, headers={"Idempotency-Key": "k"}) for client, body in zip(clients, (ONE, TWO), strict=True)]  # fmt: skip
    assert [answer.json()["revision"] for answer in answers] == [2, 3]


@pytest.mark.parametrize("key", ["", "k" * 256, "k\t1"])
async def test_a_key_that_is_none(cloud, key):
    answer = await cloud.admin.post("/v1/updates", json=ONE, headers={"Idempotency-Key": key})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/header/idempotency-key"
    assert (await cloud.model())["revision"] == 1


async def test_if_match_names_the_head_or_nothing_happens(cloud):
    stale = await cloud.admin.post("/v1/updates", json=ONE, headers={"If-Match": '"0"'})
    assert stale.status_code == 412
    assert stale.json()["detail"] == "the head is at revision 1, not 0"
    assert (await cloud.admin.post("/v1/updates", json=ONE, headers={"If-Match": '"2"'})).status_code == 412
    assert (await cloud.model())["revision"] == 1
    assert (await cloud.admin.post("/v1/updates", json=ONE, headers={"If-Match": '"1"'})).json()["revision"] == 2
    for wrong in ("1", '"x"', '"1', '"99999999999999999999"', "1.2"):
        answer = await cloud.admin.post("/v1/updates", json=TWO, headers={"If-Match": wrong})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/header/if-match"


async def test_of_many_writers_that_saw_the_same_head_one_wins(replicas):
    answers = await asyncio.gather(
        *(
            server.admin.post("/v1/updates", json={"operations": [changed("sg-idle", name=f"{number}")]}, headers={"If-Match": '"1"'})
            for number, server in enumerate(replicas * 4)
        )
    )  # fmt: skip
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7


async def test_a_dry_run_tells_all_and_keeps_nothing(cloud):
    before = await kept(cloud)
    answer = await cloud.update(put("elastic_ip", "203.0.113.2", instance="i-far"), dry_run="true")
    assert answer["dry_run"] is True
    assert answer["changed"] is True
    assert set(answer["affected"]) == set(answer["views"]) == {"nc-1", "nc-2", "nc-3"}
    assert answer["views"]["nc-1"]["members"] == {"sg-web": {"add": ["203.0.113.2"], "remove": []}}
    assert answer["views"]["nc-3"]["set"]["instances"]["i-far"]["elastic_ip"] == "203.0.113.2"
    assert await kept(cloud) == before
    refused = await cloud.update(delete("node", "nc-1"), dry_run="true", expect=409)
    assert refused["errors"]
    assert (
        await cloud.admin.post("/v1/updates?dry_run=true", json=ONE, headers={"If-Match": '"0"'})
    ).status_code == 412
    made = await cloud.update(put("elastic_ip", "203.0.113.2", instance="i-far"))
    assert made["affected"] == answer["affected"]


async def test_a_dry_run_says_what_a_new_node_would_see(cloud):
    answer = await cloud.update(
        put("node", "nc-4", zone="zone-b", address="192.0.2.4"), delete("instance", "i-far"), delete("node", "nc-3"), dry_run="true"
    )  # fmt: skip
    assert answer["views"]["nc-4"]["set"]["host"] == {"address": "192.0.2.4", "gateway_mode": "impersonate"}
    assert "nc-3" not in answer["views"]


ONE_BY_ONE = {
    "zones": ("zone-c", {"subnet": "10.3.0.0/24", "gateway": "10.3.0.1", "private_ips": ["10.3.0.10"]}),
    "nodes": ("nc-9", {"zone": "zone-a", "address": "192.0.2.9"}),
    "groups": ("sg-9", {"name": "nine", "account": "bob"}),
    "instances": ("i-9", instance("nc-1", 49)),
    "elastic_ips": ("203.0.113.9", {"instance": None}),
}


@pytest.mark.parametrize("collection", ONE_BY_ONE)
async def test_objects_one_by_one(cloud, collection):
    key, value = ONE_BY_ONE[collection]
    path = f"/v1/{collection}/{key}"
    assert (await cloud.admin.put(path, json=value)).json()["revision"] == 2
    assert (await cloud.admin.put(path, json=value)).json()["changed"] is False
    assert key in (await cloud.model())[collection]
    faulty = await cloud.admin.put(path, json={**value, "colour": "red"})
    assert faulty.status_code == 422
    assert faulty.json()["errors"] == [{"pointer": "/colour", "message": "is not a known field"}]
    assert (await cloud.admin.delete(path)).json()["revision"] == 3
    assert (await cloud.admin.delete(path)).status_code == 404
    assert key not in (await cloud.model())[collection]


async def test_one_by_one_what_is_wrong_is_told_alike(cloud):
    assert (await cloud.admin.put("/v1/routers/r1", json={})).status_code == 404
    assert (await cloud.admin.put("/v1/nodes/nc_1", json={})).json()["errors"][0]["pointer"] == "/id"
    in_use = await cloud.admin.delete("/v1/nodes/nc-1")
    assert in_use.status_code == 409
    assert in_use.json()["errors"][0]["pointer"] == "/id"
    assert (await cloud.admin.put("/v1/instances/i-1%2F2", json={})).status_code == 404
    assert (await cloud.admin.put("/v1/groups/sg-1", content=b"[")).status_code == 422


async def test_the_model_is_shown_as_it_was(cloud):
    models = [await cloud.model()]
    for operation in (changed("sg-idle", name="b"), delete("instance", "i-db"), put("elastic_ip", "203.0.113.3", instance="i-far")):  # fmt: skip
        await cloud.update(operation)
        models.append(await cloud.model())
    for model in models:
        found = await cloud.admin.get(f"/v1/model?revision={model['revision']}")
        assert found.json() == model
    assert (await cloud.admin.get("/v1/model?revision=0")).json()["nodes"] == {}
    assert (await cloud.admin.get("/v1/model?revision=5")).status_code == 404
    log = (await cloud.admin.get("/v1/updates?limit=3")).json()
    assert [one["revision"] for one in log["updates"]] == [4, 3, 2]
    rest = (await cloud.admin.get(f"/v1/updates?before={log['next_before']}")).json()
    assert ([one["revision"] for one in rest["updates"]], rest["next_before"]) == ([1], None)


async def test_without_postgres_a_write_is_503_and_a_view_is_served(cloud, postgres, database_url):
    name = name_of(database_url)
    view = await cloud.view("nc-1")
    await administer(postgres, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", _TERMINATE.format(name, "pool"))
    try:
        answer = await cloud.admin.post("/v1/updates", json=ONE)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert answer.headers["content-type"] == "application/problem+json"
        report = await cloud.admin.put("/v1/nodes/nc-1/report", json={"applied": {"etag": view.headers["etag"]}, "state": "applied"})  # fmt: skip
        assert report.status_code == 503
        assert (await cloud.view("nc-1")).content == view.content
        assert (await cloud.admin.get("/v1/model")).status_code == 200
        assert (await cloud.admin.get("/v1/convergence")).status_code == 200
    finally:
        await administer(postgres, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert (await cloud.update(*ONE["operations"]))["revision"] == 2


FAR = put("instance", "i-new", **instance("nc-3", 40, "sg-idle", zone_net="10.2.0"))


async def test_an_update_that_changes_nothing_is_in_force_only_when_what_made_it_so_is(cloud):
    await cloud.apply("nc-1", "nc-2", "nc-3")
    await cloud.update(FAR)
    again = {"operations": [FAR]}
    answer = (await cloud.admin.post("/v1/updates?wait=applied&timeout=0.05", json=again)).json()
    assert (answer["changed"], answer["converged"]) == (False, False)
    assert [one["node"] for one in answer["laggards"]] == ["nc-3"]
    await cloud.apply("nc-3")
    answer = (await cloud.admin.post("/v1/updates?wait=applied&timeout=5", json=again)).json()
    assert (answer["changed"], answer["converged"]) == (False, True)
