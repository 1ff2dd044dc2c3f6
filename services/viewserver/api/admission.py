"""How many connections a replica takes: known at start, and refused beyond, politely.

Each agent holds one, and each is a file descriptor. Without a limit the process runs out of them, and then it cannot even
say so: connections hang in the kernel's queue and Postgres cannot be reached either. What is refused gets 503 and a
`Retry-After` that differs from one to the next, so that those who were refused together do not come back together.
"""

import asyncio
import random
import resource
from collections.abc import Callable, Sized
from typing import Any, Final

from viewserver.api import problems

RESERVED: Final = 256
"""Descriptors for Postgres, the listening sockets, files, and connections that are being refused."""
RETRY_S: Final = (1, 10)
_PATIENCE_S: Final = 2.0
"""A refused connection that asks nothing is closed after so long."""
REFUSED_AT_ONCE: Final = 128
"""More of them are closed without a word."""


def descriptors() -> int:
    """Raise the limit as far as it goes without privileges; what it is then."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def most_connections(wanted: int | None, descriptors: int) -> int:
    """How many can be taken. Raises ValueError for more than there are descriptors for."""
    possible = descriptors - RESERVED
    if possible < 1:
        raise ValueError(f"{descriptors} file descriptors are too few: {RESERVED} are needed beside the connections")
    if wanted is not None and wanted < 1:
        raise ValueError(f"--max-connections {wanted}: must be 1 at least")
    if wanted is not None and wanted > possible:
        raise ValueError(
            f"--max-connections {wanted}: takes {wanted + RESERVED} file descriptors, the limit (RLIMIT_NOFILE) is {descriptors}"
        )
    return possible if wanted is None else wanted


class Admission:
    """Stands where the server makes a protocol for each connection."""

    def __init__(self, factory: Callable[..., asyncio.Protocol], most: int) -> None:
        self._factory = factory
        self.most = most
        self.refused = 0
        self._refusing: set[_Refused] = set()

    def __call__(self, *arguments: Any, **named: Any) -> asyncio.Protocol:
        taken: Sized = named["server_state"].connections
        if len(taken) < self.most:
            return self._factory(*arguments, **named)
        self.refused += 1
        return _Refused(self._refusing)


class _Refused(asyncio.Protocol):
    """A connection too many: whatever it asks, the answer is 503."""

    def __init__(self, all_of_them: "set[_Refused]") -> None:
        self._all = all_of_them

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE_S, transport.close)
        if len(self._all) >= REFUSED_AT_ONCE:
            transport.close()
        self._all.add(self)

    def data_received(self, _: bytes) -> None:
        if self._transport.is_closing():
            return
        headers, body = problems.problem(
            503, "this replica has as many connections as it takes; try again, or another one"
        )
        headers |= {
            "retry-after": str(random.randint(*RETRY_S)),  # noqa: S311 - jitter
            "connection": "close",
            "content-length": str(len(body)),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._transport.write(f"HTTP/1.1 503 Service Unavailable\r\n{lines}\r\n".encode() + body)
        self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._timer.cancel()
        self._all.discard(self)
