"""`verge status`, `nodes`, `node`, `changes`, `change`, `network`, `model`: what the server knows, in words."""

import asyncio

import pytest

from tests.integration.viewserver.serving import serving
from tests.unit.viewserver.clouds import changed, put
from verge.contract.etag import ETag

NODES = ("nc-1", "nc-2", "nc-3")
ONLY_NC_1 = changed("i-app", account="bob", groups=[])


async def test_status_is_0_when_all_have_applied(cloud, verge):
    await cloud.apply(*NODES)
    found = await verge("status")
    assert (found.code, found.err) == (0, "")
    assert found.out.startswith("revision 1  converged\n")
    assert "3 · 3 converged" in found.out


async def test_status_is_1_and_names_who_lags(cloud, verge):
    await cloud.apply(*NODES)
    await cloud.update(ONLY_NC_1)
    found = await verge("status")
    assert found.code == 1
    assert "revision 2  not converged: 1 node of 3" in found.out
    row = next(row for row in found.rows if row[:1] == ["nc-1"])
    assert row[1:5] == ["zone-a", "lagging", "1", "2"]
    assert " ".join(row).endswith("applied 1, its view is at 2")
    assert not [row for row in found.rows if row[:1] == ["nc-2"]]
    assert [row[:4] for row in found.rows if row[:1] == ["zone-a"]] == [["zone-a", "2", "1", "1"]]

    await cloud.apply("nc-1")
    assert (await verge("status")).code == 0


async def test_status_names_a_frozen_node(database_url, tmp_path, verge):
    async with serving(database_url, tmp_path, silence_grace_s=0.0, start_grace_s=0.0) as server:
        await server.apply(*NODES)
        found = await verge("--url", server.url, "status")
    assert "nc-2" in found.out
    assert "silent" in found.out
    assert "not heard of since" in found.out


async def test_status_as_json_is_the_servers_answer(cloud, verge):
    await cloud.apply("nc-1")
    found = await verge("--json", "status")
    answer = (await cloud.admin.get("/v1/convergence")).json()
    assert found.code == 1
    assert found.json.keys() == answer.keys()
    assert (found.json["nodes"], found.json["revision"]) == (answer["nodes"], 1)
    assert [one["node"] for one in found.json["laggards"]] == ["nc-2", "nc-3"]


async def test_nodes_by_state(cloud, verge):
    await cloud.apply("nc-1", "nc-2")
    assert [row[0] for row in (await verge("nodes")).rows] == ["NODE", *NODES]
    found = await verge("nodes", "--state", "never-seen")
    assert [row[0] for row in found.rows] == ["NODE", "nc-3"]
    assert [one["node"] for one in (await verge("nodes", "--state", "converged", "--json")).json["nodes"]] == [
        "nc-1",
        "nc-2",
    ]
    assert (await verge("nodes", "--state", "degraded")).out == "no node is degraded\n"


async def test_a_node_with_failures_says_what_and_why(cloud, verge):
    etag = (await cloud.view("nc-1")).headers["etag"]
    await cloud.report(
        "nc-1",
        etag,
        "degraded",
        failures=[{"object": "instances/i-web", "stage": "ruleset", "reason": "no room \x1b[2J left"}],
        instances={"i-web": "quarantined", "i-app": "ready"},
        agent={"version": "0.1", "boot_id": "b"},
        timings_ms={"apply": 3.25},
        preflight=[
            {"check": "forward", "ok": False, "found": "docker", "needed": "nobody", "remedy": "nft insert"},
            {
                "check": "mtu",
                "ok": False,
                "severity": "warning",
                "found": "1400",
                "needed": "1500",
                "remedy": "ip link",
            },
            {"check": "all others", "ok": True, "found": "20 checks"},
        ],
    )
    found = await verge("node", "nc-1")
    assert found.code == 0
    assert ["state", "degraded"] in found.rows
    assert ["instances/i-web", "ruleset", "no", "room", "\\x1b[2J", "left"] in found.rows
    assert ["i-web", "quarantined"] in found.rows
    assert ["forward", "failing", "docker", "nobody", "nft", "insert"] in found.rows
    assert ["mtu", "warning", "1400", "1500", "ip", "link"] in found.rows
    assert ["all", "others", "ok", "20", "checks"] in [row[:5] for row in found.rows]
    assert ["timings", "apply", "3", "ms"] in found.rows
    assert (await verge("node", "nc-1", "--json")).json["report"]["agent"]["version"] == "0.1"
    for name in ("status", "nodes"):
        assert "\x1b" not in (await verge(name)).out


async def test_a_rejecting_node_is_not_converged(cloud, verge):
    await cloud.apply(*NODES)
    await cloud.update(ONLY_NC_1)
    etag = ETag.parse((await cloud.view("nc-1", client=cloud.admin)).headers["etag"])
    failures = [{"object": "instances/i-app", "stage": "ruleset", "reason": "Too many sets"}]
    await cloud.report("nc-1", None, "rejected", attempted={"etag": str(etag)}, failures=failures)
    found = await verge("status")
    assert found.code == 1
    assert "rejected" in found.out
    assert "instances/i-app: Too many sets" in found.out


@pytest.mark.parametrize("name", ["nc-9", "../tokens", "nc-1?x", "ü"])
async def test_an_unknown_node_is_refused(verge, name):
    found = await verge("node", name)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith("verge: refused: ")
    assert found.err.count("\n") == 1


async def test_changes_newest_first(cloud, verge):
    await cloud.apply(*NODES)
    await cloud.update(ONLY_NC_1)
    found = await verge("changes")
    assert [row[0] for row in found.rows[1:]] == ["2", "1"]
    assert "put instance i-app" in found.out
    assert "put 3 nodes" in found.out
    assert "0/1" in found.rows[1]
    assert "3/3" in found.rows[2]
    page = await verge("changes", "--limit", "1")
    assert page.out.endswith("older ones: verge changes --before 2\n")
    assert [row[0] for row in (await verge("changes", "--before", "2")).rows[1:]] == ["1"]


async def test_one_change_and_where_it_is_in_force(cloud, verge):
    await cloud.apply("nc-1")
    await cloud.update(ONLY_NC_1)
    first = await verge("change", "1")
    assert ["applied", "1", "of", "3", "nodes"] in first.rows
    assert ["waits", "for", "2", "nodes"] in first.rows
    assert ["nc-2", "–", "not", "yet", "–"] in [row[:5] for row in first.rows]
    row = next(row for row in first.rows if row[:1] == ["nc-1"] and "=" in row[-1])
    assert row[-1] == "." * row[-1].count(".") + "=" * row[-1].count("=")
    what = next(row for row in (await verge("change", "2")).rows if row[:3] == ["change", "instance", "i-app"])
    assert " ".join(what[3:]) == "account: alice -> bob; groups: - sg-app"
    assert (await verge("change", "2", "--json")).json == (await cloud.admin.get("/v1/updates/2")).json()
    beyond = await verge("change", "9")
    assert beyond.code == 2
    assert beyond.err == "verge: refused: there is no record of revision 9; the head is 2\n"


async def test_the_network_and_the_model(cloud, verge):
    found = await verge("network")
    assert ["public_ips", "203.0.113.1-203.0.113.3", "203.0.113.9"] in found.rows
    assert ["zone-a", "10.1.0.0/24", "10.1.0.1", "10.1.0.10-10.1.0.99", "2", "3"] in found.rows
    await cloud.update(put("network", "network", dns_servers=[], public_ips=["203.0.113.0-203.0.113.9"]))
    assert (await verge("model")).json == await cloud.model()
    assert (await verge("model", "--revision", "1")).json["network"]["dns_servers"] == ["10.0.0.2"]
    assert set((await verge("network", "--json")).json) == {"revision", "network", "zones"}
    assert (await verge("model", "--revision", "7")).code == 2


async def test_an_empty_network(database_url, tmp_path, verge):
    (tmp_path / "new").mkdir()
    async with serving(database_url, tmp_path / "new", admin_token=verge.token) as server:
        await server.update(*({"op": "delete", "kind": one["kind"], "id": one["id"]} for one in await objects(server)))
        assert "not described yet" in (await verge("--url", server.url, "network")).out
        assert (await verge("--url", server.url, "status")).code == 0
        assert (await verge("--url", server.url, "nodes")).out == "the network has no nodes\n"


async def objects(server):
    model = await server.model()
    kinds = {"zones": "zone", "nodes": "node", "groups": "group", "instances": "instance", "elastic_ips": "elastic_ip"}
    return [{"kind": "network", "id": "network"}] + [
        {"kind": kind, "id": key} for section, kind in kinds.items() for key in model[section]
    ]


async def test_many_who_ask_at_once_are_answered(cloud, verge):
    found = await asyncio.gather(*(verge.process("status") for _ in range(3)))
    assert [one.code for one in found] == [1, 1, 1]
