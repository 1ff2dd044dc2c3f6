"""The agents: a process that holds thousands of parked polls and answers each view as an agent would, at once.

    long-poll with ETag and A-IM · 200, 226 or 304 · the next poll carries Verge-Applied, or before it goes PUT …/report

Told what to do by lines of JSON on standard input; answers each with a line. Lean: a connection is one protocol object, an
answer costs three searches in its head and one write. Bodies are counted and not read: what is in them is for tests.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections import Counter
from typing import Any

import uvloop

from bench.fleet.machine import raise_descriptor_limit

WAIT_S = 60
OPEN_AT_ONCE = 200


class Fleet:
    def __init__(self, reporting: str) -> None:
        self.reporting = reporting
        """`header`, `put`, or `none`: an agent of the floor, which asks again and reports nothing."""
        self.statuses: Counter[int] = Counter()
        self.bytes = 0
        self.answers: list[tuple[int, int]] = []
        """(version, by time.monotonic_ns) of each view that came, since `begin`."""
        self.lost: Counter[str] = Counter()
        self.went_back = 0
        self.target = 0
        self.reached: asyncio.Event = asyncio.Event()

    def begin(self, target: int) -> None:
        self.answers, self.bytes, self.target = [], 0, target
        self.statuses.clear()
        self.reached.clear()

    def answered(self, version: int) -> None:
        self.answers.append((version, time.monotonic_ns()))
        if len(self.answers) == self.target:
            self.reached.set()


class Agent(asyncio.Protocol):
    __slots__ = ("applied", "etag", "first", "fleet", "held", "prefix", "put", "transport", "version")

    def __init__(self, fleet: Fleet, node: str, token: str) -> None:
        credentials = f"Host: verge\r\nAuthorization: Bearer {token}\r\n"
        poll = f"GET /v1/nodes/{node}/view HTTP/1.1\r\n{credentials}A-IM: verge-delta\r\nPrefer: wait={WAIT_S}\r\n"
        self.prefix = poll.encode()
        self.put = f"PUT /v1/nodes/{node}/report HTTP/1.1\r\n{credentials}".encode()
        self.fleet = fleet
        self.etag = self.applied = b""
        self.version = 0
        self.held = b""
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.transport.write(self.prefix + b"\r\n" if not self.etag else self._poll(b""))

    def data_received(self, data: bytes) -> None:
        if self.held:
            data = self.held + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self.held = data
            return
        status = int(data[9:12])
        if status not in (204, 304):
            length = _header(data, b"\r\ncontent-length: ", end)
            if len(data) < end + 4 + int(length):
                self.held = data
                return
        self.held = b""
        fleet = self.fleet
        fleet.statuses[status] += 1
        fleet.bytes += len(data)
        if status == 204:  # the report of this version is stored
            self.transport.write(self._poll(b""))
            return
        if status in (200, 226):
            self.etag = _header(data, b"\r\netag: ", end)
            version = int(self.etag[self.etag.index(b".") + 1 : self.etag.index(b"-")])
            fleet.went_back += version < self.version
            self.version = version
            fleet.answered(version)
        elif status != 304:
            fleet.lost[f"status {status}"] += 1
            self.transport.close()
            return
        revision = _header(data, b"\r\nverge-revision: ", end)
        if self.etag != self.applied and fleet.reporting != "none":
            self.applied = self.etag
            if fleet.reporting == "put":
                body = json.dumps({"applied": {"etag": self.etag.decode()}, "state": "applied"}).encode()
                length = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
                self.transport.write(self.put + length + body)
                return
            self.transport.write(
                self._poll(b"Verge-Applied: " + self.etag + b"\r\nVerge-Revision: " + revision + b"\r\n")
            )
        else:
            self.transport.write(self._poll(b"Verge-Revision: " + revision + b"\r\n"))
        if not self.first.done():
            self.first.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self.fleet.lost[str(error)] += 1
        if not self.first.done():
            self.first.set_exception(error or ConnectionError("closed before the first view"))

    def _poll(self, more: bytes) -> bytes:
        return self.prefix + b"If-None-Match: " + self.etag + b"\r\n" + more + b"\r\n"


def _header(data: bytes, name: bytes, end: int) -> bytes:
    """Raises ValueError for an answer without it: names are written in lower case, as the view server does."""
    begin = data.index(name, 0, end) + len(name)
    return data[begin : data.index(b"\r\n", begin)]


async def connect(fleet: Fleet, address: tuple[str, int], nodes: list[tuple[str, str]]) -> list[Agent]:
    """All of them, each with its first view."""
    loop, agents, gate = asyncio.get_running_loop(), [], asyncio.Semaphore(OPEN_AT_ONCE)

    async def one(node: str, token: str) -> None:
        async with gate:
            agent = Agent(fleet, node, token)
            await loop.create_connection(lambda: agent, *address)
            await agent.first
            agents.append(agent)

    await asyncio.gather(*(one(node, token) for node, token in nodes))
    return agents


async def serve() -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    fleet, agents = Fleet("header"), []
    while line := await lines.readline():
        asked = json.loads(line)
        told: dict[str, Any] = {}
        match asked["do"]:
            case "connect":
                fleet.reporting = asked["reporting"]
                began = time.monotonic()
                agents += await connect(fleet, (asked["host"], asked["port"]), asked["nodes"])
                told = {"connected": len(agents), "seconds": time.monotonic() - began}
            case "begin":
                fleet.begin(asked["answers"])
            case "until":
                try:
                    async with asyncio.timeout(asked["seconds"]):
                        await fleet.reached.wait()
                except TimeoutError:
                    told["late"] = True
                told |= {"answers": fleet.answers, "bytes": fleet.bytes, "statuses": fleet.statuses}
            case "state":
                used = resource.getrusage(resource.RUSAGE_SELF)
                told = {"lost": fleet.lost, "went_back": fleet.went_back, "cpu_s": used.ru_utime + used.ru_stime}
        print(json.dumps(told), flush=True)
    for agent in agents:
        agent.transport.abort()


if __name__ == "__main__":
    raise_descriptor_limit()
    import gc

    gc.freeze()
    gc.set_threshold(50_000, 50, 1000)
    uvloop.run(serve())
