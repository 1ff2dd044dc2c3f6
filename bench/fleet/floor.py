"""The floor: a plain asyncio server that parks requests and, when told to, writes the same bytes to all of them.

No HTTP is parsed and nothing is looked up; a request ends with an empty line. What it takes is what sockets, event loop and
the agents themselves take. `fan N` on standard input writes to the first N that are parked.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop

from bench.fleet.machine import raise_descriptor_limit

_PARKED: dict[asyncio.Transport, None] = {}


class Parked(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.first = True

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n"):
            _PARKED[self.transport] = None
            if self.first:
                self.first = False
                self.transport.write(answer(0, 100))

    def connection_lost(self, _: Exception | None) -> None:
        _PARKED.pop(self.transport, None)


def answer(version: int, size: int) -> bytes:
    """An answer of `size` bytes, head included, if that is enough for the head."""
    head = f'HTTP/1.1 226 IM Used\r\netag: "1.{version}-{0:032x}"\r\nverge-revision: 1.{version}\r\ncontent-length: %d\r\n\r\n'
    room = max(0, size - len(head % 100))
    return (head % room).encode() + b"x" * room


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Parked, "127.0.0.1", 0, backlog=4096)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    version = 0
    while line := await lines.readline():
        asked = json.loads(line)
        version += 1
        began = time.monotonic_ns()
        body = answer(version, asked["bytes"])
        for transport in list(_PARKED)[: asked["count"]]:
            transport.write(body)
        print(json.dumps({"began": began, "parked": len(_PARKED)}), flush=True)


if __name__ == "__main__":
    raise_descriptor_limit()
    uvloop.run(serve())
