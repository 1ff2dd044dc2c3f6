"""Wait until a change is in force on the nodes it affects, or until the deadline.

A recent change is counted as reports come in (`advance`), so those who wait for it look at two numbers, and only once when
enough nodes have it. An older one is read from its record and its nodes are gone through.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from viewserver.api.context import Server
from viewserver.errors import UnknownObject
from viewserver.model.convergence import Barrier, barrier, needed, settled, standing
from viewserver.replica import PROGRESS, Recent, Replica
from viewserver.store.changes import read_change
from viewserver.waiting import until

LAGGARDS = 1000
"""Named at most; `laggards_total` counts them all."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is enough for the one who waits."""

    quorum: float = 1.0
    allow_degraded: bool = False


async def wait_for(server: Server, revision: int, deadline: float, terms: Terms | None = None) -> Barrier:
    """`deadline` by time.monotonic. Raises UnknownObject for a revision that does not come to be by then.

    Holds no connection while it waits.
    """
    terms = terms or Terms()
    replica = server.replica
    replica.barriers += 1
    try:
        while True:
            over = time.monotonic() >= deadline or replica.progress.closed
            recent = replica.recent.get(revision)
            if recent is None and revision <= replica.held.revision:
                return await _wait_for_old(server, revision, deadline, terms)
            if recent is not None and (over or _in_force(replica, recent, terms)):
                return _now(replica, recent, terms)
            if over:
                raise UnknownObject(f"revision {revision} does not exist; the head is {replica.held.revision}")
            content = _content(replica, recent, terms) if recent is not None else 0
            # nothing can have come since the look: there was no await in between
            with replica.advances.ticket(revision, content) as ticket:
                await until(ticket, deadline - time.monotonic())
    finally:
        replica.barriers -= 1


async def wait_settled(server: Server, revision: int, nodes: tuple[str, ...], deadline: float) -> Barrier:
    """For an update that changed nothing: wait until these nodes have applied their views, or until the deadline."""
    replica = server.replica
    replica.barriers += 1
    try:
        while True:
            with replica.progress.ticket(PROGRESS) as ticket:
                found = settled(revision, replica.facts(nodes), replica.clock.now())
                if found.converged or time.monotonic() >= deadline or replica.progress.closed:
                    return found
                await until(ticket, deadline - time.monotonic())
    finally:
        replica.barriers -= 1


# --- a recent change ---


def _of(replica: Replica, recent: Recent) -> Iterator[Recent]:
    """The change and those that complete it."""
    yield recent
    for revision in replica.caused.get(recent.revision, ()):
        yield replica.recent[revision]


def _unseen(replica: Replica, recent: Recent) -> list[str]:
    """Nodes it affects that hold up nothing."""
    unseen = replica.standings.unseen
    if len(unseen) < len(recent.affected):
        return [node for node in unseen if recent.affects(node)]
    return [node for node in recent.affected if node in unseen]


def _in_force(replica: Replica, recent: Recent, terms: Terms) -> bool:
    if any(withdrawal.fence == recent.revision for withdrawal in replica.held.network.fenced.values()):
        return False
    return all(_enough(replica, one, terms) for one in _of(replica, recent))


def _enough(replica: Replica, recent: Recent, terms: Terms) -> bool:
    advance = replica.advances[recent.revision]
    total = advance.affected - len(_unseen(replica, recent))
    return advance.in_force(allow_degraded=terms.allow_degraded) >= needed(total, terms.quorum)


def _content(replica: Replica, recent: Recent, terms: Terms) -> int:
    """How many nodes may lack the change before there is a point in looking again."""
    unseen = len(_unseen(replica, recent))
    total = replica.advances[recent.revision].affected - unseen
    return total - needed(total, terms.quorum) + unseen


def _now(replica: Replica, recent: Recent, terms: Terms) -> Barrier:
    """The barrier as it stands, with what the change causes: fences that are still up, and the grants that lifted others."""
    each = [_one(replica, one, terms) for one in _of(replica, recent)]
    waiting = _fences(replica, recent.revision)
    return replace(
        each[0],
        converged=not waiting and all(one.converged for one in each),
        laggards=tuple(late for one in each for late in one.laggards)[:LAGGARDS],
        laggards_total=sum(one.laggards_total for one in each),
        fences=waiting,
        caused=tuple(replica.caused.get(recent.revision, ())),
    )


def _fences(replica: Replica, revision: int) -> tuple[tuple[str, str], ...]:
    """Addresses that the change gave to a new node and that still wait, and for which node."""
    return tuple(
        (address, withdrawal.node)
        for address, withdrawal in sorted(replica.held.network.fenced.items())
        if withdrawal.fence == revision
    )


def _one(replica: Replica, recent: Recent, terms: Terms) -> Barrier:
    advance = replica.advances[recent.revision]
    unseen = frozenset(_unseen(replica, recent))
    asked = (recent.revision, terms.allow_degraded)
    late = replica.late.get(asked)
    if late is None:
        late = replica.late[asked] = _late(replica, recent, unseen, terms)
    now = replica.clock.now()
    total = advance.affected - len(unseen)
    in_force = advance.in_force(allow_degraded=terms.allow_degraded)
    return Barrier(
        recent.revision,
        in_force >= needed(total, terms.quorum),
        total,
        in_force,
        tuple(standing(facts, now) for facts in replica.facts(late[:LAGGARDS])),
        len(late),
        tuple(sorted(advance.closed)),
        tuple(sorted(unseen)),
    )


def _late(replica: Replica, recent: Recent, unseen: frozenset[str], terms: Terms) -> list[str]:
    """Nodes that hold it up, ascending."""
    advance = replica.advances[recent.revision]
    closed = frozenset() if terms.allow_degraded else advance.closed
    if not advance.behind:
        return sorted(closed - unseen)
    network, applied = replica.held.network, replica.applied
    return [
        node
        for node in recent.affected
        if (applied(node) < recent.revision or node in closed) and node not in unseen and network.node(node) is not None
    ]


# --- an older one ---


async def _wait_for_old(server: Server, revision: int, deadline: float, terms: Terms) -> Barrier:
    replica = server.replica
    recent = await _read(server, revision)
    while True:
        with replica.progress.ticket(PROGRESS) as ticket:
            found = barrier(
                revision,
                replica.facts(recent.affected),
                recent.touched,
                replica.clock.now(),
                quorum=terms.quorum,
                allow_degraded=terms.allow_degraded,
            )
            fences = _fences(replica, revision)
            caused = [_one(replica, replica.recent[one], terms) for one in replica.caused.get(revision, ())]
            converged = found.converged and not fences and all(one.converged for one in caused)
            if converged or time.monotonic() >= deadline or replica.progress.closed:
                return replace(
                    found,
                    converged=converged,
                    laggards=(*found.laggards, *(late for one in caused for late in one.laggards))[:LAGGARDS],
                    laggards_total=found.laggards_total + sum(one.laggards_total for one in caused),
                    fences=fences,
                    caused=tuple(one.revision for one in caused),
                )
            await until(ticket, deadline - time.monotonic())


async def _read(server: Server, revision: int) -> Recent:
    """From the records. Raises UnknownObject for one that was pruned."""
    if revision == 0:
        return Recent(0, server.replica.clock.now(), (), frozenset())
    async with server.database.begin() as conn:
        change = await read_change(conn, revision)
    if change is None:
        raise UnknownObject(f"the record of revision {revision} is no longer kept")
    return Recent.of(change)
