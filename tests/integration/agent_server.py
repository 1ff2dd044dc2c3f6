"""A small view server for one node, over real HTTP: it speaks the contract's "Reading a view" and "Reporting", refuses what
the contract refuses, and notes what it was asked."""

import asyncio
import contextlib
import re
import socket
from pathlib import Path

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.unit.nodeagent.views import body_of, etag_of
from verge.contract.delta import diff
from verge.contract.etag import At, ETag
from verge.contract.view import View

STATES = ("applied", "degraded", "rejected", "pinned")


class ViewServer:
    def __init__(self, node: str = "nc-1", token: str = "secret", epoch: int = 1) -> None:
        self.node, self.token, self.epoch = node, token, epoch
        self.revision = 0
        self.etag: ETag | None = None
        self.body = b""
        self.views: dict[ETag, View] = {}
        """What a delta may be based on."""
        self.known: set[ETag] = set()
        self.failing: int | None = None
        """Answer everything with this status."""
        self.answers: list[tuple[int, str]] = []
        """(status, If-None-Match) of every view answer."""
        self.applied: list[ETag] = []
        """By Verge-Applied or by report, as heard."""
        self.reports: list[dict] = []
        self.removed = False
        self._changed = asyncio.Condition()
        self._server: uvicorn.Server | None = None
        self.url = ""

    # What a test does

    async def publish(self, wire: dict, *, digest: str | None = None, epoch: int | None = None) -> ETag:
        """A newer view; with `digest`, one whose ETag lies. Another epoch forgets what deltas were based on."""
        if epoch:
            self.views.clear()
        self.epoch = epoch or self.epoch
        self.revision += 1
        honest = etag_of(wire, self.revision, self.epoch)
        self.etag = ETag(honest.epoch, honest.version, digest) if digest else honest
        self.body = body_of(wire)
        self.views[self.etag] = View.parse(wire)
        self.known.add(self.etag)
        await self._wake()
        return self.etag

    @property
    def newest(self) -> dict:
        """The newest report; of no state when there is none."""
        return self.reports[-1] if self.reports else {"state": None, "instances": None, "applied": None}

    async def until(self, holds, what: str = "") -> None:
        """Until `holds()`; checked after everything that the agent says."""
        async with asyncio.timeout(15), self._changed:
            await self._changed.wait_for(holds)

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # HTTP

    @contextlib.asynccontextmanager
    async def serving(self, port: int = 0, path: Path | None = None):
        """On loopback, or on a unix socket."""
        app = Starlette(
            routes=[
                Route("/v1/nodes/{node}/view", self._view),
                Route("/v1/nodes/{node}/report", self._report, methods=["PUT"]),
            ]
        )
        if path:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(str(path))
            self.url = f"unix:{path}"
        else:
            listener = socket.create_server(("127.0.0.1", port))
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
        server.capture_signals = contextlib.nullcontext
        task = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            yield self
        finally:
            server.should_exit = server.force_exit = True
            await self._wake()
            await task

    def _refusal(self, request: Request) -> Response | None:
        def problem(status: int, detail: str) -> Response:
            return JSONResponse({"title": "no", "status": status, "detail": detail}, status)

        if self.failing:
            return problem(self.failing, "told to fail")
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return problem(401, "no such credential")
        if request.path_params["node"] != self.node:
            return problem(403, "not yours")
        if self.removed or self.etag is None:
            return problem(404, "no such node")
        return None

    def _heard(self, etag: ETag) -> bool:
        if etag not in self.known:
            return False
        self.applied.append(etag)
        return True

    async def _view(self, request: Request) -> Response:
        given = request.headers.get("if-none-match", "")
        if refusal := self._refusal(request):
            self.answers.append((refusal.status_code, given))
            await self._wake()
            return refusal
        bases = ETag.list_of(given)
        if said := request.headers.get("verge-applied"):
            if not self._heard(ETag.parse(said)):
                self.answers.append((409, given))
                return JSONResponse({"detail": "an ETag that this server never gave"}, 409)
            await self._wake()
        seen = request.headers.get("verge-revision")
        assert seen is None or At.parse(seen)
        wait = re.fullmatch(r"wait=(\d+)", request.headers.get("prefer", "wait=0"))
        async with self._changed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self._changed.wait_for(lambda: self.etag not in bases or self.failing), int(wait[1])
                )
        if refusal := self._refusal(request):
            status, response = refusal.status_code, refusal
        else:
            wants_delta = "verge-delta" in request.headers.get("a-im", "")
            status, headers, body = self._newest(bases, [base for base in bases if wants_delta and base in self.views])
            response = Response(body, status, headers, "application/json")
        self.answers.append((status, given))
        await self._wake()
        return response

    def _newest(self, known: list[ETag], bases: list[ETag]) -> tuple[int, dict[str, str], bytes]:
        headers = {"ETag": str(self.etag), "Verge-Revision": f"{self.epoch}.{self.revision}"}
        if self.etag in known:
            return 304, headers, b""
        if bases:
            body = orjson.dumps(diff(self.views[bases[0]], self.views[self.etag]))
            return 226, headers | {"IM": "verge-delta", "Delta-Base": str(bases[0])}, body
        return 200, headers, self.body

    async def _report(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        report = orjson.loads(await request.body())
        applied = report["applied"] and ETag.parse(report["applied"]["etag"])
        if report["state"] not in STATES:
            return JSONResponse({"detail": "state"}, 422)
        if applied and not self._heard(applied):
            return JSONResponse({"detail": "an ETag that this server never gave"}, 409)
        self.reports.append(report)
        await self._wake()
        return Response(status_code=204)
