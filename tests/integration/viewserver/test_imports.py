"""Documents over HTTP: one update each, with warnings, idempotent, conditional, dry, waited for; refused whole."""

# ruff: noqa: E501 - one line for each case

import asyncio
import json

import pytest

from tests.integration.viewserver.serving import serving, until
from tests.unit.viewserver.clouds import cloud as small_cloud
from tests.unit.viewserver.eucalyptus.documents import EXAMPLES, fixture, written

YAML, XML, JSON = "application/yaml", "application/xml", "application/json"
NETWORK = (EXAMPLES / "network-flat.yaml").read_bytes()
MODEL = (EXAMPLES / "gni-small.xml").read_bytes()


async def put(server, path, body, media, expect=200, client=None, headers=None, **params):
    headers = {"content-type": media} | (headers or {}) if media else headers
    answer = await (client or server.admin).put(path, content=body, headers=headers, params=params)
    assert answer.status_code == expect, answer.text
    return answer


async def model(server):
    return {name: found for name, found in (await server.model()).items() if name != "revision"}


async def test_the_operators_document_then_the_controllers(server):
    first = (await put(server, "/v1/network", NETWORK, YAML)).json()
    assert (first["revision"], first["changed"], first["affected"], first["warnings"]) == (1, True, [], [])
    second = (await put(server, "/v1/model", MODEL, XML)).json()
    assert (second["revision"], second["warnings"]) == (2, [])
    assert second["affected"] == ["10.20.0.11", "10.20.0.12"]
    found = await model(server)
    assert found["instances"]["i-1f0c0003"]["node"] == "10.20.0.12"
    assert found["network"]["metadata"]["host"] == "10.20.0.2"
    record = (await server.admin.get("/v1/updates/2")).json()
    assert record["actor"] == "first admin"
    assert (await put(server, "/v1/model", MODEL, "text/xml; charset=utf-8")).json()["changed"] is False
    assert (await put(server, "/v1/network", NETWORK, "application/x-yaml")).json()["changed"] is False
    view = await server.view("10.20.0.12")
    assert view.json()["instances"]["i-1f0c0003"]["elastic_ip"] == "10.20.100.2"


@pytest.mark.parametrize("name", ["network-flat.yaml", "network-two-zones.json"])
async def test_network_documents_of_real_clouds(server, name):
    answer = await put(server, "/v1/network", fixture(name), JSON if name.endswith("json") else YAML)
    assert answer.json()["changed"] is True
    assert "PARTI00" in (await model(server))["zones"]


@pytest.mark.parametrize("name", ["gni-clc-4.4.xml", "gni-edge-rules.xml", "gni-two-zones-120.xml"])
async def test_network_information_of_real_clouds(server, name):
    assert (await put(server, "/v1/model", fixture(name), XML)).json()["changed"] is True
    assert (await put(server, "/v1/model", fixture(name), XML)).json()["changed"] is False


async def test_what_get_model_answers_can_be_put_back_and_moved_elsewhere(cloud, database_url, tmp_path):
    before = await cloud.model()
    same = (await put(cloud, "/v1/model", json.dumps(before), JSON)).json()
    assert (same["revision"], same["changed"], same["affected"], same["warnings"]) == (1, False, [], [])
    changed_ = json.loads(json.dumps(before))
    del changed_["elastic_ips"]["203.0.113.1"]
    changed_["instances"]["i-db"]["groups"] = []
    answer = (await put(cloud, "/v1/model", json.dumps(changed_), None)).json()
    assert (answer["revision"], answer["changed"]) == (2, True)
    assert await model(cloud) == {name: found for name, found in changed_.items() if name != "revision"}
    operations = (await cloud.admin.get("/v1/updates/2")).json()["operations"]
    assert sorted((one["kind"], one["id"]) for one in operations if one["kind"] != "withdrawal") == [
        ("elastic_ip", "203.0.113.1"),
        ("instance", "i-db"),
    ]


async def test_the_same_key_again_is_the_first_answer_with_its_warnings(server):
    body = NETWORK + b"\nPublicGateway: 10.20.0.1\n"
    first = (await put(server, "/v1/network", body, YAML, headers={"idempotency-key": "k"})).json()
    assert first["warnings"][0]["pointer"] == "/PublicGateway"
    again = (await put(server, "/v1/network", body, YAML, headers={"idempotency-key": "k"})).json()
    assert again == first
    await put(server, "/v1/network", body, YAML, 422, headers={"idempotency-key": "k"}, prune="true")
    await put(server, "/v1/network", NETWORK, YAML, 422, headers={"idempotency-key": "k"})


async def test_if_match(server):
    await put(server, "/v1/network", NETWORK, YAML, headers={"if-match": '"0"'})
    await put(server, "/v1/model", MODEL, XML, 412, headers={"if-match": '"0"'})
    await put(server, "/v1/model", MODEL, XML, headers={"if-match": '"1"'})


async def test_a_dry_run_keeps_nothing_and_shows_the_difference(cloud):
    xml = written(small_cloud()).replace("10.1.0.12", "10.1.0.50")
    before = await cloud.model()
    answer = (await put(cloud, "/v1/model", xml, XML, dry_run="true")).json()
    assert answer["dry_run"] is True
    assert answer["changed"] is True
    assert isinstance(answer["warnings"], list)
    assert set(answer["views"]) == set(answer["affected"]) == {"nc-1", "nc-2", "nc-3"}
    assert await cloud.model() == before


async def test_waiting_until_it_is_in_force(server):
    task = asyncio.ensure_future(put(server, "/v1/model", MODEL, XML, wait="applied", timeout="20"))
    await until(lambda: server.replica.held.revision == 1)
    await server.apply("10.20.0.11", "10.20.0.12")
    answer = (await task).json()
    assert (answer["converged"], answer["laggards"], answer["warnings"]) == (True, [], [])


async def test_a_refused_document_names_its_faults_and_leaves_nothing(cloud):
    before = await cloud.model()
    wrong = NETWORK.replace(b"zone-1", b"a zone").replace(b"10.20.0.2", b"::1") + b"\nMode: VPCMIDO\n"
    body = (await put(cloud, "/v1/network", wrong, YAML, 422)).json()
    assert [one["pointer"] for one in body["errors"]] == [
        "/Mode",
        "/InstanceDnsServers/0",
        "/Clusters/0/Name",
    ]
    xml = MODEL.replace(b"d0:0d:1f:0c:00:01", b"x")
    body = (await put(cloud, "/v1/model", xml, XML, 422)).json()
    pointers = [one["pointer"] for one in body["errors"]]
    assert pointers == ["/network-data/instances/instance[@name='i-1f0c0001']/macAddress"]
    assert await cloud.model() == before


async def test_what_is_in_use_is_409(cloud):
    small = NETWORK.replace(b"zone-1", b"zone-b")
    body = (await put(cloud, "/v1/network", small, YAML, 409)).json()
    assert {one["pointer"] for one in body["errors"]} == {"/Clusters/0/PrivateIps", "/PublicIps"}
    everything = await cloud.model()
    del everything["zones"]["zone-b"]
    body = (await put(cloud, "/v1/model", json.dumps(everything), JSON, 422)).json()
    assert body["errors"] == [{"pointer": "/nodes/nc-3/zone", "message": "zone zone-b does not exist"}]


async def test_zones_go_only_when_pruned(cloud):
    keys = {"PublicIps": ["203.0.113.1-203.0.113.9"], "Clusters": [{"Name": "zone-b", "Subnet": {"Subnet": "10.2.0.0", "Netmask": "255.255.255.0", "Gateway": "10.2.0.1"}}]}  # fmt: skip
    await put(cloud, "/v1/network", json.dumps(keys), JSON)
    assert sorted((await model(cloud))["zones"]) == ["zone-a", "zone-b"]
    body = (await put(cloud, "/v1/network", json.dumps(keys), JSON, 409, prune="true")).json()
    assert body["errors"] == [{"pointer": "/Clusters", "message": "zone zone-a is in use by node nc-1, node nc-2"}]


async def test_many_instances_go_only_by_force(server):
    xml = fixture("gni-two-zones-120.xml")
    await put(server, "/v1/model", xml, XML)
    lost = [f"i-{number:08x}" for number in range(1, 22)]
    for name in lost:
        start = xml.index(f"<instance name='{name}'".encode())
        xml = xml[:start] + xml[xml.index(b"</instance>", start) + len(b"</instance>") :]
        xml = xml.replace(f"<value>{name}</value>".encode(), b"")
    body = (await put(server, "/v1/model", xml, XML, 409)).json()
    assert body["errors"][0]["message"].startswith("21 of 120 instances would be removed")
    await put(server, "/v1/model", xml, XML, force="true")
    assert len((await model(server))["instances"]) == 99


@pytest.mark.parametrize(("path", "media"), [("/v1/network", XML), ("/v1/model", YAML), ("/v1/model", "text/plain"), ("/v1/network", "")])  # fmt: skip
async def test_another_type_is_415_and_says_which_are_taken(server, path, media):
    answer = await server.admin.put(path, content=b"x", headers={"content-type": media})
    assert answer.status_code == 415
    assert answer.headers["content-type"] == "application/problem+json"
    assert "application/json" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "media"),
    [
        ("/v1/model", b'{"zones": {}, "zones": {}}', JSON),
        ("/v1/model", b"{", JSON),
        ("/v1/model", b'{"network": "\xff"}', JSON),
        ("/v1/model", b"", XML),
        ("/v1/model", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', XML),
        ("/v1/network", b"[" * 5000, YAML),
        ("/v1/network", b"a: &a [*a]", YAML),
        ("/v1/network", rb'{"\ud800": 1}', JSON),
        ("/v1/network", rb'{"\ud800": 1}', YAML),
        ("/v1/network", rb'{"PublicIps": ["\0"], "Mode": "\ud800"}', YAML),
        ("/v1/network", b"", YAML),
        ("/v1/network", b"null", JSON),
    ],
)
async def test_what_is_no_document_is_422(server, path, body, media):
    found = (await put(server, path, body, media, 422)).json()
    assert found["errors"]


async def test_documents_are_limited_by_bytes(database_url, tmp_path):
    async with serving(database_url, tmp_path, max_body_bytes=10_000) as server:
        await put(server, "/v1/model", MODEL, XML)
        await put(server, "/v1/model", MODEL + b" " * 10_000, XML, 413)
    async with serving(database_url, tmp_path) as server:
        await put(server, "/v1/network", NETWORK + b" " * 1024 * 1024, YAML, 413)


async def test_who_may(cloud):
    for role, node in (("cloud", None), ("operator", None)):
        client = await cloud.as_(role, node)
        await put(cloud, "/v1/model", json.dumps(await cloud.model()), JSON, client=client)
    node = await cloud.as_("node", "nc-1")
    await put(cloud, "/v1/model", b"{}", JSON, 403, client=node)
    await put(cloud, "/v1/network", NETWORK, YAML, 403, client=node)
    await put(cloud, "/v1/network", NETWORK, YAML, 401, client=cloud.client(None))


async def test_more_operations_than_an_update_takes(server):
    """The limit is bytes: ten thousand instances in one document, and then one fewer."""
    await server.update(*FLAT)
    whole = await server.model()
    whole["instances"] = {f"i-{number}": machine(number) for number in range(10_001)}
    assert (await put(server, "/v1/model", json.dumps(whole), JSON)).json()["changed"] is True
    del whole["instances"]["i-7"]
    answer = (await put(server, "/v1/model", json.dumps(whole), JSON)).json()
    operations = (await server.admin.get(f"/v1/updates/{answer['revision']}")).json()["operations"]
    assert [(one["kind"], one["id"]) for one in operations] == [("instance", "i-7"), ("withdrawal", "10.0.1.7")]


FLAT = [
    {"op": "put", "kind": "network", "id": "network", "value": {"dns_servers": [], "public_ips": []}},
    {"op": "put", "kind": "zone", "id": "z", "value": {"subnet": "10.0.0.0/16", "gateway": "10.0.0.1", "private_ips": ["10.0.1.0-10.0.254.255"]}},
    {"op": "put", "kind": "node", "id": "nc-1", "value": {"zone": "z", "address": "192.0.2.1"}},
]  # fmt: skip


def machine(number):
    return {
        "node": "nc-1",
        "mac": f"d0:0d:00:00:{number >> 8:02x}:{number & 255:02x}",
        "private_ip": f"10.0.{1 + (number >> 8)}.{number & 255}",
        "groups": [],
        "account": "alice",
        "interface": f"vn_{number}",
    }


async def test_an_import_that_moves_an_address_is_fenced_like_any_other(cloud):
    await cloud.apply("nc-1", "nc-2", "nc-3")
    whole = await cloud.model()
    whole["elastic_ips"]["203.0.113.1"]["instance"] = "i-db"
    await put(cloud, "/v1/model", json.dumps(whole), JSON)
    fences = (await cloud.admin.get("/v1/fences")).json()["fences"]
    assert [one["address"] for one in fences] == ["203.0.113.1"]
