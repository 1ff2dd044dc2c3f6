"""`verge apply`, `verge wait`: one update, every fault, and the truth about whether it is in force."""

import asyncio
import json

import pytest
import yaml

from tests.integration.viewserver.serving import until
from tests.unit.viewserver.clouds import changed, instance, put

NODES = ("nc-1", "nc-2", "nc-3")
ONLY_NC_1 = changed("i-app", account="bob", groups=[])
ONLY_NC_3 = put("instance", "i-new", **instance("nc-3", 40, "sg-idle", zone_net="10.2.0"))
BAD = [
    put("instance", "i-web", node="nc-9", mac="no", private_ip="10.1.0.1", groups=["sg-none"], account="a"),
    put("zone", "zone-c", subnet="10.1.0.5/24"),
    {"op": "smash"},
]


async def test_json_yaml_and_standard_input_are_the_same(cloud, verge):
    update = {"operations": [ONLY_NC_1]}
    dry = await verge("apply", verge.file(ONLY_NC_1), "--dry-run")
    assert dry.out.startswith("would follow revision 1, and affect 1 node of 3\n~ instance i-app\n")
    assert "view of nc-1\n  set     instances: i-app" in dry.out
    assert (await cloud.model())["revision"] == 1

    found = await verge.process("apply", "-", stdin=yaml.safe_dump(update).encode())
    assert (found.code, found.err) == (0, "")
    assert found.out == "revision 2 committed; affects 1 node: nc-1\n"

    path = verge.directory / "u.yaml"
    path.write_text(yaml.safe_dump(update))
    for same in (path, verge.file(ONLY_NC_1)):
        found = await verge("apply", same)
        assert (found.code, found.out) == (0, "nothing changed: at revision 2 the network is as asked\n")


async def test_every_fault_is_printed_with_its_place(cloud, verge):
    answer = await cloud.update(*BAD, expect=422)
    found = await verge("apply", verge.file(*BAD))
    assert (found.code, found.out) == (2, "")
    first, *faults = found.err.splitlines()
    assert first == f"verge: refused: {answer['detail']}"
    assert faults == [f"{one['pointer']}: {one['message']}" for one in answer["errors"]]
    assert len(faults) > 4
    as_json = await verge("apply", verge.file(*BAD), "--json")
    assert (as_json.code, as_json.json, as_json.err) == (2, answer, found.err)
    assert (await cloud.model())["revision"] == 1


async def test_what_is_in_use_is_refused_by_name(verge):
    found = await verge("apply", verge.file({"op": "delete", "kind": "group", "id": "sg-web"}))
    assert found.code == 2
    assert "/operations/0/id: " in found.err
    assert "i-web" in found.err


async def test_a_fault_of_the_whole_has_a_place_too(verge):
    path = verge.directory / "list.yaml"
    path.write_text("- 1\n")
    found = await verge("apply", path)
    assert found.code == 2
    assert found.err.splitlines()[1].startswith(f"{path}:1:1: the whole: must be an object")


async def test_keys_and_revisions(cloud, verge):
    first = await verge("apply", verge.file(ONLY_NC_1), "--key", "k1", "--json")
    again = await verge("apply", verge.file(ONLY_NC_1), "--key", "k1", "--json")
    assert (first.json["revision"], first.json["changed"]) == (2, True)
    assert again.json == first.json
    other = await verge("apply", verge.file(ONLY_NC_3), "--key", "k1")
    assert other.code == 2
    assert "Idempotency-Key came with another request before" in other.err
    stale = await verge("apply", verge.file(ONLY_NC_3), "--if-match", "1")
    assert (stale.code, stale.out) == (2, "")
    assert "the head is at revision 2" in stale.err
    assert (await verge("apply", verge.file(ONLY_NC_3), "--if-match", "2")).code == 0


async def in_background(verge, *arguments):
    return asyncio.ensure_future(verge(*arguments))


async def test_wait_ends_when_the_last_affected_node_has_applied(cloud, verge):
    await cloud.apply(*NODES)
    before = cloud.replica.barriers
    task = await in_background(verge, "apply", verge.file(changed("i-web", groups=["sg-app"])), "--wait", "30")
    await until(lambda: cloud.replica.barriers > before or task.done())
    affected = (await cloud.admin.get("/v1/updates/2")).json()["affected"]
    assert len(affected) > 1
    for node in affected:
        assert not task.done()
        await cloud.apply(node)
    found = await task
    assert (found.code, found.err) == (0, "")
    assert f"revision 2 is in force on all {len(affected)} nodes it affects" in found.out


async def test_the_deadline_names_who_has_not_and_why(cloud, verge):
    await cloud.apply(*NODES)
    found = await verge("apply", verge.file(ONLY_NC_1), "--wait", "0.2")
    assert found.code == 3
    lines = found.out.splitlines()
    assert lines[0] == "revision 2 committed; affects 1 node: nc-1"
    assert lines[1].startswith("revision 2 is not in force everywhere after ")
    assert lines[1].endswith(": 0 of 1 node")
    assert found.rows[3][:5] == ["nc-1", "zone-a", "lagging", "1", "2"]
    assert "applied 1, its view is at 2" in lines[3]


async def test_wait_as_json_is_one_document(cloud, verge):
    await cloud.apply(*NODES)
    found = await verge("apply", verge.file(ONLY_NC_1), "--wait=0", "--json")
    assert found.code == 3
    assert (found.json["revision"], found.json["changed"], found.json["converged"]) == (2, True, False)
    assert (found.json["affected"], [one["node"] for one in found.json["laggards"]]) == (["nc-1"], ["nc-1"])


async def test_an_unchanged_network_is_in_force_only_when_the_change_that_made_it_is(cloud, verge):
    """The head may be somebody else's change, which says nothing of the one that is asked about."""
    await cloud.apply(*NODES)
    assert (await verge("apply", verge.file(ONLY_NC_1), "--wait=0")).code == 3
    await cloud.update(ONLY_NC_3)
    await cloud.apply("nc-3")
    assert (await verge("wait", "3", "--timeout", "0")).code == 0

    again = await verge("apply", verge.file(ONLY_NC_1), "--wait=0")
    assert again.code == 3
    assert "the network as asked is not in force everywhere" in again.out
    assert "nc-1" in again.out

    await cloud.apply("nc-1")
    done = await verge("apply", verge.file(ONLY_NC_1), "--wait=0", "--json")
    assert (done.code, done.json["converged"], done.json["changed"]) == (0, True, False)


async def test_an_address_that_is_held_back_is_not_in_force(cloud, verge):
    await cloud.apply(*NODES)
    moved = put("elastic_ip", "203.0.113.1", instance="i-db")
    for _ in range(2):  # the second time nothing changes, and it is held back still
        found = await verge("apply", verge.file(moved), "--wait=0")
        assert found.code == 3
        assert "203.0.113.1 is held back until nc-1 gives it up" in found.out


async def test_wait_for_a_revision_that_is_still_to_come(cloud, verge):
    await cloud.apply(*NODES)
    before = cloud.replica.barriers
    task = await in_background(verge, "wait", "2", "--timeout", "30")
    await until(lambda: cloud.replica.barriers > before or task.done())
    await cloud.update(ONLY_NC_3)
    await cloud.apply("nc-3")
    found = await task
    assert found.code == 0
    assert found.out.startswith("revision 2 is in force on the one node it affects")

    never = await verge("wait", "9", "--timeout", "0.3")
    assert (never.code, never.out) == (3, "")
    assert never.err.startswith("verge: revision 9 does not exist yet; the head is 2; ")


async def test_quorum_and_degraded(cloud, verge):
    await cloud.apply("nc-1", "nc-2")
    assert (await verge("wait", "1", "--timeout", "0")).code == 3
    found = await verge("wait", "1", "--timeout", "0", "--quorum", "0.6")
    assert found.code == 0
    assert "in force on 2 of 3 nodes, as many as asked for" in found.out

    etag = (await cloud.view("nc-3")).headers["etag"]
    failures = [{"object": "instances/i-far", "stage": "ruleset", "reason": "no"}]
    await cloud.report("nc-3", etag, "degraded", failures=failures)
    assert (await verge("wait", "1", "--timeout", "0")).code == 3
    found = await verge("wait", "1", "--timeout", "0", "--allow-degraded", "--json")
    assert (found.code, found.json["exceptions"]) == (0, ["nc-3"])


async def test_too_much_is_refused(verge):
    path = verge.directory / "many.json"
    path.write_text(json.dumps({"operations": [{"op": "delete", "kind": "group", "id": "sg-x"}] * 10_001}))
    found = await verge("apply", path)
    assert found.code == 2
    assert "10001 operations; the limit is 10000" in found.err


@pytest.mark.parametrize("text", ['{"operations": [', "a: b: c"])
async def test_a_broken_file_is_not_sent(cloud, verge, text):
    path = verge.directory / "broken"
    path.write_text(text)
    found = await verge("apply", path)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"verge: {path}:1:")
