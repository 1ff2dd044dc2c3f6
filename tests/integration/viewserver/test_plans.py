"""What an update would do, updates that reach too far, and the network changed by a part of it."""

from tests.unit.viewserver.clouds import changed, delete
from verge.contract.etag import ETag
from viewserver.upkeep import Upkeep


async def get(server, path, expect=200, **params):
    answer = await server.admin.get(path, params=params or None)
    assert answer.status_code == expect, answer.text
    return answer


async def test_a_dry_run_says_who_would_lose_what(cloud):
    server = cloud
    found = await server.update(changed("sg-web", ingress=[]), dry_run=True)
    assert (found["nodes_total"], found["instances_total"], found["exceeded"]) == (3, 4, [])
    losing = {one["instance"]: one for one in found["losing_ingress"]}
    assert losing["i-web"]["lost"] == [{"protocol": "tcp", "from_port": 80, "to_port": 80, "sources": ["0.0.0.0/0"]}]
    assert [one["id"] for one in found["objects"]] == ["sg-web"]
    over = await server.update(changed("sg-web", ingress=[]), dry_run=True, max_loss="1", max_nodes="10%")
    assert over["exceeded"] == [
        "3 of 3 nodes would be affected; the limit is 0",
        "3 of 4 instances would lose ingress; the limit is 1",
    ]
    refused = await server.update(changed("sg-web", ingress=[]), max_loss="1", expect=409)
    assert refused["detail"] == "3 of 4 instances would lose ingress; the limit is 1"
    assert (await server.model())["revision"] == 1
    await server.update(changed("sg-web", ingress=[]), max_loss="1,90%", max_nodes="3")
    await server.update(delete("elastic_ip", "203.0.113.2"), max_loss="many", expect=422)


async def patch(server, document, expect=200, **params):
    answer = await server.admin.patch("/v1/model", json=document, params=params)
    assert answer.status_code == expect, answer.text
    return answer.json()


async def test_a_part_of_the_model_changes_what_it_names(cloud):
    server = cloud
    before = await server.model()
    app = {**before["instances"]["i-app"], "groups": []}
    part = {"instances": {"i-app": app}, "elastic_ips": {"203.0.113.2": None}}
    first = await patch(server, part)
    assert (first["revision"], first["changed"]) == (2, True)
    after = await server.model()
    assert after["instances"] == {**before["instances"], "i-app": app}
    assert after["elastic_ips"].keys() == {"203.0.113.1"}
    assert after["groups"] == before["groups"]
    assert (await patch(server, part))["changed"] is False

    only = {"elastic_ips": {}, "instances": {"i-app": app, "i-db": before["instances"]["i-db"]}}
    await patch(server, only)
    assert (await server.model())["instances"].keys() == before["instances"].keys()
    await patch(server, only, prune="true", max_loss="1", expect=409)
    await patch(server, only, prune="true")
    pruned = await server.model()
    assert (pruned["instances"].keys(), pruned["elastic_ips"]) == ({"i-app", "i-db"}, {})
    assert pruned["groups"] == before["groups"]


async def test_faults_of_a_part_are_pointed_at_where_they_stand(cloud):
    server = cloud
    web = {"name": "web", "account": "alice", "ingress": [{"protocol": "tcp", "cidr": "10.0.0.1/8"}]}
    wrong = {"groups": {"sg-web": web, "sg-app": None}, "instances": {"i-x": {"node": "nc-9"}}, "hosts": {}}
    found = await patch(server, wrong, expect=422)
    pointers = {one["pointer"] for one in found["errors"]}
    assert {"/hosts", "/groups/sg-web/ingress/0/cidr", "/instances/i-x/mac"} <= pointers
    used = await patch(server, {"groups": {"sg-app": None}}, expect=409)
    assert used["errors"][0]["pointer"] == "/groups/sg-app"
    pruned = await patch(server, {"groups": {}}, prune="true", expect=409)
    assert {one["pointer"] for one in pruned["errors"]} == {"/groups"}
    assert (await server.model())["revision"] == 1


async def test_what_is_no_longer_kept_is_said(cloud):
    server, past = cloud, {}
    for account in ("anna", "bert", "cleo", "dora", "emil"):
        made = await server.update(changed("i-app", account=account))
        past[made["revision"]] = (await server.model(), await get(server, "/v1/nodes/nc-1/view"))
    inside = server.application.server
    await Upkeep(inside.database, inside.settings).once(kept=3)
    head = max(past)
    oldest = head - 3
    assert (await get(server, "/v1/model", revision=oldest)).json() == past[oldest][0]
    etag = (await get(server, "/v1/nodes/nc-1/view", revision=oldest)).headers["etag"]
    assert ETag.parse(etag) == ETag.parse(past[oldest][1].headers["etag"])
    for path in ("/v1/model?revision=2", "/v1/diff?from=2", "/v1/model?at=2020-01-01T00:00:00Z"):
        await get(server, path, expect=410)
