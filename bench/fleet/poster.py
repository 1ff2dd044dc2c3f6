"""The cloud controller: POSTs one update after the other on a connection that stays open."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from typing import Any, Self

from bench.fleet.processes import ViewServer


@dataclass(frozen=True, slots=True)
class Posted:
    began_ns: int
    """By time.monotonic_ns, before the first byte was sent."""
    seconds: float
    """Until the answer was there."""
    status: int
    revision: int
    converged: bool | None
    commit_ms: float


class Poster:
    """Blocking and lean: what a general HTTP client costs would be measured too."""

    def __init__(self, server: ViewServer) -> None:
        self._address = ("127.0.0.1", server.port)
        self._token = server.headers["authorization"]

    def __enter__(self) -> Self:
        self._socket = socket.create_connection(self._address, timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def post(self, operations: list[dict[str, Any]], *, wait: bool) -> Posted:
        """Raises RuntimeError for anything but 200."""
        query = "?wait=applied&timeout=60" if wait else ""
        body = json.dumps({"operations": operations}).encode()
        head = (
            f"POST /v1/updates{query} HTTP/1.1\r\nHost: verge\r\nAuthorization: {self._token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        began = time.monotonic_ns()
        self._socket.sendall(head.encode() + body)
        answer, content = self._answer()
        seconds = (time.monotonic_ns() - began) / 1e9
        status = int(answer[9:12])
        if status != 200:
            raise RuntimeError(f"{status}: {content[:500]!r}")
        wire = json.loads(content)
        duration = answer.lower().partition(b"commit;dur=")[2].partition(b"\r\n")[0]
        return Posted(began, seconds, status, wire["revision"], wire.get("converged"), float(duration))

    def _answer(self) -> tuple[bytes, bytes]:
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        length = int(data[:end].lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        parts, there = [data[end + 4 :]], len(data) - end - 4
        while there < length:
            parts.append(self._more())
            there += len(parts[-1])
        return data[:end] + b"\r\n", b"".join(parts)

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 20)
        if not data:
            raise RuntimeError("the view server closed the connection")
        return data
