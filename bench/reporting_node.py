"""Nodes that poll and report over real HTTP and enforce nothing: one keep-alive connection and a few hundred bytes each."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import cast
from urllib.parse import urlsplit

CONNECTING = 200
"""Connections opened at the same time."""


class Nodes:
    def __init__(self, url: str, names: Sequence[str], token: Callable[[str], str]) -> None:
        split = urlsplit(url)
        self.host, self.port = split.hostname or "127.0.0.1", split.port or 80
        self._nodes = [Node(self, name, token(name)) for name in names]
        self._parked = asyncio.Event()
        self._done = asyncio.Event()
        self.polling = 0
        self._left = 0
        self._untold = 0
        self.told: Callable[[], None] | None = None
        """Called once every node has its view, in each round."""
        self.reports = False
        self.first_sent = self.last_sent = self.last_stored = 0.0

    def __len__(self) -> int:
        return len(self._nodes)

    async def connect(self) -> None:
        """Every node fetches its view, reports it and parks its next poll."""
        self.begin(reports=True)
        turn = asyncio.Semaphore(CONNECTING)

        async def one(node: "Node") -> None:
            async with turn:
                await asyncio.get_running_loop().create_connection(lambda: node, self.host, self.port)
                await node.first

        await asyncio.gather(*(one(node) for node in self._nodes))

    def begin(self, *, reports: bool, mute: int = 0) -> None:
        """A round, which is over once every node has its view and, if they report, it is acknowledged; the first `mute` nodes
        do not report."""
        self._done.clear()
        self.reports = reports
        self._left = self._untold = len(self._nodes)
        self.first_sent = 0.0
        for index, node in enumerate(self._nodes):
            node.mute = index < mute

    async def parked(self) -> None:
        async with asyncio.timeout(120):
            while self.polling < len(self._nodes):
                await asyncio.sleep(0.05)
            await asyncio.sleep(1)  # the last request is sent, and the server has read it

    async def done(self) -> None:
        async with asyncio.timeout(120):
            await self._done.wait()

    @property
    def stored_after_last_s(self) -> float:
        return self.last_stored - self.last_sent

    @property
    def reporting_s(self) -> float:
        return max(self.last_stored - self.first_sent, 1e-9)

    def sent(self) -> None:
        self.last_sent = time.monotonic()
        self.first_sent = self.first_sent or self.last_sent

    def one_told(self) -> None:
        self._untold -= 1
        if not self._untold and self.told is not None:
            self.told()

    def over(self) -> None:
        """For one node."""
        self.last_stored = time.monotonic()
        self._left -= 1
        if self._left <= 0:
            self._done.set()

    def close(self) -> None:
        for node in self._nodes:
            node.close()


class Node(asyncio.Protocol):
    def __init__(self, nodes: Nodes, name: str, token: str) -> None:
        self.nodes = nodes
        self.mute = False
        self.first: asyncio.Future[None] = asyncio.get_event_loop().create_future()
        self._path = f"/v1/nodes/{name}"
        self._authorization = f"Authorization: Bearer {token}\r\nHost: bench\r\n"
        self._etag = ""
        self._sequence = 0
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._poll()

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            head, separator, rest = self._received.partition(b"\r\n\r\n")
            if not separator:
                return
            status, headers = _headers(head)
            length = int(headers.get(b"content-length", b"0")) if status not in (204, 304) else 0
            if len(rest) < length:
                return
            self._received = rest[length:]
            self._answered(status, headers)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _answered(self, status: int, headers: dict[bytes, bytes]) -> None:
        if status in (200, 226):
            self.nodes.polling -= 1
            self._etag = headers[b"etag"].decode()
            self.nodes.one_told()
            if self.nodes.reports and not self.mute:
                self._report()
            else:
                self._poll()
                self.nodes.over()
        elif status == 204:
            self._poll()
            self.nodes.over()
            if not self.first.done():
                self.first.set_result(None)
        elif status == 304:
            self.nodes.polling -= 1
            self._poll()
        else:
            raise RuntimeError(f"{self._path} was answered {status}")

    def _poll(self) -> None:
        known = f"If-None-Match: {self._etag}\r\nA-IM: verge-delta\r\nPrefer: wait=60\r\n" if self._etag else ""
        self._write(f"GET {self._path}/view HTTP/1.1\r\n{self._authorization}{known}\r\n")
        self.nodes.polling += 1

    def _report(self) -> None:
        self._sequence += 1
        etag = self._etag.replace('"', '\\"')
        body = (
            f'{{"applied": {{"etag": "{etag}"}}, "state": "applied", "sequence": {self._sequence}, "failures": [],'
            ' "agent": {"version": "1", "boot_id": "bench"}, "instances": {}, "preflight": [], "drift": [],'
            ' "timings_ms": {"fetch": 1.5, "plan": 2.5, "apply": 12.5, "verify": 3.5}}'
        )
        self._write(
            f"PUT {self._path}/report HTTP/1.1\r\n{self._authorization}Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self.nodes.sent()

    def _write(self, text: str) -> None:
        assert self._transport is not None
        self._transport.write(text.encode())


class Asker:
    """One connection that asks one thing after another, without a client library's own cost."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self._reader, self._writer, self._token = reader, writer, token

    @classmethod
    async def open(cls, nodes: Nodes, token: str) -> "Asker":
        return cls(*await asyncio.open_connection(nodes.host, nodes.port), token)

    async def ask(self, path: str) -> bytes:
        """The body of a 200. Raises RuntimeError for anything else."""
        self._writer.write(
            f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self._token}\r\n\r\n".encode()
        )
        status, headers = _headers((await self._reader.readuntil(b"\r\n\r\n"))[:-4])
        body = await self._reader.readexactly(int(headers[b"content-length"]))
        if status != 200:
            raise RuntimeError(f"{path} was answered {status}: {body[:300]!r}")
        return body

    def close(self) -> None:
        self._writer.close()


def _headers(head: bytes) -> tuple[int, dict[bytes, bytes]]:
    first, *lines = head.split(b"\r\n")
    each = (line.partition(b":") for line in lines)
    return int(first.split()[1]), {key.lower(): value.strip() for key, _, value in each}
