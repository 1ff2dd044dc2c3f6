"""Work is done for what a change touches, and for nothing else."""

import asyncio

from tests.unit.viewserver.clouds import changed, delete, instance, put
from viewserver.compile.derived import Derived


async def test_an_operation_that_touches_k_nodes_compiles_k_roots_and_wakes_k_waiters(cloud, monkeypatch):
    compiled = []
    root = Derived.digest_of
    monkeypatch.setattr(Derived, "digest_of", lambda self, node, seen: compiled.append(node) or root(self, node, seen))
    for operations, touched in (
        ([put("instance", "i-new", **instance("nc-3", 40, "sg-idle", zone_net="10.2.0"))], ["nc-3"]),
        ([changed("sg-web", ingress=[])], ["nc-1", "nc-2", "nc-3"]),
        ([changed("network", mtu=1400)], ["nc-1", "nc-2", "nc-3"]),
        ([delete("instance", "i-new")], ["nc-3"]),
        ([changed("sg-web", ingress=[])], []),
    ):
        polls = {node: await cloud.park(node, delta=True) for node in ("nc-1", "nc-2", "nc-3")}
        compiled.clear()
        woken = cloud.replica.views.woken
        made = await cloud.update(*operations)
        assert made["affected"] == touched
        assert sorted(compiled) == touched, "a root for each touched node, and no other"
        assert cloud.replica.views.woken - woken == len(touched)
        answers = [await polls.pop(node) for node in touched]
        assert {answer.status_code for answer in answers} <= {226}
        assert not any(poll.done() for poll in polls.values())
        for poll in polls.values():
            poll.cancel()
        await asyncio.gather(*polls.values(), return_exceptions=True)


async def test_what_many_nodes_are_told_is_rendered_once(cloud):
    polls = [await cloud.park(node, delta=True) for node in ("nc-1", "nc-2", "nc-3")]
    await cloud.update(changed("network", mtu=1400))
    bodies = {(await poll).content for poll in polls}
    between = list(cloud.replica.bases._between.values())[-1]
    assert len(bodies) == 1
    assert between.rendered == len({node.zone for _, node in cloud.replica.held.network.of_kind("node")})


async def test_updates_that_come_together_share_a_transaction_and_no_faults(cloud):
    updates = cloud.application.server.updates
    groups, whole = [], updates._commit_group
    updates._commit_group = lambda group: groups.append(len(group)) or whole(group)
    before = cloud.replica.held.revision
    writes = [
        cloud.update(put("instance", f"i-w{number}", **instance("nc-3", 60 + number, "sg-idle", zone_net="10.2.0")))
        for number in range(12)
    ]
    refused = cloud.update(
        put("instance", "i-bad", **instance("nowhere", 90, "sg-idle", zone_net="10.2.0")), expect=422
    )
    made = await asyncio.gather(*writes[:6], refused, *writes[6:])
    revisions = sorted(one["revision"] for one in made if "revision" in one)
    assert revisions == list(range(before + 1, before + 13))
    assert sum(groups) == 13
    assert max(groups) > 1
    assert cloud.replica.held.network.instance("i-bad") is None
    assert [one["revision"] for one in (await cloud.admin.get("/v1/updates?limit=12")).json()["updates"]] == revisions[
        ::-1
    ]
