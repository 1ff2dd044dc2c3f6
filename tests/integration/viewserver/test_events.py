"""What those who listen hear, and that nobody pays for it while nobody does."""

import asyncio
import contextlib
import json

import pytest

from tests.integration.viewserver.serving import serving, until
from tests.unit.viewserver.clouds import changed, delete, put

NODES = ("nc-1", "nc-2", "nc-3")


class Heard:
    def __init__(self, answer):
        self.events, self.answer, self.ended = [], answer, False

    async def read(self):
        name = number = None
        async for line in self.answer.aiter_lines():
            key, _, text = line.partition(": ")
            if key == "event":
                name = text
            elif key == "id":
                number = int(text)
            elif key == "data":
                self.events.append((name, number, json.loads(text)))
                name = number = None
        self.ended = True

    def bodies(self, name):
        return [body for heard, _, body in self.events if heard == name]

    def nodes(self):
        """As a page would know them."""
        known = {}
        for body in self.bodies("nodes"):
            known |= {one["node"]: one for one in body["set"]}
            known = {name: one for name, one in known.items() if name not in body["gone"]}
        return known

    def states(self):
        return {name: one["state"] for name, one in self.nodes().items()}


@contextlib.asynccontextmanager
async def listening(server, **headers):
    client = await server.as_("operator")
    async with client.stream("GET", "/v1/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        heard = Heard(answer)
        task = asyncio.ensure_future(heard.read())
        try:
            await until(lambda: heard.bodies("convergence"), "never told of the cloud")
            yield heard
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.mark.parametrize("heard", ["9" * 5000, "²", "-1", "x"])
async def test_who_has_heard_of_no_revision_is_told_everything(cloud, heard):
    headers = {"last-event-id": heard.encode()}
    async with cloud.admin.stream("GET", "/v1/events", headers=headers) as answer:
        assert answer.status_code == 200


async def test_who_may_listen(cloud):
    assert (await cloud.client(None).get("/v1/events")).status_code == 401
    for role, node in (("cloud", None), ("node", "nc-1")):
        assert (await (await cloud.as_(role, node)).get("/v1/events")).status_code == 403


async def test_a_newcomer_is_told_of_everything_once(cloud):
    await cloud.apply(*NODES)
    async with listening(cloud) as heard:
        assert [name for name, _, _ in heard.events] == ["hello", "nodes", "convergence"]
        assert heard.bodies("hello")[0]["revision"] == 1
        assert heard.states() == dict.fromkeys(NODES, "converged")
        asked = (await cloud.admin.get("/v1/convergence")).json()
        told = heard.bodies("convergence")[0]
        assert {name: told[name] for name in asked} == asked


async def test_a_change_is_told_with_its_spread(cloud):
    await cloud.apply(*NODES)
    async with listening(cloud) as heard:
        answer = await cloud.update(changed("sg-web", ingress=[]))
        await until(lambda: heard.bodies("revision"), "the revision")
        _, number, body = next(event for event in heard.events if event[0] == "revision")
        assert number == body["revision"] == answer["revision"]
        assert body["affected"] == len(answer["affected"])
        assert set(body["nodes"]) == set(answer["affected"])
        assert body["objects"] == ["groups/sg-web"]
        assert body["actor"] == "first admin"
        await until(lambda: "lagging" in heard.states().values(), "nobody has it yet")
        await cloud.apply(*answer["affected"])
        await until(lambda: set(heard.states().values()) == {"converged"}, "all have it")
        last = [one for one in heard.bodies("progress") if one["revision"] == answer["revision"]][-1]
        assert last["applied"] == last["affected"] == len(answer["affected"])
        assert 0 < last["ms"]["p50"] <= last["ms"]["max"]
        assert heard.bodies("convergence")[-1]["converged"] is True


async def test_every_revision_is_told_once_and_in_order(cloud):
    async with listening(cloud) as heard:
        for port in range(1, 31):
            rule = {"protocol": "tcp", "from_port": port, "to_port": port, "cidr": "0.0.0.0/0"}
            await cloud.update(changed("sg-web", ingress=[rule]))
        await until(lambda: len(heard.bodies("revision")) == 30, "thirty revisions")
        assert [number for name, number, _ in heard.events if name == "revision"] == list(range(2, 32))
        assert len(heard.bodies("nodes")) < 30, "what happened between two looks is told together"


async def test_who_comes_back_hears_what_was_missed(cloud):
    for port in (1, 2, 3):
        rule = {"protocol": "tcp", "from_port": port, "to_port": port, "cidr": "0.0.0.0/0"}
        await cloud.update(changed("sg-web", ingress=[rule]))
    async with listening(cloud, **{"Last-Event-ID": "2"}) as heard:
        assert [one["revision"] for one in heard.bodies("revision")] == [3, 4]


async def test_what_a_node_rejects_and_a_node_that_goes_are_told(cloud):
    await cloud.apply(*NODES)
    async with listening(cloud) as heard:
        await cloud.update(changed("sg-web", ingress=[]))
        etag = (await cloud.view("nc-1")).headers["etag"]
        failure = {"object": "groups/sg-web", "stage": "ruleset", "reason": "no memory"}
        await cloud.report("nc-1", None, "rejected", attempted={"etag": etag}, failures=[failure])
        await until(lambda: heard.states()["nc-1"] == "rejected", "rejected")
        assert "groups/sg-web: no memory" in heard.nodes()["nc-1"]["reason"]
        await cloud.update(delete("instance", "i-far"), delete("node", "nc-3"))
        await until(lambda: "nc-3" not in heard.nodes(), "it is gone")


async def test_a_change_whose_object_a_node_had_to_close_has_an_exception(cloud):
    await cloud.apply(*NODES)
    failure = {"object": "groups/sg-web", "stage": "ruleset", "reason": "no memory"}

    def exceptions(heard, revision):
        return [one["exceptions"] for one in heard.bodies("progress") if one["revision"] == revision][-1:]

    async with listening(cloud) as heard:
        revision = (await cloud.update(changed("sg-web", ingress=[])))["revision"]
        await cloud.report("nc-1", (await cloud.view("nc-1")).headers["etag"], "degraded", failures=[failure])
        await until(lambda: exceptions(heard, revision) == [["nc-1"]], "an exception")
        listed = (await cloud.admin.get("/v1/updates?limit=1")).json()["updates"][0]
        assert listed["summary"]["exceptions"] == ["nc-1"]
        other = {**failure, "object": "groups/sg-app"}
        await cloud.report("nc-1", (await cloud.view("nc-1")).headers["etag"], "degraded", failures=[other])
        await until(lambda: exceptions(heard, revision) == [[]], "that is no object of this change")


async def test_silence_is_told_though_nothing_happens(database_url, tmp_path):
    async with serving(database_url, tmp_path, silence_grace_s=0.3, start_grace_s=0.0) as server:
        await server.cloud()
        await server.apply(*NODES)
        task = await server.park("nc-1")
        async with listening(server) as heard:
            await until(lambda: heard.states().get("nc-2") == "silent", "nc-2 holds no connection")
            assert heard.states()["nc-1"] == "converged"
            assert heard.nodes()["nc-2"]["last_seen"] is not None
        task.cancel()


async def test_a_revoked_token_ends_it(cloud):
    made = await cloud.token("operator", name="gone soon")
    async with cloud.client(made["token"]).stream("GET", "/v1/events") as answer:
        heard = Heard(answer)
        task = asyncio.ensure_future(heard.read())
        await until(lambda: heard.bodies("convergence"))
        assert (await cloud.admin.delete(f"/v1/tokens/{made['id']}")).status_code == 204
        await cloud.update(changed("sg-web", ingress=[]))
        await until(lambda: heard.ended, "the stream ends")
        assert heard.bodies("revision") == []
        await task


async def test_it_ends_when_the_server_stops(database_url, tmp_path):
    async with serving(database_url, tmp_path) as server:
        await server.cloud()
        async with listening(server) as heard:
            server.replica.progress.close()
            await until(lambda: heard.ended, "the stream ends")


async def test_nobody_pays_while_nobody_listens(cloud):
    events = cloud.application.server.events
    async with listening(cloud):
        assert len(events) == 1
    await until(lambda: len(events) == 0, "it has left")
    await cloud.update(changed("sg-web", ingress=[]))
    await until(lambda: cloud.replica.progress.held("progress") == 1, "only the fences look on")
    spent = events.spent_s
    await cloud.update(put("group", "sg-new", name="new", account="bob"))
    await cloud.apply(*NODES)
    assert events.spent_s == spent


async def test_who_does_not_keep_up_is_let_go(cloud):
    """A listener whose queue fills up hears the end; the server's memory is not its to fill."""
    events = cloud.application.server.events
    with events.listen() as slow:
        async with asyncio.timeout(5):
            assert b"event: hello" in await slow.waiting.get()
        for _ in range(200):
            slow.tell(b"event: x\ndata: {}\n\n")
        told = [slow.waiting.get_nowait() for _ in range(slow.waiting.qsize())]
        assert told[-1] is None
        assert len(told) <= slow.waiting.maxsize


@pytest.mark.parametrize("restarted", [False, True])
async def test_the_change_log_says_how_far_each_change_has_spread(database_url, tmp_path, restarted):
    async with serving(database_url, tmp_path) as server:
        await server.cloud()
        await server.apply(*NODES)
        await server.update(changed("sg-web", ingress=[]))
        await server.apply("nc-1")
        first = (await server.admin.get("/v1/updates")).json()["updates"]
        token = server.admin_token
        each = {one: (await server.admin.get(f"/v1/updates/{one}")).json() for one in (1, 2)}
    if restarted:
        async with serving(database_url, tmp_path, admin_token=token) as server:
            again = (await server.admin.get("/v1/updates")).json()["updates"]
            for now, then in zip(again, first, strict=True):  # the stages follow, written once a second
                for counted in ("affected", "applied", "ms", "exceptions", "missing"):
                    assert now["summary"][counted] == then["summary"][counted]
            await server.apply("nc-2", "nc-3")
            newest = (await server.admin.get("/v1/updates?limit=1")).json()["updates"][0]
            assert newest["summary"]["applied"] == newest["summary"]["affected"]
        return
    summaries = {one["revision"]: one["summary"] for one in first}
    assert (summaries[1]["affected"], summaries[1]["applied"]) == (3, 3)
    assert summaries[2]["applied"] == 1 < summaries[2]["affected"]
    for revision, one in each.items():
        assert {mark: pytest.approx(ms, abs=0.11) for mark, ms in one["ms"].items()} == summaries[revision]["ms"]


async def test_what_befell_a_node_is_told_once_and_by_every_replica(replicas):
    one, two = replicas
    await one.apply(*NODES)
    two.tokens["operator", None] = two.client((await one.token("operator"))["token"])
    async with listening(one) as heard, listening(two) as heard_elsewhere:
        etag = (await one.view("nc-1")).headers["etag"]
        failures = [{"object": "instances/i-web", "stage": "ruleset", "reason": "no such set"}]
        for _ in range(2):
            await one.report("nc-1", None, "rejected", attempted={"etag": etag}, failures=failures)
        await one.report("nc-1", etag)
        for each in (heard, heard_elsewhere):
            await until(lambda each=each: len(each.bodies("happening")) >= 2, "what befell it")
            told = each.bodies("happening")
            assert [(body["kind"], body["node"]) for body in told] == [("rejected", "nc-1"), ("accepted", "nc-1")]
            assert told[0]["more"] == {"failures": failures}
        listed = (await one.admin.get("/v1/happenings")).json()["happenings"]
        assert heard.bodies("happening") == listed[::-1]
