"""Wait until something of one's own changes, or until the deadline.

    ticket = waiting.register(node)      # first register,
    if still_the_same(): await ticket…   # then look, then wait: a change in between is not missed

A waiter is called once, and is out of its key's set then; waking a key costs its own waiters and nobody else's. (An
asyncio.Condition wakes its waiters one after another and scans a list for each: 48 times the floor with 10,000 of them.)
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Waiter = Callable[[], object]


class Waiting(Generic[Key]):
    def __init__(self) -> None:
        self._waiters: dict[Key, set[Waiter]] = {}
        self.closed = False
        """Every ticket is done: the server is stopping."""
        self.woken = 0
        """How many waiters were ever woken by a change: tests assert who was not."""

    def add(self, key: Key, waiter: Waiter) -> None:
        """Call it, once, when the key is woken. Whoever finds `closed` does not wait."""
        self._waiters.setdefault(key, set()).add(waiter)

    def remove(self, key: Key, waiter: Waiter) -> None:
        """It has been called, or is not waiting any more; either is fine."""
        waiters = self._waiters.get(key)
        if waiters is not None:
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[key]

    @contextmanager
    def ticket(self, key: Key) -> Iterator[asyncio.Future[None]]:
        """A future that is done once the key is woken, or everything is. Leaving the block takes it out of its set."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settle() -> None:
            if not future.done():
                future.set_result(None)

        if self.closed:
            settle()
        self.add(key, settle)
        try:
            yield future
        finally:
            self.remove(key, settle)

    def wake(self, keys: Iterable[Key]) -> None:
        for key in keys:
            waiters = self._waiters.pop(key, None)
            if waiters:
                self.woken += len(waiters)
                for waiter in waiters:
                    waiter()

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
