"""The agents' view requests: `GET /v1/nodes/{node}/view`, as ASGI.

The way of the few that cannot take the short one (`edge`): HEAD, HTTP/1.0, requests sent before the one ahead was answered,
servers other than ours.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from viewserver.api.context import Server
from viewserver.api.poll import Polls

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PATH = re.compile(r"/v1/nodes/([^/]+)/view")
PAST = re.compile(rb"(?:^|&)(?:revision|at|[^=&]*%[^=&]*)=")
"""Asks for a view as it was, or may do so in escapes, which is another route's."""


class ViewRoute:
    def __init__(self, polls: Polls) -> None:
        self.polls = polls

    def takes(self, scope: Scope) -> str | None:
        """The node whose view this request is for; None if it is for another route."""
        found = PATH.fullmatch(scope["path"])
        if found is None or scope["method"] not in ("GET", "HEAD") or PAST.search(scope["query_string"]):
            return None
        return unquote(found[1])

    async def __call__(self, server: Server, node: str, scope: Scope, receive: Receive, send: Send) -> None:
        replied: asyncio.Future[tuple[int, bytes, bytes]] = asyncio.get_running_loop().create_future()

        def reply(status: int, head: bytes, body: bytes) -> None:
            if not replied.done():
                replied.set_result((status, head, body))

        poll = self.polls.begin(server, node, dict(scope["headers"]), scope["query_string"], reply)
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait((replied, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            poll.gone()
        if not replied.done():
            return
        status, head, body = replied.result()
        raw = [tuple(line.split(b": ", 1)) for line in head.split(b"\r\n") if line]
        if status != 304:
            raw.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
