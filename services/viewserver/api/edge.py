"""The short way for view requests: from uvicorn's parser to a poll, and from the poll to the socket.

uvicorn makes, for each request, a scope, a cycle, an event and a task, and ASGI adds messages: for ten thousand parked polls
that is most of what they cost. What is usual for an agent is answered here instead; everything else goes uvicorn's
way, unchanged. While a poll is parked it stands where uvicorn keeps the request in work (`cycle`), so that what is sent
behind it waits its turn, and a shutdown closes the connection after its answer.
"""

import re
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import unquote

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from viewserver.api.context import Server
from viewserver.api.hot import PAST
from viewserver.api.poll import Poll, Polls

_PATH = re.compile(rb"/v1/nodes/([^/?#]+)/view(?:\?([^#]*))?")


class Served(Protocol):
    @property
    def server(self) -> Server: ...
    @property
    def polls(self) -> Polls: ...


class _Never:
    """Nobody waits for a body."""

    def set(self) -> None: ...


_NEVER = _Never()


class Held:
    """A poll in the place of uvicorn's cycle."""

    __slots__ = ("body", "disconnected", "keep_alive", "more_body", "poll", "response_complete")
    message_event = _NEVER

    def __init__(self) -> None:
        self.poll: Poll | None = None
        self.response_complete = False
        self.keep_alive = True
        self.disconnected = False
        self.more_body = False
        self.body = b""


class Edge(HttpToolsProtocol):
    """One connection. `application` is what the polls belong to."""

    def __init__(self, application: Served, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._application = application
        self._taken: tuple[str, bytes] | None = None
        """The node and query of the view request that is being read."""

    def on_message_begin(self) -> None:
        """Uvicorn's scope is made when it is known to be needed."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._taken = None

    def on_headers_complete(self) -> None:
        self._taken = self._view_request()
        if self._taken is None:
            url, headers, expects = self.url, self.headers, self.expect_100_continue
            super().on_message_begin()
            self.url, self.expect_100_continue = url, expects
            self.headers += headers
            super().on_headers_complete()

    def _view_request(self) -> tuple[str, bytes] | None:
        if self.cycle is not None and not self.cycle.response_complete:
            return None
        found = _PATH.fullmatch(self.url)
        parser = self.parser
        if found is None or parser.get_method() != b"GET" or parser.get_http_version() != "1.1":
            return None
        query = found[2] or b""
        if PAST.search(query) or parser.should_upgrade() or not parser.should_keep_alive():
            return None
        if any(name in (b"content-length", b"transfer-encoding", b"expect") for name, _ in self.headers):
            return None
        node = unquote(found[1].decode("ascii"))
        return None if "/" in node or "\x00" in node else (node, query)

    def on_body(self, body: bytes) -> None:
        if self._taken is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._taken is None:
            return super().on_message_complete()
        (node, query), headers = self._taken, dict(self.headers)
        self._taken = None
        self.headers = []
        held = Held()
        self.cycle = held  # type: ignore[assignment]
        application = self._application

        def reply(status: int, head: bytes, body: bytes) -> None:
            self._reply(held, status, head, body)

        held.poll = application.polls.begin(application.server, node, headers, query, reply)
        return None

    def _reply(self, held: Held, status: int, head: bytes, body: bytes) -> None:
        held.response_complete = True
        if self.transport.is_closing():
            return
        lines = [STATUS_LINE[status], *(b"%b: %b\r\n" % pair for pair in self.server_state.default_headers), head]
        if not held.keep_alive:
            lines.append(b"connection: close\r\n")
        if status != 304:
            lines.append(b"content-length: %d\r\n" % len(body))
        lines += (b"\r\n", body)
        self.transport.write(b"".join(lines))
        if held.keep_alive:
            self.on_response_complete()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(self.cycle, Held) and self.cycle.poll is not None:
            self.cycle.poll.gone()
        super().connection_lost(exc)


def edge_of(application: Served) -> Callable[..., Edge]:
    """What uvicorn calls for each connection."""

    def connection(*arguments: Any, **named: Any) -> Edge:
        return Edge(application, *arguments, **named)

    return connection
