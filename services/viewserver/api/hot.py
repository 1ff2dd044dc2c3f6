"""The agents' view requests: `GET /v1/nodes/{node}/view`, held open until the view moves.

A bare ASGI callable, beside FastAPI: ten thousand of these are parked at any time, and what the framework keeps per request
is what they would cost. It parses four headers, holds one future while it waits, and answers bytes rendered once.
"""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, unquote

from verge.contract.delta import IM
from verge.contract.etag import At, ETag
from verge.contract.report import Report
from viewserver.api import problems
from viewserver.api.context import Server
from viewserver.errors import Malformed, NotReady, RequestError, UnknownObject
from viewserver.model.faults import Fault
from viewserver.replica import Replica

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PATH = re.compile(r"/v1/nodes/([^/]+)/view")
_PAST = re.compile(rb"(?:^|&)(?:revision|at)=")
"""Asks for a view as it was, which is another route's."""
CATCH_UP_S = 5.0
_PREFER_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d+(?:\.\d+)?)")


class ViewRoute:
    def __init__(self) -> None:
        self.answers: dict[int, int] = {}
        """How many answers of each status were given: tests assert who was not woken."""

    def takes(self, scope: Scope) -> str | None:
        """The node whose view this request is for; None if it is for another route."""
        found = PATH.fullmatch(scope["path"])
        if found is None or scope["method"] not in ("GET", "HEAD") or _PAST.search(scope["query_string"]):
            return None
        return unquote(found[1])

    async def __call__(self, server: Server, node: str, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            caller = server.credentials.caller(headers.get("authorization"))
            caller.may("node", "cloud")
            caller.may_speak_for(node)
            status, answer, body = await self._answer(server, node, caller.role == "node", headers, scope, receive)
        except _Gone:
            return
        except RequestError as error:
            found = problems.of(error)
            assert found is not None
            status, answer, body = found
        self.answers[status] = self.answers.get(status, 0) + 1
        if status == 304:
            body = b""
        else:
            answer["content-length"] = str(len(body))
        raw = [(name.encode(), value.encode()) for name, value in answer.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
        if status in (200, 226) and caller.role == "node":
            server.reports.answered(node, ETag.parse(answer["etag"]))

    async def _answer(
        self, server: Server, node: str, is_agent: bool, headers: dict[str, str], scope: Scope, receive: Receive
    ) -> tuple[int, dict[str, str], bytes]:
        replica = server.replica
        held = ETag.list_of(headers.get("if-none-match", ""))
        deadline = time.monotonic() + _wait(headers, scope, replica.settings.max_wait_s)
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            with replica.connected(node) if is_agent else _nothing():
                await _catch_up(replica, headers.get("verge-revision"), gone)
                if is_agent:
                    _take_report(server, node, headers.get("verge-applied"))
                while True:
                    with replica.views.ticket(node) as ticket:
                        etag = replica.held.etag(node)
                        if etag is None:
                            raise UnknownObject(f"node {node} does not exist")
                        if etag not in held:
                            return self._newer(replica, node, held if "verge-delta" in headers.get("a-im", "") else [])
                        if ticket.done() or time.monotonic() >= deadline:
                            return 304, _headers(replica, etag), b""
                        await asyncio.wait(
                            (ticket, gone), timeout=deadline - time.monotonic(), return_when=asyncio.FIRST_COMPLETED
                        )
                        if gone.done():
                            raise _Gone
        finally:
            gone.cancel()

    def _newer(self, replica: Replica, node: str, bases: list[ETag]) -> tuple[int, dict[str, str], bytes]:
        """The delta from a base that the node holds, or the whole view; never a gap."""
        found = replica.delta(node, bases) if bases else None
        if found is not None:
            base, etag, body = found
            headers = {"im": IM, "delta-base": str(base), "content-type": "application/json"}
            return 226, {**_headers(replica, etag), **headers}, body
        rendered = replica.rendered(node)
        if rendered is None:
            raise UnknownObject(f"node {node} does not exist")
        etag, body = rendered
        return 200, {**_headers(replica, etag), "content-type": "application/json"}, body


class _Gone(Exception):
    """The client closed the connection; nobody is there to be answered."""


class _nothing:  # noqa: N801 - reads as a block
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _headers(replica: Replica, etag: ETag) -> dict[str, str]:
    headers = {"etag": str(etag), "verge-revision": str(replica.held.at), "cache-control": "no-cache"}
    return headers | replica.stale_header()


def _wait(headers: dict[str, str], scope: Scope, most: float) -> float:
    """Seconds, from `Prefer: wait=30` or `?wait=30`; capped, and shortened a little at random so that agents that came
    together do not go on coming together. Raises Malformed for a query that is no number."""
    found = _PREFER_WAIT.search(headers.get("prefer", ""))
    asked = found[1] if found else None
    for text in parse_qs(scope["query_string"].decode("latin-1")).get("wait", ()):
        asked = text
    if asked is None:
        return 0.0
    try:
        seconds = float(asked)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise Malformed((Fault(("query", "wait"), "must be a number of seconds"),))
    return min(seconds, most) * random.uniform(0.95, 1.0)  # noqa: S311 - jitter


async def _catch_up(replica: Replica, seen: str | None, gone: "asyncio.Future[None]") -> None:
    """A node never goes back: a replica behind the revision it has seen waits until it has caught up. Across epochs
    revisions do not compare. Raises NotReady."""
    if seen is None:
        return
    try:
        at = At.parse(seen)
    except ValueError as wrong:
        raise Malformed((Fault(("header", "verge-revision"), str(wrong)),)) from wrong
    deadline = time.monotonic() + CATCH_UP_S
    while at.epoch == replica.held.epoch and at.revision > replica.held.revision:
        if time.monotonic() >= deadline:
            raise NotReady(f"this replica is at {replica.held.at}, behind {at}")
        await asyncio.wait((gone,), timeout=0.02)
        if gone.done():
            raise _Gone


def _take_report(server: Server, node: str, applied: str | None) -> None:
    """`Verge-Applied: <etag>` reports plain success with the next request. Raises Contradiction, Malformed."""
    if applied is None:
        return
    try:
        etag = ETag.parse(applied)
    except ValueError as wrong:
        raise Malformed((Fault(("header", "verge-applied"), str(wrong)),)) from wrong
    told = server.replica.told.get(node)
    report = Report(applied=etag, state="applied", instances=dict(told.instances) if told else {})
    try:
        server.reports.check(node, report)
    except UnknownObject:
        return
    if told is not None and (told.epoch, told.applied) == (etag.epoch, etag.version) and told.state != "rejected":
        return  # nothing new; and what a report said of this version beside, a header does not take back
    server.reports.submit(node, report)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
