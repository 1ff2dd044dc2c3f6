"""Reading a view by long-poll: nobody is woken for what is not his, nobody misses what is."""

import asyncio

import httpx
import orjson
import pytest
from sqlalchemy import text

from tests.integration.viewserver.serving import serving, until
from tests.unit.viewserver.clouds import changed, delete, instance, put
from verge.contract.delta import apply
from verge.contract.etag import ETag
from verge.contract.view import View
from viewserver.store.epoch import raise_epoch
from viewserver.store.head import Head

NODES = ("nc-1", "nc-2", "nc-3")
ONLY_NC_3 = put("instance", "i-new", **instance("nc-3", 40, "sg-idle", zone_net="10.2.0"))


async def test_a_node_whose_view_is_unchanged_is_not_woken(cloud):
    polls = {node: await cloud.park(node) for node in NODES}
    before, woken = dict(cloud.answers), cloud.replica.views.woken
    made = await cloud.update(ONLY_NC_3)
    assert made["affected"] == ["nc-3"]
    answer = await polls["nc-3"]
    assert answer.status_code == 200
    assert cloud.replica.views.woken - woken == 1
    assert cloud.parked == 2
    assert {status for status, count in cloud.answers.items() if count > before.get(status, 0)} == {200}
    assert not polls["nc-1"].done()
    assert not polls["nc-2"].done()
    await cloud.update(delete("instance", "i-new"), changed("sg-web", ingress=[]))
    assert {(await polls[node]).status_code for node in ("nc-1", "nc-2")} == {200}
    assert cloud.replica.views.woken - woken == 3


async def test_a_thousand_changes_elsewhere_do_not_wake_a_node(cloud):
    """Written by several at once, so that the follower reads heads that are old by the time it has read them."""
    poll = await cloud.park("nc-1")
    woken = cloud.replica.views.woken

    async def write(number):
        key = f"i-w{number}"
        for round_ in range(25):
            await cloud.update(
                put(
                    "instance", key, **instance("nc-3", 50 + number, "sg-idle", zone_net="10.2.0", account=f"a{round_}")
                )
            )

    await asyncio.gather(*(write(number) for number in range(8)))
    assert not poll.done()
    assert cloud.replica.views.woken == woken
    assert cloud.parked == 1
    answer = await cloud.view("nc-1", etag=(await cloud.view("nc-1")).headers["etag"])
    assert answer.headers["verge-revision"] == f"1.{cloud.replica.held.revision}"
    poll.cancel()


async def test_an_untouched_node_learns_that_it_is_current(cloud):
    etag = (await cloud.view("nc-1")).headers["etag"]
    made = await cloud.update(ONLY_NC_3)
    for wait in (None, 0, "0.05"):
        answer = await cloud.view("nc-1", etag=etag, wait=wait)
        assert answer.status_code == 304
        assert answer.content == b""
        assert answer.headers["etag"] == etag
        assert answer.headers["verge-revision"] == f"1.{made['revision']}"


async def test_a_node_that_is_behind_is_answered_at_once(cloud):
    etag = (await cloud.view("nc-3")).headers["etag"]
    await cloud.update(ONLY_NC_3)
    await cloud.update(changed("sg-idle", name="again"))
    answer = await cloud.view("nc-3", etag=etag, wait=60)
    assert answer.status_code == 200
    view = View.parse(answer.json())
    assert ETag.parse(answer.headers["etag"]) == ETag(1, 3, view.digest)
    assert (await cloud.view("nc-3", etag=answer.headers["etag"])).status_code == 304


async def test_weak_validators_and_lists_of_them_match(cloud):
    etag = (await cloud.view("nc-1")).headers["etag"]
    for listed in (f"W/{etag}", f'"other", W/{etag}', f"{etag},{etag}"):
        assert (await cloud.view("nc-1", etag=listed)).status_code == 304
    digest = etag.rpartition("-")[2]
    for listed in (f'"2.1-{digest}', f'"1.9-{digest}', '"1.1-' + "0" * 32 + '"', "*x", ""):
        assert (await cloud.view("nc-1", etag=listed)).status_code == 200


async def test_there_and_back_again_moves_the_version(cloud):
    first = ETag.parse((await cloud.view("nc-3")).headers["etag"])
    await cloud.update(ONLY_NC_3)
    await cloud.update(delete("instance", "i-new"))
    answer = await cloud.view("nc-3", etag=str(first), wait=60)
    assert answer.status_code == 200
    assert ETag.parse(answer.headers["etag"]) == ETag(1, 3, first.digest)
    empty = await cloud.view("nc-3", etag=str(first), delta=True)
    assert empty.status_code == 226
    assert empty.json() == {"set": {}, "unset": {}, "members": {}}


async def test_a_delta_leads_from_each_base_to_the_view(cloud):
    bases = [await cloud.view("nc-1")]
    for operations in (
        [put("instance", "i-new", **instance("nc-1", 40, "sg-idle", "sg-app"))],
        [put("elastic_ip", "203.0.113.2", instance="i-far")],
        [changed("sg-app", ingress=[])],
        [delete("instance", "i-new"), changed("network", mtu=1400)],
    ):
        await cloud.update(*operations)
        now = await cloud.view("nc-1")
        for base in bases:
            answer = await cloud.view("nc-1", etag=base.headers["etag"], delta=True)
            if base.headers["etag"] == now.headers["etag"]:
                assert answer.status_code == 304
                continue
            assert answer.status_code == 226
            assert answer.headers["im"] == "verge-delta"
            assert answer.headers["delta-base"] == base.headers["etag"]
            assert answer.headers["etag"] == now.headers["etag"]
            folded = apply(View.parse(base.json()), answer.json())
            assert folded.digest == ETag.parse(now.headers["etag"]).digest
            assert orjson.loads(folded.to_bytes()) == now.json()
        bases.append(now)


@pytest.mark.parametrize("base", ['"2.1-{}"', '"1.1-' + "0" * 32 + '"', '"1.999999-{}"', '"0.0-{}"'])
async def test_a_base_that_is_not_known_gets_the_whole_view(cloud, base):
    etag = (await cloud.view("nc-1")).headers["etag"]
    await cloud.update(put("elastic_ip", "203.0.113.2", instance="i-app"))
    answer = await cloud.view("nc-1", etag=base.format(etag.rpartition("-")[2].strip('"')), delta=True)
    assert answer.status_code == 200
    assert View.parse(answer.json()).node == "nc-1"


async def test_a_waiter_is_let_go_when_its_client_goes(cloud):
    polls = [await cloud.park(node) for node in NODES * 3]
    assert cloud.parked == 9
    for poll in polls:
        poll.cancel()
    await until(lambda: cloud.parked == 0)
    assert not list(cloud.replica.presence._open)


async def test_the_wait_is_a_number_of_seconds(cloud):
    client = await cloud.as_("node", "nc-1")
    etag = (await cloud.view("nc-1")).headers["etag"]
    for wait in ("x", "-1", "nan", "inf", "1e999", ""):
        answer = await client.get(f"/v1/nodes/nc-1/view?wait={wait}", headers={"If-None-Match": etag})
        if wait == "":
            assert answer.status_code == 304
            continue
        assert answer.status_code == 422
        assert answer.json()["errors"] == [{"pointer": "/query/wait", "message": "must be a number of seconds"}]
    for prefer in ("wait=0.01", "respond-async, wait=0", 'wait="0"', "wait=x", "wait", "waiting=5"):
        answer = await client.get("/v1/nodes/nc-1/view", headers={"If-None-Match": etag, "Prefer": prefer})
        assert answer.status_code == 304


async def test_waits_are_capped(database_url, tmp_path):
    async with serving(database_url, tmp_path, max_wait_s=0.05) as server:
        await server.cloud()
        etag = (await server.view("nc-1")).headers["etag"]
        assert (await server.view("nc-1", etag=etag, wait=10**9)).status_code == 304


async def test_a_removed_node_is_told(cloud):
    await cloud.update(put("node", "nc-4", zone="zone-b", address="192.0.2.4"))
    poll = await cloud.park("nc-4")
    await cloud.update(delete("node", "nc-4"))
    assert (await poll).status_code == 404
    assert (await cloud.view("nc-4")).status_code == 404
    assert (await cloud.view("nc-4", client=cloud.admin)).status_code == 404


async def test_a_node_never_goes_back(replicas):
    """It has seen a revision that this replica does not know yet."""
    one, two = replicas
    await until(lambda: two.replica.held.revision == 1)
    seen = f"1.{one.replica.held.revision + 1}"
    etag = (await two.view("nc-3")).headers["etag"]
    waiting = asyncio.ensure_future(two.view("nc-3", etag=etag, verge_revision=seen, client=two.admin))
    await until(lambda: not waiting.done())
    await one.update(ONLY_NC_3)
    answer = await waiting
    assert (answer.status_code, answer.headers["verge-revision"]) == (200, seen)
    other_epoch = await two.view("nc-3", verge_revision="2.999", client=two.admin)
    assert other_epoch.status_code == 200
    assert (await two.view("nc-3", verge_revision="2", client=two.admin)).status_code == 422


async def test_two_replicas_give_the_same_etags_and_wake_each_others_waiters(replicas):
    one, two = replicas
    await until(lambda: two.replica.held.revision == 1)
    assert await one.etags() == await two.etags()
    tokens = {node: (await one.token("node", node))["token"] for node in NODES}
    polls = {}
    for node in NODES:
        await until(lambda node=node: _knows(two, tokens[node]))
        client = two.client(tokens[node])
        polls[node] = await two.park(node, (await two.view(node, client=client)).headers["etag"], client=client)
    await one.update(ONLY_NC_3)
    answer = await polls["nc-3"]
    assert answer.status_code == 200
    assert answer.content == (await one.view("nc-3")).content
    assert answer.headers["etag"] == (await one.view("nc-3")).headers["etag"]
    assert two.replica.views.woken == 1
    for number in range(5):
        for writer in (one, two):
            await writer.update(changed("sg-web", name=f"{writer.url} {number}"))
    await until(lambda: one.replica.held.revision == two.replica.held.revision == 12)
    assert await one.etags() == await two.etags()
    assert {(await polls[node]).status_code for node in ("nc-1", "nc-2")} == {200}


def _knows(server, token):
    try:
        return server.application.server.credentials.caller(f"Bearer {token}")
    except Exception:
        return None


async def test_writers_on_two_replicas_do_not_make_either_load_everything_again(replicas):
    one, two = replicas
    poll = await one.park("nc-1", (await one.view("nc-1", client=one.admin)).headers["etag"], client=one.admin)
    epochs = []
    for server in replicas:
        begin = server.replica.begin_epoch
        server.replica.begin_epoch = lambda held, begin=begin: (epochs.append(held), begin(held))

    async def write(server, number):
        for round_ in range(20):
            value = instance("nc-3", 50 + number, "sg-idle", zone_net="10.2.0", account=f"a{round_}")
            await server.update(put("instance", f"i-w{number}", **value))

    await asyncio.gather(*(write(replicas[number % 2], number) for number in range(6)))
    await until(lambda: one.replica.held.revision == two.replica.held.revision == 121)
    assert epochs == []
    assert not poll.done()
    poll.cancel()


async def test_a_head_that_is_old_by_the_time_it_was_read_rewinds_nothing(cloud):
    """The follower reads the head, and meanwhile this replica commits."""
    poll, held = await cloud.park("nc-1"), cloud.replica.held
    server = cloud.application.server
    async with server.database.begin() as conn:
        await server.follower.fold_missing(conn, Head(held.epoch, held.revision - 1))
    assert cloud.replica.held is held
    assert cloud.replica.views.woken == 0
    poll.cancel()


async def test_a_new_epoch_reaches_everyone_at_once(cloud):
    """As after a restore in place of a backup in which nc-4 was not there yet."""
    await cloud.apply(*NODES)
    before = {node: ETag.parse(etag) for node, etag in (await cloud.etags()).items()}
    await cloud.update(put("node", "nc-4", zone="zone-b", address="192.0.2.4"))
    polls = {node: await cloud.park(node) for node in (*NODES, "nc-4")}
    async with cloud.application.server.database.begin() as conn:
        await conn.execute(text("DELETE FROM objects WHERE kind = 'node' AND id = 'nc-4'"))
        head = await raise_epoch(conn, "a test")
    answers = {node: await poll for node, poll in polls.items()}
    assert answers.pop("nc-4").status_code == 404
    for node, answer in answers.items():
        etag = ETag.parse(answer.headers["etag"])
        assert answer.status_code == 200
        assert (etag.epoch, etag.digest) == (head.epoch, before[node].digest)
        assert answer.headers["verge-revision"] == f"{head.epoch}.2"
    behind = await cloud.admin.get("/v1/convergence")
    assert (behind.json()["converged"], behind.json()["nodes"]["lagging"]) == (False, 3)
    for node in NODES:  # what they are based on is of the old epoch: never a delta
        assert (await cloud.view(node, etag=str(before[node]), delta=True)).status_code == 200
    await cloud.apply(*NODES)
    assert (await cloud.admin.get("/v1/convergence")).json()["converged"] is True


async def test_many_parked_polls_hold_no_connection_to_postgres(cloud):
    polls = [await cloud.park("nc-1") for _ in range(40)]
    assert cloud.application.server.database.engine.pool.checkedout() <= 1
    await cloud.update(changed("sg-web", name="new"))
    assert {(await poll).status_code for poll in polls} == {200}


async def test_a_head_request_has_no_body(cloud):
    client = await cloud.as_("node", "nc-1")
    answer = await client.head("/v1/nodes/nc-1/view")
    whole = await client.get("/v1/nodes/nc-1/view")
    assert answer.content == b""
    assert answer.headers["content-length"] == str(len(whole.content))
    assert answer.headers["etag"] == whole.headers["etag"]


async def test_stopping_answers_those_who_wait(database_url, tmp_path):
    async with serving(database_url, tmp_path) as server:
        await server.cloud()
        etags = await server.etags()
        url, token = server.url, server.admin_token
        client = httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=70)
        polls = [
            asyncio.ensure_future(client.get(f"/v1/nodes/{node}/view?wait=50", headers={"If-None-Match": etags[node]}))
            for node in NODES
        ]
        barrier = asyncio.ensure_future(client.get("/v1/convergence?revision=1&wait=50"))
        ready = asyncio.ensure_future(client.get("/v1/convergence?revision=7&wait=50"))
        await until(lambda: server.parked == 3 and len(server.replica.advances.waiting) == 2)
    async with asyncio.timeout(10):  # of 50 that they were ready to wait
        assert {(await poll).status_code for poll in polls} == {304}
        assert (await barrier).json()["converged"] is False
        assert (await ready).status_code in (404, 503)
    await client.aclose()
