"""Wait until a change is in force on the nodes it affects, or until the deadline."""

import time
from dataclasses import replace

from viewserver.api.context import Server
from viewserver.errors import UnknownObject
from viewserver.model.convergence import Barrier, barrier
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

    def over() -> bool:
        return time.monotonic() >= deadline or replica.progress.closed

    replica.barriers += 1
    try:
        while True:
            with replica.progress.ticket(PROGRESS) as ticket:
                recent = await find(server, revision)
                if recent is not None:
                    found = _now(replica, recent, quorum=quorum, allow_degraded=allow_degraded)
                    if found.converged or over():
                        return found
                elif over():
                    raise UnknownObject(f"revision {revision} does not exist; the head is {replica.held.revision}")
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
