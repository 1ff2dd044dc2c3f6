"""Who may use the API over TCP.

The unix socket's mode is its access control. A TCP port on loopback is open to every local user and, by way of a page
that resolves to 127.0.0.1, to a browser; so over TCP a request must name a loopback host, and one that changes something
must carry the node's bearer token.
"""

import hmac
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from nodeagent.api.problems import answer

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class TcpGuard:
    def __init__(self, app: ASGIApp, token: Callable[[], str]) -> None:
        """`token` gives the node's token now, or "" when there is none: then nothing can be changed over TCP."""
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := self._refusal(scope)):
            await answer(*refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name not in _LOOPBACK:
            return 403, f"{host!r} is not a name of this port; use 127.0.0.1"
        if scope["method"] in ("GET", "HEAD"):
            return None
        token = self._token()
        given = headers.get(b"authorization", b"")
        if token and hmac.compare_digest(given, b"Bearer " + token.encode()):
            return None
        return 401, "over TCP a change needs this node's token (Authorization: Bearer …); the unix socket needs none"
