"""Wait until a change is in force on the nodes it affects, or until the deadline."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from viewserver.api.context import Server
from viewserver.errors import UnknownObject
from viewserver.model.convergence import Barrier, barrier, settled
from viewserver.replica import PROGRESS, Recent, Replica
from viewserver.store.changes import read_change
from viewserver.waiting import until


async def wait_for(
    server: Server, revision: int, deadline: float, *, quorum: float = 1.0, allow_degraded: bool = False
) -> Barrier:
    """`deadline` by time.monotonic. Raises UnknownObject for a revision that does not come to be by then.

    Registers before it looks, so a report that comes in between is not missed; holds no connection while it waits.
    """
    replica = server.replica

    async def look() -> Barrier | None:
        recent = await find(server, revision)
        return None if recent is None else _now(replica, recent, quorum=quorum, allow_degraded=allow_degraded)

    found = await _wait(replica, look, deadline)
    if found is None:
        raise UnknownObject(f"revision {revision} does not exist; the head is {replica.held.revision}")
    return found


async def wait_settled(server: Server, revision: int, nodes: tuple[str, ...], deadline: float) -> Barrier:
    """For an update that changed nothing: wait until these nodes have applied their views, or until the deadline."""
    replica = server.replica

    async def look() -> Barrier:
        return settled(revision, replica.facts(nodes), replica.clock.now())

    found = await _wait(replica, look, deadline)
    assert found is not None
    return found


async def _wait(replica: Replica, look: Callable[[], Awaitable[Barrier | None]], deadline: float) -> Barrier | None:
    """What `look` finds: as soon as it has converged, or at the deadline, or when the server stops."""
    replica.barriers += 1
    try:
        while True:
            with replica.progress.ticket(PROGRESS) as ticket:
                found = await look()
                over = time.monotonic() >= deadline or replica.progress.closed
                if over or (found is not None and found.converged):
                    return found
                await until(ticket, deadline - time.monotonic())
    finally:
        replica.barriers -= 1


def _now(replica: Replica, recent: Recent, *, quorum: float, allow_degraded: bool) -> Barrier:
    """The barrier as it stands, with what the change causes: fences that are still up, and the grants that lifted others."""
    caused = [recent, *(one for one in replica.recent.values() if one.caused_by == recent.revision)]
    each = [
        barrier(
            one.revision,
            replica.facts(one.affected),
            one.touched,
            replica.clock.now(),
            quorum=quorum,
            allow_degraded=allow_degraded,
        )
        for one in caused
    ]
    waiting = tuple(
        (address, withdrawal.node)
        for address, withdrawal in sorted(replica.held.network.fenced.items())
        if withdrawal.fence == recent.revision
    )
    return replace(
        each[0],
        converged=not waiting and all(one.converged for one in each),
        laggards=tuple(late for one in each for late in one.laggards),
        fences=waiting,
        caused=tuple(one.revision for one in caused[1:]),
    )


async def find(server: Server, revision: int) -> Recent | None:
    """What a change did: from memory where it is recent, else from the records. None if it is to come.

    Raises UnknownObject for records that were pruned.
    """
    replica = server.replica
    if revision == 0:
        return Recent(0, replica.clock.now(), (), frozenset())
    found = replica.recent.get(revision)
    if found is not None or revision > replica.held.revision:
        return found
    async with server.database.begin() as conn:
        change = await read_change(conn, revision)
    if change is None:
        raise UnknownObject(f"the record of revision {revision} is no longer kept")
    return Recent.of(change)
