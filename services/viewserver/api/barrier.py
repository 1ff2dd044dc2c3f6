"""Wait until a change is in force on the nodes it affects, or until the deadline."""

import time

from viewserver.api.context import Server
from viewserver.errors import UnknownObject
from viewserver.model.convergence import Barrier, barrier
from viewserver.replica import PROGRESS, Recent
from viewserver.store.changes import read_change
from viewserver.waiting import until


async def wait_for(
    server: Server, revision: int, deadline: float, *, quorum: float = 1.0, allow_degraded: bool = False
) -> Barrier:
    """`deadline` by time.monotonic. Raises UnknownObject for a revision that does not come to be by then.

    Registers before it looks, so a report that comes in between is not missed; holds no connection while it waits.
    """
    replica = server.replica
    while True:
        with replica.progress.ticket(PROGRESS) as ticket:
            recent = await find(server, revision)
            if recent is not None:
                found = barrier(
                    revision,
                    replica.facts(recent.affected),
                    recent.touched,
                    replica.clock.now(),
                    quorum=quorum,
                    allow_degraded=allow_degraded,
                )
                if found.converged or time.monotonic() >= deadline:
                    return found
            elif time.monotonic() >= deadline:
                raise UnknownObject(f"revision {revision} does not exist; the head is {replica.held.revision}")
            await until(ticket, deadline - time.monotonic())


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
