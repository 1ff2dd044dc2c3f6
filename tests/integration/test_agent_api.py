"""The local API over its real sockets: a unix socket, and TCP on loopback."""

import asyncio
import contextlib
import stat

import httpx
import pytest

from nodeagent.agent import assemble
from nodeagent.api.listener import listen, name_of
from nodeagent.api.serve import Api
from nodeagent.settings import ApiAddress, Settings, SettingsInvalid
from tests.integration.agent_kernel import Kernel, MemoryEnforcement
from tests.integration.agent_server import ViewServer
from tests.unit.nodeagent.views import etag_of, view_wire

ONE, TWO, THREE = view_wire(port=22), view_wire(port=80), view_wire(port=443)


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def serving(tmp_path, kernel):
    """An agent with its API; restarted by entering anew."""

    @contextlib.asynccontextmanager
    async def start(server: ViewServer | None = None, tcp: bool = False):
        token = tmp_path / "token"
        token.write_text("secret")
        address = ApiAddress(host="127.0.0.1") if tcp else ApiAddress(path=tmp_path / "agent.sock")
        servers = (server.url,) if server else ()
        settings = Settings("nc-1", servers, token if server else None, tmp_path, "br0", "br0", "vn_*", address)
        agent = assemble(settings, lambda generation: MemoryEnforcement(kernel, generation))
        listener = listen(address)
        await agent.start()
        api = Api(agent, listener)
        await api.started()
        stop = asyncio.Event()
        task = asyncio.ensure_future(agent.run(stop))
        transport = None if tcp else httpx.AsyncHTTPTransport(uds=str(address.path))
        base = name_of(address, listener) if tcp else "http://agent"
        async with httpx.AsyncClient(transport=transport, base_url=base, timeout=15) as client:
            yield client
        stop.set()
        await task
        await api.close()
        agent.passes.close()
        if agent.client:
            await agent.client.close()

    return start


def problem(answer: httpx.Response, status: int) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    return body


async def test_status_says_what_is_held_and_applied_and_how_it_stands_with_the_server(serving):
    async with ViewServer().serving() as server:
        etag = await server.publish(ONE)
        async with serving(server) as client:
            await server.until(lambda: etag in server.applied)
            status = (await client.get("/v1/status")).json()
            assert status["state"] == "applied"
            assert status["held"] == status["applied"]
            assert status["applied"] == {"etag": str(etag), "epoch": 1, "version": 1, "digest": etag.digest}
            assert status["attempted"] is status["refused"] is status["pinned"] is None
            assert status["instances"] == {"i-1a2b3c4d": "ready"}
            assert status["server"] == {
                "url": server.url,
                "standing": "following",
                "problem": None,
                "revision": "1.1",
                "stale_s": None,
            }
            assert status["timings_ms"].keys() == {"fetch", "plan", "apply", "verify"}
            assert (await client.get("/readyz")).status_code == 200


async def test_a_failed_pass_is_in_status_and_not_ready(serving, kernel):
    kernel.bridge = False
    async with serving() as client:
        status = (await client.get("/v1/status")).json()
        assert status["state"] == "rejected"
        assert status["failures"] == [{"object": "view", "stage": "bridge", "reason": "br0 does not exist"}]
        assert (await client.get("/healthz")).status_code == 200
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert "br0 does not exist" in answer.json()["reason"]


async def test_the_plan_is_empty_when_observed_equals_desired_and_resync_makes_it_so(serving, kernel):
    async with serving() as client:
        assert (await client.get("/v1/plan")).json() == {"empty": True, "steps": []}
        kernel.content = "foreign"
        assert (await client.get("/v1/plan")).json() == {"empty": False, "steps": ["foreign → closed"]}
        await client.post("/v1/apply", json=ONE)
        kernel.content = "foreign"
        resynced = (await client.post("/v1/resync")).json()
        assert (resynced["state"], resynced["changes"]) == ("applied", 1)
        assert (await client.get("/v1/plan")).json()["empty"]


async def test_the_ruleset_is_shown_as_desired_and_as_observed(serving, kernel):
    async with serving() as client:
        kernel.content = "foreign"
        assert (await client.get("/v1/ruleset")).json() == {"desired": "closed", "observed": "foreign"}


class TestHandingOver:
    async def test_a_dry_run_returns_the_plan_and_changes_nothing(self, serving, kernel):
        async with serving() as client:
            answer = await client.post("/v1/apply", json=ONE, params={"dry_run": True})
            assert answer.json() == {"empty": False, "steps": [f"closed → {etag_of(ONE, 1).digest}"]}
            assert kernel.content == "closed"
            assert (await client.get("/v1/status")).json()["pinned"] is None

    async def test_it_stays_whatever_the_server_says_until_it_is_taken_back(self, serving, kernel):
        async with ViewServer().serving() as server:
            first = await server.publish(ONE)
            async with serving(server) as client:
                await server.until(lambda: first in server.applied)
                by_hand = etag_of(THREE, 0).digest
                applied = (await client.post("/v1/apply", json=THREE)).json()
                assert applied["state"] == "applied"
                assert kernel.content == by_hand
                await server.until(lambda: server.newest["state"] == "pinned")
                assert (server.newest["applied"], server.newest["attempted"]) == (None, {"etag": str(first)})

                second = await server.publish(TWO)
                await server.until(lambda: server.newest.get("attempted") == {"etag": str(second)})
                status = (await client.get("/v1/status")).json()
                assert (status["state"], status["pinned"]["digest"]) == ("pinned", by_hand)
                assert (status["held"]["etag"], status["applied"]) == (str(second), None)
                assert kernel.content == by_hand

            async with serving(server) as client:  # pinned across a restart
                assert kernel.content == by_hand
                assert (await client.get("/v1/status")).json()["state"] == "pinned"
                assert (await client.delete("/v1/apply")).json()["state"] == "applied"
                await server.until(lambda: second in server.applied)
                assert kernel.content == second.digest
                problem(await client.delete("/v1/apply"), 404)

    async def test_a_view_that_the_kernel_refuses_is_not_pinned(self, serving, kernel):
        async with serving() as client:
            await client.post("/v1/apply", json=ONE)
            kernel.refused = {etag_of(TWO, 0).digest}
            refused = problem(await client.post("/v1/apply", json=TWO), 409)
            assert refused["errors"] == [{"pointer": "/view", "message": "ruleset: the kernel refuses it"}]
            assert kernel.content == etag_of(ONE, 0).digest
            status = (await client.get("/v1/status")).json()
            assert (status["state"], status["pinned"]["digest"]) == ("pinned", kernel.content)

    @pytest.mark.parametrize(
        ("body", "status", "pointer"),
        [
            (b"{", 400, None),
            (b"[]", 422, ""),
            (b'{"schema": 2}', 422, "/schema"),
        ],
    )
    async def test_what_is_no_view_is_refused(self, serving, kernel, body, status, pointer):
        async with serving() as client:
            errors = problem(await client.post("/v1/apply", content=body), status)["errors"]
            assert [error["pointer"] for error in errors] == ([] if pointer is None else [pointer])
            assert kernel.content == "closed"

    async def test_another_nodes_view_is_refused(self, serving, kernel):
        async with serving() as client:
            errors = problem(await client.post("/v1/apply", json=view_wire("nc-2")), 422)["errors"]
            assert errors == [{"pointer": "/node", "message": "this is nc-1, the view is of nc-2"}]
            assert kernel.content == "closed"


class TestBootGate:
    async def test_it_waits_until_the_port_is_there(self, serving, kernel):
        kernel.interfaces = set()
        async with serving() as client:
            gate = asyncio.ensure_future(client.get("/v1/instances/i-1a2b3c4d", params={"wait": "ready"}))
            await client.post("/v1/apply", json=ONE)
            now = await client.get("/v1/instances/i-1a2b3c4d")
            assert now.json() == {
                "id": "i-1a2b3c4d",
                "readiness": "waiting-for-interface",
                "ready": False,
                "traffic": None,
            }
            assert not gate.done()
            kernel.interfaces = {"vn_i-1a2b3c4d"}
            assert (await gate).json()["ready"] is True

    async def test_at_the_deadline_it_says_how_things_are(self, serving, kernel):
        kernel.interfaces = set()
        async with serving() as client:
            await client.post("/v1/apply", json=ONE)
            answer = await client.get("/v1/instances/i-1a2b3c4d", params={"wait": "ready", "timeout": 0.05})
            assert answer.json()["ready"] is False
            problem(await client.get("/v1/instances/i-none", params={"wait": "ready", "timeout": 0.05}), 404)

    async def test_bad_parameters_are_all_named(self, serving):
        async with serving() as client:
            params = {"wait": "x", "timeout": -1}
            errors = problem(await client.get("/v1/instances/i-1", params=params), 422)["errors"]
            assert {error["pointer"] for error in errors} == {"/query/wait", "/query/timeout"}


async def test_the_documentation_loads_nothing_from_elsewhere(serving):
    async with serving() as client:
        page = await client.get("/docs")
        assert page.status_code == 200
        assert "http://" not in page.text
        assert "https://" not in page.text
        assert (await client.get("/docs/assets/swagger-ui.css")).status_code == 200
        assert (await client.get("/openapi.json")).json()["info"]["title"] == "Verge node agent"
        problem(await client.get("/nothing"), 404)
        problem(await client.put("/v1/status"), 405)


async def test_the_unix_socket_is_its_owners_alone_and_replaces_one_that_a_dead_agent_left(serving, tmp_path):
    async with serving():
        pass
    listen(ApiAddress(path=tmp_path / "agent.sock")).close()
    async with serving() as client:
        mode = (tmp_path / "agent.sock").stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert mode & 0o777 == 0o600
        assert (await client.get("/healthz")).status_code == 200


class TestTcp:
    async def test_reading_is_open_and_changing_needs_the_token(self, serving, kernel):
        async with ViewServer().serving() as server:
            await server.publish(TWO)
            async with serving(server, tcp=True) as client:
                assert (await client.get("/v1/status")).status_code == 200
                await server.until(lambda: server.applied)
                problem(await client.post("/v1/apply", json=ONE), 401)
                problem(await client.post("/v1/resync", headers={"Authorization": "Bearer wrong"}), 401)
                assert kernel.content == etag_of(TWO, 1).digest
                answer = await client.post("/v1/apply", json=ONE, headers={"Authorization": "Bearer secret"})
                assert answer.json()["state"] == "applied"

    async def test_without_a_token_nothing_can_be_changed(self, serving):
        async with serving(tcp=True) as client:
            problem(await client.post("/v1/resync", headers={"Authorization": "Bearer x"}), 401)

    async def test_a_name_that_only_resolves_to_loopback_is_refused(self, serving):
        async with serving(tcp=True) as client:
            problem(await client.get("/v1/status", headers={"Host": "evil.example:8471"}), 403)

    async def test_a_port_in_use_is_said_at_once(self, serving):
        async with serving(tcp=True) as client:
            with pytest.raises(SettingsInvalid, match="in use"):
                listen(ApiAddress(host="127.0.0.1", port=client.base_url.port))
