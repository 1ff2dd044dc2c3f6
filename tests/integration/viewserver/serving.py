"""A view server in this process, behind a real uvicorn, and those who ask it: cloud, operator, nodes."""

import asyncio
import contextlib
import signal
from dataclasses import dataclass, field

import httpx

from tests.unit.viewserver.clouds import CLOUD
from viewserver.__main__ import _listening, _Uvicorn, configured
from viewserver.app import running
from viewserver.settings import Settings

KEY = "00" * 32


async def until(holds, what="it never came true"):
    """Until `holds()`, asked anew whenever something may have happened."""
    try:
        async with asyncio.timeout(20):
            while not holds():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(what) from None


@dataclass
class Serving:
    application: object
    process: object
    url: str
    admin_token: str
    clients: list = field(default_factory=list)
    tokens: dict = field(default_factory=dict)

    @property
    def replica(self):
        return self.application.server.replica

    @property
    def answers(self):
        """Of the view route, by status."""
        return self.application.polls.answers

    @property
    def parked(self):
        return len(self.replica.views)

    def client(self, token):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        limits = httpx.Limits(max_connections=None)
        found = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30, limits=limits, trust_env=False)
        self.clients.append(found)
        return found

    @property
    def admin(self):
        return self._kept("admin", self.admin_token)

    def _kept(self, name, token):
        return self.tokens.setdefault(name, self.client(token))

    async def token(self, role, node=None, name=None):
        wanted = {"role": role} | ({"node": node} if node else {}) | ({"name": name} if name else {})
        answer = await self.admin.post("/v1/tokens", json=wanted)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def as_(self, role, node=None):
        """A client with a token of that role; the same one each time."""
        if (role, node) not in self.tokens:
            self.tokens[role, node] = self.client((await self.token(role, node))["token"])
        return self.tokens[role, node]

    async def update(self, *operations, expect=200, client=None, **params):
        answer = await (client or self.admin).post("/v1/updates", json={"operations": list(operations)}, params=params)
        assert answer.status_code == expect, answer.text
        return answer.json()

    async def cloud(self):
        """The cloud of tests.unit.viewserver.clouds."""
        return await self.update(*CLOUD)

    async def view(self, node, *, etag=None, wait=None, client=None, delta=False, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if etag:
            headers["If-None-Match"] = etag
        if wait is not None:
            headers["Prefer"] = f"wait={wait}"
        if delta:
            headers["A-IM"] = "verge-delta"
        return await (client or await self.as_("node", node)).get(f"/v1/nodes/{node}/view", headers=headers)

    async def park(self, node, etag=None, wait=30, **more):
        """A poll that is held now: (its task)."""
        if etag is None:
            etag = (await self.view(node)).headers["etag"]
        before = self.replica.views.held(node)
        task = asyncio.ensure_future(self.view(node, etag=etag, wait=wait, **more))
        await until(lambda: self.replica.views.held(node) > before or task.done())
        assert not task.done(), task.result().status_code
        return task

    async def report(self, node, etag, state="applied", expect=204, **more):
        client = await self.as_("node", node)
        body = {"applied": {"etag": etag} if etag else None, "state": state, **more}
        answer = await client.put(f"/v1/nodes/{node}/report", json=body)
        assert answer.status_code == expect, answer.text
        return answer

    async def apply(self, *nodes):
        """These nodes fetch their views and report them applied."""
        for node in nodes:
            await self.report(node, (await self.view(node)).headers["etag"])

    async def model(self):
        answer = await self.admin.get("/v1/model")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def etags(self):
        answer = await self.admin.get("/v1/nodes")
        return {one["node"]: one["etag"] for one in answer.json()["nodes"]}


@contextlib.asynccontextmanager
async def serving(database_url, data_dir, admin_token=None, key=KEY, **settings):
    """One replica. A second one on the same database takes the first one's admin token."""
    bound = _listening("127.0.0.1:0")
    async with running(
        Settings(database_url=database_url, data_dir=data_dir, token_key=key, **settings)
    ) as application:
        config = configured(application, settings.get("max_connections") or 10_000)
        server = _Uvicorn(config, application)
        task = asyncio.ensure_future(server.serve(sockets=[bound]))
        await until(lambda: server.started or task.done())
        token = admin_token or (data_dir / "admin.token").read_text().strip()
        found = Serving(application, server, f"http://127.0.0.1:{bound.getsockname()[1]}", token)
        try:
            yield found
        finally:
            for client in found.clients:
                await client.aclose()
            server.handle_exit(signal.SIGTERM, None)
            await task
