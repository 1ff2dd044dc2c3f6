"""HTTP to the view servers: one connection for the poll and one for reports to each server in use, kept alive.

It carries requests and answers and decides nothing; `session` does. Every wait has a limit: a poll's is the time asked for
and some more, and a host that vanishes is noticed within ten seconds by TCP keepalive.
"""

import asyncio
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import orjson

from nodeagent.session import Answer, ReportRequest, Unreachable, ViewRequest, read_delta, read_view
from verge.contract.view import View, ViewInvalid

_CONNECT_S: Final = 2.0
_ANSWER_S: Final = 10.0
"""For an answer that need not be held."""
_INLINE: Final = 65536
"""Bodies up to this many bytes are parsed on the spot (about 1 ms); larger ones in a thread, beside the loop."""
_KEEPALIVE: Final = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
]

_REASONS: Final[dict[type[Exception], str]] = {
    httpx.ConnectTimeout: "does not take connections in time",
    httpx.ReadTimeout: "does not answer in time",
    httpx.ConnectError: "cannot be connected to",
    httpx.RemoteProtocolError: "closed the connection",
    httpx.ReadError: "broke the connection",
}


class ViewClient:
    """For one task that polls and one that reports. Servers are `http(s)://host:port` or `unix:/path`."""

    def __init__(self, node: str, token_file: Path) -> None:
        self._node = node
        self._token_file = token_file
        self._token = ("", 0)
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def view(self, request: ViewRequest) -> Answer:
        """Raises Unreachable."""
        client = self._client(request.server)
        timeout = httpx.Timeout(_ANSWER_S + request.wait_s, connect=_CONNECT_S, pool=_CONNECT_S)
        headers = request.headers() | self._credential()
        url = f"/v1/nodes/{self._node}/view"
        try:
            async with client.stream("GET", url, headers=headers, timeout=timeout) as response:
                began = time.monotonic()
                body = await response.aread()
        except (httpx.RequestError, OSError) as failed:
            raise Unreachable(_reason(failed, request.server)) from failed
        content = await _content(response.status_code, body, request.base)
        return Answer(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=body,
            content=content,
            detail="" if response.is_success else _detail(body),
            fetch_ms=round((time.monotonic() - began) * 1000, 3),
        )

    async def report(self, request: ReportRequest) -> tuple[int, str]:
        """The answer's status, and what is wrong in the server's words. Raises Unreachable."""
        try:
            response = await self._client(request.server).put(
                f"/v1/nodes/{self._node}/report",
                content=orjson.dumps(request.report.to_wire()),
                headers={"Content-Type": "application/json"} | self._credential(),
                timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S, pool=_CONNECT_S),
            )
        except (httpx.RequestError, OSError) as failed:
            raise Unreachable(_reason(failed, request.server)) from failed
        return response.status_code, "" if response.is_success else _detail(response.content)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    def _credential(self) -> dict[str, str]:
        """Read anew when the file has changed, so that a token is replaced without a restart."""
        try:
            changed = self._token_file.stat().st_mtime_ns
            if changed != self._token[1]:
                self._token = (self._token_file.read_text().strip(), changed)
        except OSError as failed:
            raise Unreachable(f"token file {self._token_file}: {failed.strerror}") from failed
        return {"Authorization": f"Bearer {self._token[0]}"}

    def _client(self, server: str) -> httpx.AsyncClient:
        client = self._clients.get(server)
        if client is None:
            path = server.removeprefix("unix:") if server.startswith("unix:") else None
            client = self._clients[server] = httpx.AsyncClient(
                base_url="http://view-server" if path else server,
                transport=httpx.AsyncHTTPTransport(
                    uds=path,
                    verify=server.startswith("https:"),  # loading the authorities' certificates costs 30 ms and 5 MB
                    trust_env=False,
                    limits=httpx.Limits(max_connections=2, keepalive_expiry=None),
                    socket_options=None if path else _KEEPALIVE,
                ),
                headers={"User-Agent": "verge-nodeagent", "Accept": "application/json"},
                trust_env=False,
            )
        return client


async def _content(status: int, body: bytes, base: View | None) -> View | ViewInvalid | None:
    if status == 200:
        read = partial(read_view, body)
    elif status == 226 and base:
        read = partial(read_delta, body, base)
    else:
        return None
    return read() if len(body) <= _INLINE else await asyncio.to_thread(read)


def _detail(body: bytes) -> str:
    """`detail` or `title` of problem+json, else the beginning of the text."""
    try:
        problem: Any = orjson.loads(body)
        return str(problem.get("detail") or problem.get("title") or "")[:300]
    except (orjson.JSONDecodeError, AttributeError):
        return body[:100].decode("utf-8", "replace").strip()


def _reason(failed: Exception, server: str) -> str:
    kind = _REASONS.get(type(failed))
    return f"{server} {kind}" if kind else f"{server}: {type(failed).__name__} {failed}".rstrip()
