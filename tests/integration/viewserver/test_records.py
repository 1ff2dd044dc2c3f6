"""Per change and per node: told, applied, rejected; the log of what befell them; lag by the minute. From any replica, and after
a restart."""

import asyncio
from datetime import timedelta

from sqlalchemy import text

from tests.integration.viewserver.serving import serving
from tests.unit.viewserver.clouds import changed, put
from viewserver.recorder import Recorder
from viewserver.store.records.partitions import DETAIL, expire, prepare

NODES = ("nc-1", "nc-2", "nc-3")


async def recorded(server):
    """What has moved is written down now."""
    await Recorder(server.application.server.database, server.replica).once(settled=True)


async def get(server, path, **params):
    answer = await server.admin.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def kinds(server, **params):
    return [(one["kind"], one["node"]) for one in (await get(server, "/v1/happenings", **params))["happenings"]]


async def test_told_applied_and_not_yet(cloud):
    await cloud.view("nc-2")
    etag = (await cloud.view("nc-1")).headers["etag"]
    await cloud.report("nc-1", etag, timings_ms={"fetch": 1.0, "plan": 2.0, "apply": 3.0, "verify": 4.0})
    found = await get(cloud, "/v1/updates/1")
    one, two = found["nodes"]["nc-1"], found["nodes"]["nc-2"]
    assert 0 <= one["told_ms"] <= one["ms"]
    assert one["told_at"] <= one["applied_at"]
    assert one["timings_ms"] == {"fetch": 1.0, "plan": 2.0, "apply": 3.0, "verify": 4.0}
    assert (two["ms"], two["applied_at"]) == (None, None)
    assert two["told_ms"] >= 0
    assert found["nodes"]["nc-3"] is None
    assert (found["told"], found["applied"]) == (2, 1)
    assert found["ms"] == dict.fromkeys(("p50", "p90", "p99", "max"), one["ms"])
    assert found["stages_ms"]["verify"]["max"] == 4.0
    assert found["missing"] == ["nc-2", "nc-3"]


async def test_a_version_is_told_once_however_often_it_is_asked_for(cloud):
    for _ in range(3):
        await cloud.view("nc-1")
    await cloud.apply("nc-1")
    async with cloud.application.server.database.begin() as conn:
        assert (await conn.execute(text("SELECT count(*) FROM answered"))).scalar_one() == 1


async def test_timings_that_are_no_times_are_refused(cloud):
    etag = (await cloud.view("nc-1")).headers["etag"]
    for wrong in ("nan", "inf", -1.0):
        answer = await cloud.report("nc-1", etag, timings_ms={"fetch": wrong}, expect=422)
        assert answer.json()["errors"][0]["pointer"] == "/timings_ms/fetch"
    await cloud.apply("nc-1")
    async with cloud.application.server.database.begin() as conn:  # as a report of an earlier server may have left it
        await conn.execute(text("""UPDATE enforced SET timings = '{"fetch": null, "plan": 2}'"""))
    await recorded(cloud)
    marks = (await get(cloud, "/v1/updates"))["updates"][0]["summary"]["stages_ms"]
    assert (marks["fetch"]["max"], marks["plan"]["max"]) == (None, 2.0)


async def test_a_change_that_is_forgotten_while_others_are_written_down_is_passed_over(cloud, monkeypatch):
    for domain in ("a.internal", "b.internal"):
        await cloud.update(changed("network", dns_domain=domain))
    recorder = Recorder(cloud.application.server.database, cloud.replica)
    await recorder.once(settled=True)
    fill = recorder._fill_one

    async def and_forget(revision, now):
        await fill(revision, now)
        monkeypatch.setattr("viewserver.replica.RECENT_CHANGES", 1)
        await cloud.update(changed("network", dns_domain="c.internal"))

    await cloud.apply(*NODES)
    monkeypatch.setattr(recorder, "_fill_one", and_forget)
    await recorder.once(settled=True)


async def test_a_rejection_is_kept_with_its_reason_and_seen_to_be_over(cloud):
    etag = (await cloud.view("nc-1")).headers["etag"]
    failures = [{"object": "instances/i-web", "stage": "ruleset", "reason": "no such set"}]
    await cloud.report("nc-1", None, "rejected", attempted={"etag": etag}, failures=failures)
    await cloud.report("nc-1", None, "rejected", attempted={"etag": etag}, failures=failures)
    (one,) = (await get(cloud, "/v1/updates/1"))["nodes"]["nc-1"]["rejections"]
    assert (one["attempted"], one["failures"], one["over_at"]) == (1, failures, None)
    await cloud.report("nc-1", etag)
    node = (await get(cloud, "/v1/updates/1"))["nodes"]["nc-1"]
    assert node["rejections"][0]["over_at"] == node["applied_at"]
    assert await kinds(cloud, node="nc-1") == [("accepted", "nc-1"), ("rejected", "nc-1")]
    await recorded(cloud)
    assert (await get(cloud, "/v1/updates"))["updates"][0]["summary"]["rejections"] == 1
    history = (await get(cloud, "/v1/nodes/nc-1/history"))["history"]
    assert [(one["version"], one["state"], one["attempted"]) for one in history] == [
        (1, "applied", None),
        (None, "rejected", 1),
    ]
    assert history[0]["change"]["revision"] == 1
    assert history[0]["from"] == history[1]["until"]


async def test_what_a_node_enforced_at_a_time_and_its_history_page_by_page(cloud):
    groups = (["sg-web"], ["sg-web", "sg-idle"], ["sg-idle"], ["sg-web", "sg-app"])
    for wanted in groups:
        await cloud.update(changed("i-web", groups=wanted))
        await cloud.apply("nc-1")
    path = "/v1/nodes/nc-1/history"
    whole = (await get(cloud, path))["history"]
    versions = [one["version"] for one in whole]
    assert versions == sorted(versions, reverse=True)
    assert len(versions) >= 3
    assert whole[0]["until"] is None
    for span in whole:
        for moment in (span["from"], span["until"]):
            if moment is not None:
                (found,) = (await get(cloud, path, at=moment))["history"]
                first = span["version"] if moment == span["from"] else versions[versions.index(span["version"]) - 1]
                assert found["version"] == first
    before_all = await get(cloud, path, at="2020-01-01T00:00:00Z")
    assert (before_all["history"], before_all["next_before"]) == ([], None)
    paged, before = [], None
    for _ in range(len(whole) + 1):
        page = await get(cloud, path, limit=1, **({"before": before} if before else {}))
        paged += page["history"]
        before = page["next_before"]
        if before is None:
            break
    assert [one["version"] for one in paged] == versions
    assert [one["until"] for one in paged] == [one["until"] for one in whole]


async def test_another_replica_and_a_restarted_one_answer_alike(replicas, database_url, tmp_path):
    one, two = replicas
    await one.apply("nc-1")
    await two.report("nc-2", (await two.view("nc-2", client=await two.as_("node", "nc-2"))).headers["etag"])
    await recorded(two)
    asked = ("/v1/updates/1", "/v1/happenings", "/v1/nodes/nc-1/history", "/v1/nodes/nc-2/history")
    answers = [await get(one, path) for path in asked]
    assert answers[0]["applied"] == answers[0]["told"] == 2
    assert [await get(two, path) for path in asked] == answers
    async with serving(database_url, tmp_path, admin_token=one.admin_token) as three:
        assert [await get(three, path) for path in asked] == answers


async def test_a_node_back_after_a_day_is_a_day_late(cloud, database_url, tmp_path):
    await cloud.apply("nc-1", "nc-2")
    await recorded(cloud)
    database = cloud.application.server.database
    now = cloud.replica.clock.now()
    async with database.begin() as conn:  # a day passes
        for table in ("changes", "enforced", "answered", "summaries"):
            await conn.execute(text(f"UPDATE {table} SET at = at - interval '1 day'"))
        for divided in DETAIL:
            await expire(conn, divided, now - timedelta(hours=1))
    async with serving(database_url, tmp_path, admin_token=cloud.admin_token) as later:
        (late,) = [one for one in (await get(later, "/v1/convergence"))["laggards"] if one["node"] == "nc-3"]
        assert late["lag_seconds"] > 86_000
        await later.apply("nc-3")
        await recorded(later)
        (listed,) = (await get(later, "/v1/updates"))["updates"]
        assert (listed["summary"]["affected"], listed["summary"]["applied"]) == (3, 3)
        marks = (await get(later, "/v1/updates/1"))["ms"]
        assert marks["max"] > 86_000_000
        assert marks["p50"] < 86_000


async def test_detail_goes_and_what_each_node_last_told_stays(cloud):
    database = cloud.application.server.database
    await cloud.apply(*NODES)
    await cloud.update(changed("i-web", groups=["sg-web", "sg-idle"]))
    await cloud.apply(*NODES)
    await recorded(cloud)
    before = (await get(cloud, "/v1/updates/1"))["ms"]
    now = cloud.replica.clock.now()
    later = now + timedelta(hours=3)
    async with database.begin() as conn:
        await prepare(conn, later)
        for divided in DETAIL:
            await expire(conn, divided, later)
    found = await get(cloud, "/v1/updates/1")
    assert (found["detail"], found["nodes"], found["ms"], found["applied"]) == (False, {}, before, 3)
    for node in NODES:
        (last,) = (await get(cloud, f"/v1/nodes/{node}/history"))["history"]
        assert last["version"] == cloud.replica.held.versions[node]


async def test_a_row_for_which_no_partition_was_made_is_kept_and_moves_into_its_own(cloud):
    database = cloud.application.server.database
    async with database.begin() as conn:
        await conn.execute(text("UPDATE enforced SET at = at"))
        await conn.execute(text("INSERT INTO answered VALUES ('nc-1', 1, 1, clock_timestamp() + interval '2 days')"))
    async with database.begin() as conn:
        assert (await conn.execute(text("SELECT count(*) FROM answered_rest"))).scalar_one() == 1
        await prepare(conn, cloud.replica.clock.now() + timedelta(days=2))
        assert (await conn.execute(text("SELECT count(*) FROM answered_rest"))).scalar_one() == 0
        assert (await conn.execute(text("SELECT count(*) FROM answered"))).scalar_one() == 1


async def test_drift_cut_sessions_and_preflight_are_told_once(cloud):
    etag = (await cloud.view("nc-1")).headers["etag"]
    drift = [{"at": "2026-01-01T00:00:00+00:00", "what": "rule deleted", "culprit": "nft[7]", "repaired_ms": 12.0}]
    lacks = {
        "check": "bridge",
        "ok": False,
        "severity": "failing",
        "found": "none",
        "needed": "br0",
        "remedy": "ip link",
    }
    agent = {"version": "1", "boot_id": "b"}
    told = {"drift": drift, "preflight": [lacks], "sessions_cut": 3, "agent": agent}
    for sequence in (1, 2):
        await cloud.report("nc-1", etag, sequence=sequence, **told)
    assert sorted(await kinds(cloud)) == [
        ("drift-repaired", "nc-1"),
        ("preflight-failed", "nc-1"),
        ("sessions-cut", "nc-1"),
    ]
    await cloud.report("nc-1", etag, sequence=3, agent=agent, preflight=[{**lacks, "ok": True}], drift=drift)
    assert (await kinds(cloud))[0] == ("preflight-mended", "nc-1")
    (one,) = (await get(cloud, "/v1/happenings", kind="drift-repaired"))["happenings"]
    assert (one["culprit"], one["what"], one["more"]["repaired_ms"]) == ("nft[7]", "rule deleted", 12.0)


async def test_silence_and_return_are_told_once(database_url, tmp_path):
    async with serving(database_url, tmp_path, silence_grace_s=0.0, start_grace_s=0.0) as server:
        await server.cloud()
        await server.apply("nc-1")
        for _ in range(2):
            await recorded(server)
        assert await kinds(server) == [("silent", "nc-1")]
        task = await server.park("nc-1", etag=(await server.view("nc-1")).headers["etag"])
        await recorded(server)
        assert await kinds(server) == [("back", "nc-1"), ("silent", "nc-1")]
        task.cancel()


async def test_fences_are_told_of_as_they_go_up_and_down(cloud):
    await cloud.apply(*NODES)
    await cloud.update(changed("i-web", node="nc-2"))
    await recorded(cloud)
    raised = await get(cloud, "/v1/happenings", kind="fence-raised")
    assert {one["node"] for one in raised["happenings"]} == {"nc-1"}
    await cloud.apply("nc-1")
    async with asyncio.timeout(10):
        while cloud.replica.held.network.fenced:
            await asyncio.sleep(0.01)
    await recorded(cloud)
    lifted = await get(cloud, "/v1/happenings", kind="fence-lifted")
    assert len(lifted["happenings"]) == len(raised["happenings"])


async def test_lag_by_the_minute(cloud):
    await cloud.apply("nc-1")
    async with cloud.application.server.database.begin() as conn:  # what was seen before there was a cloud
        await conn.execute(text("DELETE FROM samples"))
    await recorded(cloud)
    found = await get(cloud, "/v1/lag", minutes=3)
    assert len(found["minutes"]) == 3
    last = found["minutes"][-1] if found["minutes"][-1]["nodes"] is not None else found["minutes"][-2]
    assert (last["nodes"], last["behind"], last["revision"]) == (3, 2, 1)
    assert last["converged_share"] == round(1 / 3, 6)
    assert found["minutes"][0] == {"at": found["minutes"][0]["at"], "nodes": None}


async def test_the_change_log_is_searched(cloud):
    await cloud.update(put("group", "sg-new", name="new", account="alice"))
    at = (await get(cloud, "/v1/updates/2"))["at"]

    async def found(**asked):
        return [one["revision"] for one in (await get(cloud, "/v1/updates", **asked))["updates"]]

    assert await found(object="groups/sg-new") == await found(object="group/sg-new") == [2]
    assert await found(object="groups/sg-none") == []
    assert await found(node="nc-1") == [1]
    assert await found(actor="first admin") == [2, 1]
    assert await found(actor="nobody") == []
    assert await found(since=at) == [2]
    assert await found(until=at) == [1]


async def test_a_summary_outlives_its_record(cloud):
    await cloud.apply(*NODES)
    await cloud.update(put("group", "sg-new", name="new", account="alice"))
    await recorded(cloud)
    async with cloud.application.server.database.begin() as conn:
        await conn.execute(text("DELETE FROM changes WHERE revision = 1"))
    two, one = (await get(cloud, "/v1/updates"))["updates"]
    assert (two["recorded"], one["recorded"], one["summary"]["applied"]) == (True, False, 3)
    assert (await get(cloud, "/v1/updates/1"))["ms"]["max"] > 0
