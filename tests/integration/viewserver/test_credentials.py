"""Who may do what: the roles of the contract, tokens made and revoked, on every replica."""

import asyncio
import stat

import pytest
from sqlalchemy import text

from tests.integration.viewserver.serving import serving
from tests.unit.viewserver.clouds import changed
from viewserver.credentials import KeyMismatch

WRITING, READING, ASKING, OWN, MASTER = (
    {"cloud", "operator", "admin"},
    {"cloud", "operator", "admin"},
    {"operator", "admin"},
    {"node", "admin"},
    {"admin"},
)
REPORT = {"applied": None, "state": "rejected"}
ROLES = ("cloud", "operator", "node", "admin")
UPDATE = {"operations": [changed("sg-idle", name="x")]}

MATRIX = [
    ("POST", "/v1/updates", UPDATE, WRITING),
    ("POST", "/v1/updates?dry_run=true", UPDATE, WRITING),
    ("PUT", "/v1/groups/sg-idle", {"name": "y", "account": "bob"}, WRITING),
    ("DELETE", "/v1/groups/sg-idle", None, WRITING),
    ("GET", "/v1/model", None, READING),
    ("GET", "/v1/convergence", None, READING),
    ("GET", "/v1/convergence?revision=1", None, READING),
    ("GET", "/v1/updates", None, ASKING),
    ("GET", "/v1/updates/1", None, ASKING),
    ("GET", "/v1/nodes", None, ASKING),
    ("GET", "/v1/nodes/nc-1", None, ASKING),
    ("GET", "/v1/fences", None, ASKING),
    ("DELETE", "/v1/fences/10.1.0.10", None, ASKING),
    ("PUT", "/v1/nodes/nc-1/report", REPORT, OWN),
    ("GET", "/v1/tokens", None, MASTER),
    ("POST", "/v1/tokens", {"role": "cloud"}, MASTER),
    ("DELETE", "/v1/tokens/t-none", None, MASTER),
]


@pytest.mark.parametrize(("method", "path", "body", "allowed"), MATRIX, ids=[f"{one[0]} {one[1]}" for one in MATRIX])
async def test_a_role_may_do_what_the_contract_says_and_nothing_else(cloud, method, path, body, allowed):
    before = await cloud.model()
    for role in sorted(ROLES, key=lambda role: role in allowed):  # the refused first: they must leave nothing
        client = cloud.admin if role == "admin" else await cloud.as_(role, "nc-1" if role == "node" else None)
        answer = await client.request(method, path, json=body)
        assert (answer.status_code != 403) == (role in allowed), f"{role}: {answer.status_code}"
        assert answer.status_code not in (401, 405, 422)
        if role not in allowed:
            assert answer.json()["status"] == 403
            assert await cloud.model() == before


@pytest.mark.parametrize(("method", "path", "body", "_"), MATRIX, ids=[f"{one[0]} {one[1]}" for one in MATRIX])
async def test_without_a_token_nothing_is_told(cloud, method, path, body, _):
    before = await cloud.model()
    for header in (
        None,
        "",
        "Bearer",
        "Bearer x",
        f"Basic {cloud.admin_token}",
        cloud.admin_token,
        f"Bearer {cloud.admin_token}x",
        "Bearer \u00e9",
    ):
        headers = {} if header is None else {"authorization": header.encode("latin-1")}
        answer = await cloud.client(None).request(method, path, json=body, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"
    assert await cloud.model() == before


async def test_without_a_token_it_says_that_it_is_alive(cloud):
    anyone = cloud.client(None)
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
        assert (await anyone.get(path)).status_code == 200
    assert (await anyone.get("/v1/nodes/nc-1/view")).status_code == 401


async def test_a_node_is_told_of_itself_only_whether_others_exist_or_not(cloud):
    client = await cloud.as_("node", "nc-1")
    for other in ("nc-2", "nc-99", "nc-1.", "NC-1", "x" * 300, "nc-1%20", "%6ec-2"):
        asked = await client.get(f"/v1/nodes/{other}/view")
        told = await client.put(f"/v1/nodes/{other}/report", json=REPORT)
        faulty = await client.put(f"/v1/nodes/{other}/report", json={"state": 7})
        assert {asked.status_code, told.status_code, faulty.status_code} == {403}, other
        assert asked.json() == told.json() | {"detail": asked.json()["detail"]}
    details = {(await client.get(f"/v1/nodes/{other}/view")).json()["detail"] for other in ("nc-2", "nc-99")}
    assert len(details) == 1
    assert (await client.get("/v1/nodes/nc-1/view")).status_code == 200
    assert (await client.get("/v1/nodes/%6ec-1/view")).status_code == 200


async def test_an_unknown_node_is_404_to_those_who_may_know(cloud):
    for role in ("cloud", "operator"):
        assert (await (await cloud.as_(role)).get("/v1/nodes/nc-99/view")).status_code == 404
    assert (await cloud.view("nc-99")).status_code == 404  # a node asking for itself, before it is there
    await cloud.report("nc-99", None, "rejected", expect=404)


async def test_a_token_is_shown_once_and_kept_as_a_hash(cloud):
    made = await cloud.token("node", "nc-1", "the agent of nc-1")
    assert made.keys() == {"id", "token"}
    listed = (await cloud.admin.get("/v1/tokens")).json()["tokens"]
    (mine,) = [one for one in listed if one["id"] == made["id"]]
    assert mine == {
        "id": made["id"],
        "role": "node",
        "node": "nc-1",
        "name": "the agent of nc-1",
        "created_at": mine["created_at"],
    }
    async with cloud.application.server.database.begin() as conn:
        rows = (await conn.execute(text("SELECT tokens::text FROM tokens"))).scalars().all()
    for secret in (made["token"], cloud.admin_token):
        assert not any(secret in row or secret.encode().hex() in row for row in rows)
        assert secret not in (await cloud.admin.get("/v1/tokens")).text
    assert len(made["token"]) >= 43  # 256 bits


FAULTY = {
    "no role": ({}, "/role"),
    "an unknown role": ({"role": "root"}, "/role"),
    "a node without a name": ({"role": "node"}, ""),
    "a name for another role": ({"role": "cloud", "node": "nc-1"}, ""),
    "a node name that is none": ({"role": "node", "node": "nc_1"}, "/node"),
    "an empty name": ({"role": "cloud", "name": ""}, "/name"),
    "a name with control characters": ({"role": "cloud", "name": "a\nb"}, "/name"),
    "a field too many": ({"role": "cloud", "ttl": 5}, "/ttl"),
    "no object": ([], ""),
}


@pytest.mark.parametrize(("body", "pointer"), FAULTY.values(), ids=FAULTY.keys())
async def test_a_token_that_cannot_be_made(cloud, body, pointer):
    answer = await cloud.admin.post("/v1/tokens", json=body)
    assert answer.status_code == 422
    assert pointer in [one["pointer"] for one in answer.json()["errors"]]
    assert len((await cloud.admin.get("/v1/tokens")).json()["tokens"]) == 1


async def test_a_revoked_token_opens_nothing_on_any_replica(replicas):
    one, two = replicas
    made = await one.token("cloud")
    here, there = one.client(made["token"]), two.client(made["token"])
    assert (await here.get("/v1/model")).status_code == 200

    async def status():
        return (await there.get("/v1/model")).status_code

    async with asyncio.timeout(20):
        while await status() != 200:
            pass
        assert (await two.admin.delete(f"/v1/tokens/{made['id']}")).status_code == 204
        assert await status() == 401  # at once, where it was revoked
        while (await here.get("/v1/model")).status_code != 401:
            pass
    assert (await one.admin.delete(f"/v1/tokens/{made['id']}")).status_code == 404
    assert made["id"] not in (await one.admin.get("/v1/tokens")).text


async def test_the_last_way_in_stays_open_over_a_restart(database_url, tmp_path):
    async with serving(database_url, tmp_path) as server:
        token = server.admin_token
        assert stat.S_IMODE((tmp_path / "admin.token").stat().st_mode) == 0o600
    async with serving(database_url, tmp_path) as server:
        assert server.admin_token == token
        assert (await server.admin.get("/v1/tokens")).status_code == 200
        (tmp_path / "admin.token").unlink()
        (admin,) = (await server.admin.get("/v1/tokens")).json()["tokens"]
        assert (await server.admin.delete(f"/v1/tokens/{admin['id']}")).status_code == 204
    async with serving(database_url, tmp_path) as server:  # no admin is left: a new one is made
        assert server.admin_token != token
        assert (await server.admin.get("/v1/tokens")).status_code == 200


async def test_another_key_does_not_start(database_url, tmp_path):
    async with serving(database_url, tmp_path):
        pass
    with pytest.raises(KeyMismatch, match="another key"):
        async with serving(database_url, tmp_path, key="11" * 32):
            pass


async def test_replicas_that_start_together_leave_one_way_in_for_each(database_url, tmp_path):
    places = [tmp_path / "one", tmp_path / "two"]
    for place in places:
        place.mkdir()

    async def use(place):
        async with serving(database_url, place, admin_token="x") as server:
            written = place / "admin.token"
            return [written.read_text().strip()] if written.exists() else [], server.url

    found = await asyncio.gather(*(use(place) for place in places))
    tokens = [token for written, _ in found for token in written]
    assert tokens
    async with serving(database_url, places[0], admin_token=tokens[0]) as server:
        for token in tokens:
            assert (await server.client(token).get("/v1/tokens")).status_code == 200


async def test_the_log_names_who_wrote(cloud):
    named = cloud.client((await cloud.token("cloud", name="clc-1"))["token"])
    nameless = await cloud.token("cloud")
    await cloud.update(changed("sg-idle", name="a"), client=named)
    await cloud.update(changed("sg-idle", name="b"), client=cloud.client(nameless["token"]))
    actors = [one["actor"] for one in (await cloud.admin.get("/v1/updates?limit=2")).json()["updates"]]
    assert actors == [f"cloud {nameless['id']}", "clc-1"]
