"""Wait until something of one's own changes, or until the deadline.

    ticket = waiting.register(node)      # first register,
    if still_the_same(): await ticket…   # then look, then wait: a change in between is not missed

A waiter is one future in its key's set; waking a key costs its own waiters and nobody else's. (An asyncio.Condition wakes
its waiters one after another and scans a list for each: 48 times the floor with 10,000 of them.)
"""

import asyncio
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Waiting(Generic[Key]):
    def __init__(self) -> None:
        self._waiters: dict[Key, set[asyncio.Future[None]]] = {}
        self.closed = False
        """Every ticket is done: the server is stopping."""
        self.woken = 0
        """How many waiters were ever woken by a change: tests assert who was not."""

    @contextmanager
    def ticket(self, key: Key) -> Iterator[asyncio.Future[None]]:
        """A future that is done once the key is woken, or everything is. Leaving the block takes it out of its set."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.closed:
            future.set_result(None)
        waiters = self._waiters.setdefault(key, set())
        waiters.add(future)
        try:
            yield future
        finally:
            waiters.discard(future)
            if not waiters and self._waiters.get(key) is waiters:
                del self._waiters[key]

    def wake(self, keys: Iterable[Key]) -> None:
        for key in keys:
            for future in self._waiters.get(key, ()):
                if not future.done():
                    future.set_result(None)
                    self.woken += 1

    def close(self) -> None:
        """Wake everyone, now and from now on: the server is stopping and answers what it has."""
        self.closed = True
        self.wake(list(self._waiters))

    def held(self, key: Key) -> int:
        """How many wait for this key."""
        return len(self._waiters.get(key, ()))

    def __len__(self) -> int:
        return sum(len(waiters) for waiters in self._waiters.values())


async def until(future: "asyncio.Future[None]", seconds: float) -> bool:
    """Wait for a ticket. True if it was woken in time. Cancellation passes through."""
    if seconds <= 0 or future.done():
        return future.done()
    done, _ = await asyncio.wait((future,), timeout=seconds)
    return bool(done)
