"""A barrier says yes only while the change is in force: not of a node that lost it, is there anew, or holds an address back."""

from tests.integration.viewserver.serving import until
from tests.integration.viewserver.test_reports import NODES, ONLY_NC_3, convergence, etag_of, node
from tests.unit.viewserver.clouds import changed, delete, put


async def test_a_node_that_lost_what_it_had_applied_holds_up_a_barrier_again(cloud):
    await cloud.apply(*NODES)
    second = (await cloud.update(ONLY_NC_3))["revision"]
    etag = await etag_of(cloud, "nc-3")
    await cloud.report("nc-3", str(etag))
    await cloud.report("nc-3", None, "rejected")
    for revision in (1, second):
        found = await convergence(cloud, revision=revision)
        assert (found["converged"], [one["node"] for one in found["laggards"]]) == (False, ["nc-3"])
    assert (await node(cloud, "nc-3"))["lag_versions"] == 2
    await cloud.report("nc-3", str(etag))
    assert (await convergence(cloud, revision=second))["converged"] is True


async def test_a_node_that_was_removed_and_is_back_holds_up_no_less_than_before(cloud):
    await cloud.update(put("node", "nc-9", zone="zone-a", address="192.0.2.9"))
    made = await cloud.update(changed("network", dns_domain="other.internal"))
    assert made["affected"] == [*NODES, "nc-9"]
    for _ in range(2):
        await cloud.update(delete("node", "nc-9"))
        await cloud.update(put("node", "nc-9", zone="zone-a", address="192.0.2.9"))
    await cloud.apply("nc-2", "nc-3")
    found = await convergence(cloud, revision=made["revision"])
    assert (found["converged"], found["affected"], found["applied"]) == (False, 3, 2)
    assert (await node(cloud, "nc-9"))["lag_versions"] == 1  # its own, not those of the former
    await cloud.apply("nc-1", "nc-9")
    found = await convergence(cloud, revision=made["revision"])
    assert (found["converged"], found["affected"], found["applied"]) == (True, 4, 4)


async def test_a_change_that_is_long_past_is_not_in_force_while_its_fence_is_up(cloud, monkeypatch):
    await cloud.apply(*NODES)
    moved = (await cloud.update(changed("i-web", node="nc-2")))["revision"]
    monkeypatch.setattr("viewserver.replica.RECENT_CHANGES", 1)
    await cloud.update(put("node", "nc-9", zone="zone-a", address="192.0.2.9"))
    assert moved not in cloud.replica.recent
    await cloud.apply("nc-2", "nc-3")
    assert {one["waits_for"] for one in (await convergence(cloud, revision=moved))["fences"]} == {"nc-1"}
    assert (await convergence(cloud, revision=moved))["converged"] is False
    await cloud.apply("nc-1")
    await until(lambda: not cloud.replica.held.network.fenced)
    found = await convergence(cloud, revision=moved)
    assert (found["converged"], found["caused"], found["fences"]) == (False, [cloud.replica.held.revision], [])
    await cloud.apply(*NODES)
    assert (await convergence(cloud, revision=moved, wait=20))["converged"] is True
