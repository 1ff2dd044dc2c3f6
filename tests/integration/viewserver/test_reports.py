"""What nodes report, and who has applied what: barriers wait for exactly those whom a change affects."""

# ruff: noqa: E501 - one line for each case

import asyncio

import pytest
from sqlalchemy import text

from tests.integration.viewserver.serving import serving, until
from tests.unit.viewserver.clouds import changed, delete, instance, put
from verge.contract.etag import ETag
from viewserver.api import nodes as nodes_api

NODES = ("nc-1", "nc-2", "nc-3")
ONLY_NC_3 = put("instance", "i-new", **instance("nc-3", 40, "sg-idle", zone_net="10.2.0"))


async def node(server, name):
    answer = await server.admin.get(f"/v1/nodes/{name}")
    assert answer.status_code == 200
    return answer.json()


async def convergence(server, **params):
    answer = await server.admin.get("/v1/convergence", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def etag_of(server, name):
    return ETag.parse((await server.view(name, client=server.admin)).headers["etag"])


async def waiting(server, **params):
    """A barrier that is being waited for now."""
    before = len(server.replica.advances.waiting)
    task = asyncio.ensure_future(convergence(server, **params))
    await until(lambda: len(server.replica.advances.waiting) > before or task.done())
    return task


# --- reports


async def test_a_report_is_kept_and_shown(cloud):
    etag = await etag_of(cloud, "nc-1")
    await cloud.report(
        "nc-1",
        str(etag),
        instances={"i-web": "ready", "i-app": "waiting-for-interface"},
        sequence=3,
        agent={"version": "0.1", "boot_id": "b1"},
        timings_ms={"fetch": 1.5},
        kernel_digest="k",
        future_field={"ignored": True},
    )
    found = await node(cloud, "nc-1")
    assert (found["state"], found["applied_version"], found["lag_versions"]) == ("converged", 1, 0)
    assert found["instances"] == {"i-web": "ready", "i-app": "waiting-for-interface"}
    assert found["report"]["agent"] == {"version": "0.1", "boot_id": "b1"}
    record = (await cloud.admin.get("/v1/updates/1")).json()
    assert record["applied"] == 1
    assert record["nodes"]["nc-1"]["timings_ms"] == {"fetch": 1.5}
    assert record["nodes"]["nc-2"] is None


async def test_a_report_wakes_no_node_and_changes_no_view(cloud):
    polls = [await cloud.park(name) for name in NODES]
    before, woken = await cloud.etags(), cloud.replica.views.woken
    await cloud.report("nc-1", before["nc-1"])
    await cloud.report("nc-2", before["nc-2"], "degraded", failures=[{"object": "instances/i-db", "stage": "ruleset", "reason": "no"}])  # fmt: skip
    await cloud.view("nc-3", etag=before["nc-3"], verge_applied=before["nc-3"])
    await until(lambda: len(cloud.replica.told) == 3)
    assert cloud.replica.views.woken == woken
    assert await cloud.etags() == before
    assert (await cloud.model())["revision"] == 1
    assert not any(poll.done() for poll in polls)
    for poll in polls:
        poll.cancel()


async def test_success_may_come_with_the_next_request(cloud):
    etag = await etag_of(cloud, "nc-1")
    await cloud.view("nc-1", etag=str(etag), verge_applied=f"W/{etag}")
    assert (await convergence(cloud, revision=1, wait=20, quorum=0.33))["applied"] == 1
    assert (await node(cloud, "nc-1"))["state"] == "converged"
    for wrong in ("x", '"1.1"'):
        answer = await cloud.view("nc-1", verge_applied=wrong)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/header/verge-applied"


IMPOSSIBLE = {
    "of a revision to come": lambda etag: ETag(etag.epoch, 99, etag.digest),
    "of an epoch to come": lambda etag: ETag(etag.epoch + 1, 1, etag.digest),
    "of another digest": lambda etag: ETag(etag.epoch, etag.version, "0" * 32),
    "of a version that its view never had": lambda etag: ETag(etag.epoch, 2, etag.digest),
}


@pytest.mark.parametrize("made", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
@pytest.mark.parametrize("name", ["applied", "attempted"])
async def test_an_etag_that_cannot_be_is_409(cloud, made, name):
    """Revision 2 changes nothing for nc-1: to have applied version 2 is to have applied what was never served."""
    await cloud.update(ONLY_NC_3)
    etag = await etag_of(cloud, "nc-1")
    await cloud.report("nc-1", str(etag), instances={"i-web": "ready"})
    body = {"applied": {"etag": str(etag)}, "state": "applied"} | {name: {"etag": str(made(etag))}}
    answer = await (await cloud.as_("node", "nc-1")).put("/v1/nodes/nc-1/report", json=body)
    assert answer.status_code == 409
    assert name in answer.json()["detail"]
    if name == "applied":
        assert (await cloud.view("nc-1", verge_applied=str(made(etag)))).status_code == 409
    assert (await node(cloud, "nc-1"))["applied_version"] == 1


async def test_an_old_epochs_etag_counts_as_nothing(cloud):
    etag = await etag_of(cloud, "nc-1")
    await cloud.report("nc-1", str(ETag(0, 7, etag.digest)))
    assert (await node(cloud, "nc-1"))["state"] == "lagging"
    assert (await node(cloud, "nc-1"))["applied_version"] is None


async def test_an_older_report_of_the_same_boot_is_ignored(cloud):
    first = await etag_of(cloud, "nc-3")
    await cloud.update(ONLY_NC_3)
    second = await etag_of(cloud, "nc-3")

    async def told(etag, sequence, boot):
        await cloud.report("nc-3", str(etag), sequence=sequence, agent={"version": "1", "boot_id": boot})
        return (await node(cloud, "nc-3"))["applied_version"]

    assert await told(second, 7, "a") == 2
    assert await told(first, 6, "a") == 2
    assert await told(first, 7, "a") == 1
    assert await told(second, 8, "a") == 2
    assert await told(first, 1, "b") == 1  # a restarted agent counts from the beginning
    assert (await node(cloud, "nc-3"))["report"]["sequence"] == 1


FAULTY = {
    "not an object": ([], "", "must be an object"),
    "nothing required": ({}, "/applied", "is missing"),
    "no state": ({"applied": None}, "/state", "is missing"),
    "an unknown state": ({"applied": None, "state": "fine"}, "/state", "must be 'applied'"),
    "no ETag": ({"applied": {"etag": "1"}, "state": "applied"}, "/applied/etag", "is not a view's ETag"),
    "an ETag of another type": ({"applied": {"etag": 1}, "state": "applied"}, "/applied/etag", "must be a string"),
    "a sequence below zero": ({"applied": None, "state": "rejected", "sequence": -1}, "/sequence", "greater than or equal to 0"),
    "a readiness that is none": ({"applied": None, "state": "rejected", "instances": {"i-web": "ok"}}, "/instances/i-web", "must be 'ready'"),
    "a failure without a reason": ({"applied": None, "state": "rejected", "failures": [{"object": "x", "stage": "y"}]}, "/failures/0/reason", "is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "pointer", "message"), FAULTY.values(), ids=FAULTY.keys())
async def test_a_report_that_is_none_is_422(cloud, body, pointer, message):
    answer = await (await cloud.as_("node", "nc-1")).put("/v1/nodes/nc-1/report", json=body)
    assert answer.status_code == 422
    errors = {one["pointer"]: one["message"] for one in answer.json()["errors"]}
    assert message in errors[pointer]
    assert cloud.replica.told == {}


async def test_a_report_that_postgres_does_not_take_in_time_is_503(cloud, monkeypatch):
    monkeypatch.setattr(nodes_api, "STORED_WITHIN_S", 0.1)
    etag = await etag_of(cloud, "nc-1")
    async with cloud.application.server.database.begin() as conn:
        await conn.execute(text("SELECT * FROM report_head FOR UPDATE"))
        answer = await cloud.report("nc-1", str(etag), expect=503)
        assert answer.headers["retry-after"]
    await until(lambda: "nc-1" in cloud.replica.told)
    await cloud.report("nc-1", str(etag))


async def test_reports_that_nobody_can_store_do_not_keep_others_from_being_stored(cloud):
    etag = await etag_of(cloud, "nc-1")
    for poison in ("\x7f" * 99, "\U0001f600", "\u202e", '"', "\\x00"):
        await cloud.report("nc-1", str(etag), agent={"version": poison, "boot_id": poison}, sequence=2**63 - 1, instances={poison: "ready"})  # fmt: skip
    await cloud.report("nc-2", str(await etag_of(cloud, "nc-2")), timings_ms={"fetch": 1e308})
    assert (await node(cloud, "nc-2"))["state"] == "converged"


async def test_a_removed_nodes_report_is_404(cloud):
    await cloud.update(put("node", "nc-4", zone="zone-b", address="192.0.2.4"))
    etag = await etag_of(cloud, "nc-4")
    await cloud.report("nc-4", str(etag))
    await cloud.update(delete("node", "nc-4"))
    await cloud.report("nc-4", str(etag), expect=404)
    assert "nc-4" not in cloud.replica.told


async def test_a_node_of_the_same_name_begins_anew_on_every_replica(cloud, database_url, tmp_path):
    """What its predecessor reported is not its own."""
    await cloud.update(put("node", "nc-4", zone="zone-b", address="192.0.2.4"))
    await cloud.report("nc-4", str(await etag_of(cloud, "nc-4")))
    await cloud.update(delete("node", "nc-4"))
    await cloud.update(put("node", "nc-4", zone="zone-b", address="192.0.2.4"))
    assert (await node(cloud, "nc-4"))["state"] == "never-seen"
    async with serving(database_url, tmp_path, admin_token=cloud.admin_token) as other:
        assert (await node(other, "nc-4"))["state"] == "never-seen"


# --- barriers


async def test_a_barrier_waits_for_exactly_those_whom_the_change_affects(cloud):
    await cloud.apply(*NODES)
    made = await cloud.update(ONLY_NC_3)
    barrier = await waiting(cloud, revision=made["revision"], wait=50)
    await cloud.apply("nc-1", "nc-2")
    assert not barrier.done()
    await cloud.apply("nc-3")
    found = await barrier
    assert (found["converged"], found["affected"], found["applied"], found["laggards"]) == (True, 1, 1, [])


async def test_a_barrier_may_wait_for_a_revision_to_come(cloud):
    await cloud.apply(*NODES)
    barrier = await waiting(cloud, revision=2, wait=50)
    await cloud.update(ONLY_NC_3)
    await cloud.apply("nc-3")
    assert (await barrier)["converged"] is True
    assert (await cloud.admin.get("/v1/convergence?revision=9&wait=0.05")).status_code == 404


async def test_at_the_deadline_a_barrier_names_the_laggards(cloud):
    await cloud.apply("nc-1")
    found = await convergence(cloud, revision=1, wait=0.05)
    assert (found["converged"], found["affected"], found["applied"]) == (False, 3, 1)
    laggards = {one["node"]: one for one in found["laggards"]}
    assert laggards.keys() == {"nc-2", "nc-3"}
    assert laggards["nc-2"]["state"] == "never-seen"
    assert laggards["nc-2"]["reason"] == "no agent of this name has ever reported"
    assert (laggards["nc-2"]["applied_version"], laggards["nc-2"]["version"]) == (None, 1)
    assert laggards["nc-2"]["lag_seconds"] >= 0


async def test_a_share_of_the_nodes_may_be_enough(cloud):
    await cloud.apply("nc-1", "nc-2")
    assert (await convergence(cloud, revision=1, quorum=0.6))["converged"] is True
    assert (await convergence(cloud, revision=1, quorum=0.67))["converged"] is False
    for wrong in ("0", "1.1", "nan", "x", "-inf"):
        assert (await cloud.admin.get(f"/v1/convergence?revision=1&quorum={wrong}")).status_code == 422


@pytest.mark.parametrize("wrong", ["nan", "-1", "x", "-inf"])
@pytest.mark.parametrize("place", ["/v1/convergence?revision=1&wait=", "/v1/updates?wait=applied&timeout="])
async def test_a_wait_that_is_none(cloud, place, wrong):
    method = "POST" if "updates" in place else "GET"
    answer = await cloud.admin.request(method, place + wrong, json={"operations": []} if method == "POST" else None)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] in ("/query/wait", "/query/timeout")


async def test_an_update_may_wait_until_it_is_applied(cloud):
    await cloud.apply(*NODES)
    posted = asyncio.ensure_future(cloud.update(ONLY_NC_3, wait="applied", timeout=50))
    await until(lambda: len(cloud.replica.advances.waiting) == 1 and cloud.replica.held.revision == 2)
    assert not posted.done()
    await cloud.apply("nc-3")
    answer = await posted
    assert (answer["converged"], answer["laggards"], answer["revision"]) == (True, [], 2)
    late = await cloud.update(delete("instance", "i-new"), wait="applied", timeout=0.05)
    assert late["converged"] is False
    assert [(one["node"], one["state"], one["applied_version"], one["version"]) for one in late["laggards"]] == [("nc-3", "lagging", 2, 3)]  # fmt: skip
    nothing = await cloud.update(put("group", "sg-new", name="n", account="bob"), wait="applied", timeout=50)
    assert nothing["converged"] is True


async def test_a_node_that_was_passed_over_by_a_change_does_not_hold_it_up(cloud):
    """nc-1 is behind with revision 1, which is not asked about."""
    await cloud.apply("nc-2", "nc-3")
    made = await cloud.update(ONLY_NC_3)
    await cloud.apply("nc-3")
    assert (await convergence(cloud, revision=made["revision"]))["converged"] is True
    assert (await convergence(cloud, revision=1))["converged"] is False
    assert (await convergence(cloud))["converged"] is False


async def test_a_later_version_is_as_good(cloud):
    await cloud.apply("nc-1", "nc-2")
    for number in range(3):
        await cloud.update(changed("sg-idle", name=f"n{number}"), put("instance", "i-new", **instance("nc-3", 41 + number, "sg-idle", zone_net="10.2.0")))  # fmt: skip
    assert (await node(cloud, "nc-3"))["lag_versions"] == 4
    await cloud.apply("nc-3")
    for revision in range(1, 5):
        assert (await convergence(cloud, revision=revision))["converged"] is True
    assert (await node(cloud, "nc-3"))["lag_versions"] == 0


async def test_what_was_closed_is_an_exception(cloud):
    await cloud.apply("nc-1", "nc-2")
    await cloud.apply("nc-3")
    made = await cloud.update(ONLY_NC_3)
    etag = str(await etag_of(cloud, "nc-3"))
    failed = {"object": "instances/i-new", "stage": "ruleset", "reason": "no such interface"}
    await cloud.report("nc-3", etag, "degraded", failures=[failed])
    strict = await convergence(cloud, revision=made["revision"])
    assert (strict["converged"], strict["exceptions"]) == (False, ["nc-3"])
    assert [(one["state"], one["reason"]) for one in strict["laggards"]] == [("degraded", "instances/i-new: no such interface")]  # fmt: skip
    assert (await convergence(cloud, revision=made["revision"], allow="degraded"))["converged"] is True
    assert (await convergence(cloud, revision=1))["converged"] is True  # which does not touch it
    assert (await convergence(cloud))["nodes"]["degraded"] == 1
    await cloud.report("nc-3", etag)
    assert (await convergence(cloud, revision=made["revision"]))["converged"] is True


async def test_what_was_rejected_did_not_go_in(cloud):
    await cloud.apply(*NODES)
    before = str(await etag_of(cloud, "nc-3"))
    made = await cloud.update(ONLY_NC_3)
    after = str(await etag_of(cloud, "nc-3"))
    await cloud.report("nc-3", before, "rejected", attempted={"etag": after}, failures=[{"object": "ruleset", "stage": "apply", "reason": "EBUSY"}])  # fmt: skip
    found = await convergence(cloud, revision=made["revision"], allow="degraded")
    assert found["converged"] is False
    assert [(one["node"], one["state"], one["reason"], one["applied_version"]) for one in found["laggards"]] == [("nc-3", "rejected", "ruleset: EBUSY", 1)]  # fmt: skip
    assert (await convergence(cloud))["nodes"]["rejected"] == 1
    assert (await node(cloud, "nc-3"))["attempted_version"] == 2


async def test_a_node_never_seen_holds_up_a_barrier_only_if_it_hosts_something(cloud):
    await cloud.apply(*NODES)
    made = await cloud.update(put("node", "nc-4", zone="zone-b", address="192.0.2.4"), ONLY_NC_3)
    await cloud.apply("nc-3")
    found = await convergence(cloud, revision=made["revision"])
    assert (found["converged"], found["never_seen"], found["affected"]) == (True, ["nc-4"], 1)
    whole = await convergence(cloud)
    assert (whole["converged"], whole["never_seen"], whole["laggards"], whole["nodes"]["never_seen"]) == (True, ["nc-4"], [], 1)  # fmt: skip
    made = await cloud.update(put("instance", "i-4", **instance("nc-4", 44, "sg-idle", zone_net="10.2.0")))
    found = await convergence(cloud, revision=made["revision"])
    assert (found["converged"], [one["node"] for one in found["laggards"]]) == (False, ["nc-4"])


async def test_a_silent_node_is_named(database_url, tmp_path):
    async with serving(database_url, tmp_path, silence_grace_s=0.0, start_grace_s=0.0) as server:
        await server.cloud()
        poll = await server.park("nc-1")
        await server.apply(*NODES)
        states = {one["node"]: one["state"] for one in (await server.admin.get("/v1/nodes")).json()["nodes"]}
        assert states == {"nc-1": "converged", "nc-2": "silent", "nc-3": "silent"}
        found = await convergence(server)
        assert (found["nodes"]["silent"], [one["node"] for one in found["laggards"]]) == (2, ["nc-2", "nc-3"])
        poll.cancel()
        await until(lambda: server.parked == 0)
        assert (await node(server, "nc-1"))["state"] == "silent"


async def test_a_removed_node_no_longer_holds_up_a_barrier(cloud):
    await cloud.apply("nc-1", "nc-2")
    barrier = await waiting(cloud, revision=1, wait=50)
    await cloud.update(delete("instance", "i-far"), delete("node", "nc-3"))
    await cloud.apply("nc-1", "nc-2")
    assert (await barrier)["converged"] is True


async def test_reports_reach_barriers_on_other_replicas_and_outlive_them(replicas, database_url, tmp_path):
    one, two = replicas
    await until(lambda: two.replica.held.revision == 1)
    barrier = await waiting(two, revision=1, wait=50)
    await one.apply(*NODES)
    assert (await barrier)["converged"] is True
    async with serving(database_url, tmp_path, admin_token=one.admin_token) as three:
        assert (await convergence(three, revision=1))["converged"] is True
        assert (await convergence(three))["lag"]["versions"]["max"] == 0


async def test_a_replica_that_is_behind_takes_a_report_of_what_it_does_not_know_yet(replicas):
    """The view came from the other replica."""
    one, two = replicas
    await until(lambda: two.replica.held.revision == 1)
    follower = two.application.server.follower

    async def deaf():
        return None

    catch_up, follower.catch_up_changes = follower.catch_up_changes, deaf
    try:
        await one.update(ONLY_NC_3)
        etag = str(await etag_of(one, "nc-3"))
        assert two.replica.held.revision == 1
        follower.catch_up_changes = catch_up
        await two.report("nc-3", etag)
    finally:
        follower.catch_up_changes = catch_up
    assert (await node(two, "nc-3"))["applied_version"] == 2


async def test_percentiles_and_zones_are_those_of_the_nodes(cloud):
    await cloud.apply("nc-1", "nc-2")
    await cloud.update(ONLY_NC_3)
    found = await convergence(cloud)
    assert found["revision"] == 2
    assert found["nodes"] | {"total": 3, "converged": 2, "never_seen": 1} == found["nodes"]
    assert found["lag"]["versions"] == {"p50": 0, "p90": 2, "p99": 2, "max": 2}
    assert found["zones"].keys() == {"zone-a", "zone-b"}
    assert found["zones"]["zone-a"]["nodes"]["converged"] == 2
    assert found["zones"]["zone-b"]["lag"]["versions"]["max"] == 2
