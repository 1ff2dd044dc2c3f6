"""What a node says of its host: kept, shown, and the reason why a change waits."""

from tests.integration.viewserver.serving import until
from tests.integration.viewserver.test_reports import convergence, etag_of, node


async def test_a_preflight_is_kept_and_shown_and_a_failing_one_is_the_reason(cloud):
    wrong = {
        "check": "forward",
        "ok": False,
        "severity": "failing",
        "found": "docker drops",
        "needed": "nobody drops",
        "remedy": "nft insert",
    }
    fine = {"check": "all others", "ok": True, "severity": "failing", "found": "20 checks", "needed": "", "remedy": ""}
    why = {
        "object": "host/forward",
        "stage": "preflight",
        "reason": "docker drops; needed: nobody drops; remedy: nft insert",
    }
    etag = str(await etag_of(cloud, "nc-1"))
    agent = {"version": "0.1", "boot_id": "b1"}
    await cloud.report(
        "nc-1",
        None,
        "rejected",
        attempted={"etag": etag},
        failures=[why],
        preflight=[wrong, fine],
        agent=agent,
        sequence=1,
    )
    found = await node(cloud, "nc-1")
    assert found["report"]["preflight"] == [wrong, fine]
    assert found["state"] == "rejected"
    [laggard] = [one for one in (await convergence(cloud, revision=1))["laggards"] if one["node"] == "nc-1"]
    assert laggard["reason"] == "host/forward: docker drops; needed: nobody drops; remedy: nft insert"
    await cloud.report("nc-1", etag, preflight=[fine], agent=agent, sequence=2)
    await cloud.view("nc-1", etag=etag, verge_applied=etag)
    await until(lambda: cloud.replica.told["nc-1"].state == "applied")
    assert (await node(cloud, "nc-1"))["report"]["preflight"] == [fine], (
        "success told in a header says nothing of the host"
    )
    await cloud.report("nc-1", etag, preflight=[{"check": "x"}], expect=422)
