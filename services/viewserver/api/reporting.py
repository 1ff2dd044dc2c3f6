"""The agents' reports, taken beside FastAPI: `PUT /v1/nodes/{node}/report`.

When a change affects ten thousand nodes, as many reports come at once, and what the framework does for each would be most of
their cost. What a report is and what becomes of it stands in `nodes`, which also describes the route.
"""

import re
from urllib.parse import unquote

from viewserver.api import nodes, problems
from viewserver.api.context import Server
from viewserver.api.hot import Receive, Scope, Send
from viewserver.api.poll import Polls
from viewserver.errors import RequestError, TooLarge
from viewserver.store import StoreError

PATH = re.compile(r"/v1/nodes/([^/]+)/report")


class ReportRoute:
    def __init__(self, polls: Polls) -> None:
        self.polls = polls
        self.answers: dict[int, int] = {}
        """By status."""

    def takes(self, scope: Scope) -> str | None:
        """The node whose report this is; None if it is a request for another route."""
        if scope["method"] != "PUT":
            return None
        found = PATH.fullmatch(scope["path"])
        return None if found is None else unquote(found[1])

    async def __call__(self, server: Server, node: str, scope: Scope, receive: Receive, send: Send) -> None:
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        status, content = 204, b""
        headers: dict[str, str] = {}
        try:
            caller = server.credentials.caller(authorization.decode("latin-1"))
            caller.may("node")
            caller.may_speak_for(node)
            body = await _body(receive)
            if body is None:
                return
            await self.polls.go_first()
            await nodes.take(server, node, body)
        except (RequestError, StoreError) as error:
            found = problems.of(error)
            if found is None:
                raise
            status, headers, content = found
            headers = {**headers, "content-length": str(len(content))}
        self.answers[status] = self.answers.get(status, 0) + 1
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": content})


async def _body(receive: Receive) -> bytes | None:
    """None: the client went away before the end. Raises TooLarge as soon as that is clear."""
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > nodes.REPORT_BYTES:
            raise TooLarge(f"the body has more than {nodes.REPORT_BYTES} bytes")
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)
