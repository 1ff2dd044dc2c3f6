"""The composition root: one view server, from its settings to an ASGI application."""

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import AsyncIterator, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from verge import apidocs
from viewserver.api import (
    changelog,
    convergence,
    dashboard,
    events,
    explain,
    fences,
    history,
    imports,
    metrics,
    nodes,
    problems,
    readiness,
    reading,
    records,
    tokens,
    updates,
)
from viewserver.api.context import Json, Server
from viewserver.api.description import describe
from viewserver.api.hot import Receive, Scope, Send, ViewRoute
from viewserver.api.poll import Polls
from viewserver.api.reporting import ReportRoute
from viewserver.credentials import Credentials
from viewserver.events import Events
from viewserver.fences import Fences
from viewserver.follow import Follower
from viewserver.heartbeat import Heartbeat
from viewserver.history import History
from viewserver.model.faults import Fault
from viewserver.recorder import Recorder
from viewserver.reports import Reports
from viewserver.settings import Settings
from viewserver.store.embedded import EmbeddedPostgres
from viewserver.store.engine import Database
from viewserver.store.epoch import settle_epoch
from viewserver.store.migrate import migrate
from viewserver.update import Updates
from viewserver.upkeep import Upkeep

log = logging.getLogger(__name__)

STALE_LIMIT_S = 60.0

TAGS = [
    {"name": "writing", "description": "The cloud controller's: what the network shall be."},
    {"name": "convergence", "description": "Who has applied what, live, and waiting for it."},
    {"name": "reading", "description": "The network, its history, the nodes."},
    {"name": "nodes", "description": "The node agents': their view, their report."},
    {"name": "fences", "description": "Addresses on their way from one node to another."},
    {"name": "credentials", "description": "Tokens, made and revoked by an admin."},
]


def create_routes() -> FastAPI:
    """The routes and their description; `app.state.server` is set once the server is up."""
    app = FastAPI(
        title="Verge view server",
        version="1",
        description="The authoritative network, and every node's own view of it.",
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    routers = (
        fences,
        tokens,
        readiness,
        history,
        reading,
        explain,
        changelog,
        records,
        convergence,
        events,
        metrics,
        nodes,
        imports,
        updates,
    )
    for module in routers:
        app.include_router(module.router)

    @app.get("/healthz", tags=["service"], summary="Alive")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["service"], summary="Loaded, not stale past the limit, and not about to stop")
    async def readyz() -> Json:
        server: Server | None = getattr(app.state, "server", None)
        if server is None:
            return Json({"status": "loading"}, 503)
        stale = server.replica.stale_seconds()
        body = {
            "revision": server.replica.held.revision,
            "epoch": server.replica.held.epoch,
            "stale_s": round(stale, 1),
        }
        if app.state.application.leaving:
            return Json({"status": "leaving", **body}, 503)
        ready = stale < STALE_LIMIT_S
        return Json({"status": "ready" if ready else "stale", **body}, 200 if ready else 503)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(apidocs.page("Verge view server"))

    app.mount("/docs/assets", StaticFiles(directory=apidocs.ASSETS))
    dashboard.install(app)
    describe(app)
    return app


class Application:
    """ASGI: the hot route first, FastAPI for the rest."""

    def __init__(self, routes: FastAPI) -> None:
        self.routes = routes
        self.leaving = False
        """The server was told to stop: it is not ready for anything new."""
        routes.state.application = self
        self.polls = Polls()
        self.views = ViewRoute(self.polls)
        self.answers: Counter[int] = Counter()
        """Of every other route, by status."""
        self.reports = ReportRoute(self.polls)
        routes.state.answers = {"view": self.polls.answers, "report": self.reports.answers, "other": self.answers}

    @property
    def server(self) -> Server:
        server: Server = self.routes.state.server
        return server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if "\x00" in scope["path"]:
                return await _refused(send, 404, "no path contains a NUL")
            if b"%00" in scope["query_string"]:  # Postgres's text has none
                query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
                faults = tuple(
                    Fault(("query", name), "must not contain a NUL") for name, text in query if "\x00" in text
                )
                return await _refused(send, 422, "no parameter contains a NUL", faults)
            node = self.views.takes(scope)
            if node is not None:
                return await self.views(self.server, node, scope, receive, send)
            node = self.reports.takes(scope)
            if node is not None:
                return await self.reports(self.server, node, scope, receive, send)
            return await self.routes(scope, receive, self._counted(send))
        return await self.routes(scope, receive, send)

    def _counted(self, send: Send) -> Send:
        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self.answers[message["status"]] += 1
            await send(message)

        return counted


async def _refused(send: Send, status: int, detail: str, faults: tuple[Fault, ...] = ()) -> None:
    headers, body = problems.problem(status, detail, faults)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Application]:
    """A view server that is loaded and follows, for as long as the block lasts. Raises StoreError, KeyMismatch."""
    async with AsyncExitStack() as stack:
        url = settings.database_url
        if url is None:
            url = (await stack.enter_async_context(EmbeddedPostgres(settings.data_dir))).dsn
        await migrate(url)
        database = await stack.enter_async_context(Database(url))
        async with database.begin() as conn:
            await settle_epoch(conn)
        credentials = await Credentials.open(database, settings)
        follower = await Follower.start(database, settings)
        reports = Reports(database, follower.replica)
        routes = create_routes()
        updates_ = Updates(database, follower)
        events_ = Events(follower.replica)
        history_ = History(database)
        routes.state.server = Server(settings, database, credentials, follower, updates_, reports, events_, history_)
        heartbeat = Heartbeat(follower)
        _settle_collector()
        stack.push_async_callback(reports.close)
        tasks = [
            asyncio.create_task(follower.run(credentials.reload), name="follow"),
            asyncio.create_task(reports.run(), name="reports"),
            asyncio.create_task(Fences(updates_).run(), name="fences"),
            asyncio.create_task(Upkeep(database, settings).run(), name="upkeep"),
            asyncio.create_task(events_.run(), name="events"),
            asyncio.create_task(heartbeat.run(), name="heartbeat"),
            asyncio.create_task(Recorder(database, follower.replica).run(), name="records"),
        ]
        for task in tasks:
            task.add_done_callback(_ended)
            stack.push_async_callback(_cancelled, task)
        yield Application(routes)


def _settle_collector() -> None:
    """What is loaded stays: the cyclic collector need not look at it again. Parked requests are long-lived too, and
    scanning them over and over was most of their cost."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 1000)


def _ended(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled() and task.exception() is not None:
        log.critical("task %s ended", task.get_name(), exc_info=task.exception())


async def _cancelled(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task
