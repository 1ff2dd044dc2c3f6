"""Lift fences whose old node has given the address up: the grant, committed once, whoever sees the report first.

Every replica looks, at its start and whenever a node advances or the network changes; under the head lock a fence that was
lifted already changes nothing and makes no revision. An operator may break a fence by hand.
"""

import logging
from collections import defaultdict

from viewserver.errors import NotReady, UnknownObject
from viewserver.model.fences import given_up
from viewserver.model.network import Network
from viewserver.replica import PROGRESS
from viewserver.store import StoreError
from viewserver.update import Answer, Lift, Request, Updates
from viewserver.waiting import until

log = logging.getLogger(__name__)

ACTOR = "verge"
LOOK_EVERY_S = 1.0


class Fences:
    def __init__(self, updates: Updates) -> None:
        self.updates = updates
        self.replica = updates.follower.replica

    async def run(self) -> None:
        """For as long as the server lives."""
        while not self.replica.progress.closed:
            with self.replica.progress.ticket(PROGRESS) as ticket:
                try:
                    await self.grant()
                except (StoreError, NotReady) as error:
                    log.debug("grants wait for Postgres: %s", error)
                await until(ticket, LOOK_EVERY_S)

    async def grant(self) -> None:
        """One change for each change that put fences up. Raises Unavailable."""
        ready: dict[int, list[str]] = defaultdict(list)
        for address, withdrawal in self.replica.held.network.fenced.items():
            if withdrawal.fence is not None and given_up(withdrawal, self.replica.applied):
                ready[withdrawal.fence].append(address)
        for cause, addresses in sorted(ready.items()):
            lift = Lift(tuple(sorted(addresses)))
            await self.updates.commit(Request(ACTOR, lambda _, lift=lift: lift, caused_by=cause))  # type: ignore[misc]


async def break_fence(updates: Updates, actor: str, address: str) -> Answer:
    """Give an address to its new node though the old one has not given it up. Raises UnknownObject, Unavailable."""
    withdrawal = updates.follower.replica.held.network.fenced.get(address)

    def lift(network: Network) -> Lift:
        if address not in network.fenced:
            raise UnknownObject(f"there is no fence on {address}")
        return Lift((address,))

    cause = withdrawal.fence if withdrawal is not None else None
    answer = await updates.commit(Request(actor, lift, caused_by=cause))
    log.warning("fence broken address=%s actor=%s revision=%d", address, actor, answer.revision)
    return answer
