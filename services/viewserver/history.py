"""The network as it was: any revision whose change records are kept, from the network of now and the records since.

Records are read page by page, each in a transaction of its own, and the network is rewound outside the event loop: however
far back somebody looks, views are served meanwhile and no connection is held. What is looked back from is fixed at the start;
a change that is committed meanwhile does not matter.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from verge.contract.etag import ETag
from viewserver.compile.alone import alone
from viewserver.compile.derived import Derived
from viewserver.compile.difference import difference
from viewserver.compile.held import Held
from viewserver.errors import NotReady, UnknownObject
from viewserver.model.between import Between, Edited
from viewserver.model.change import Change
from viewserver.model.network import Network
from viewserver.model.updates import replay
from viewserver.store import HistoryPruned
from viewserver.store.changes import changes_page, read_change
from viewserver.store.engine import Database
from viewserver.store.past import revision_at, version_at

PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class View:
    """What a node was meant to enforce at a revision."""

    epoch: int
    revision: int
    etag: ETag
    body: bytes


@dataclass(frozen=True, slots=True)
class Differences:
    edits: list[Edited]
    view: dict[str, Any] | None
    """Of the node that was asked about: a delta's body; None where it is no node at the end."""
    before: ETag | None
    after: ETag | None


class History:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def network(self, held: Held, revision: int) -> Network:
        """Raises UnknownObject for a revision still to come, HistoryPruned for one whose record is gone, NotReady."""
        network, _ = await self._rewound(held.network, held, held.revision, revision)
        return network

    async def view(self, held: Held, node: str, revision: int) -> View:
        """Raises UnknownObject, HistoryPruned, NotReady."""
        network = await self.network(held, revision)
        if network.node(node) is None:
            raise UnknownObject(f"node {node} does not exist at revision {revision}")
        body, digest = await asyncio.to_thread(_rendered, network, node)
        epoch = await self._epoch(held, revision)
        etag = ETag(epoch, await self._version(held, node, revision), digest)
        return View(epoch, revision, etag, body)

    async def differences(self, held: Held, start: int, end: int, node: str | None) -> Differences:
        """From `start` to `end`, which is not below it. Raises UnknownObject, HistoryPruned, NotReady."""
        if end > held.revision:
            raise UnknownObject(f"revision {end} does not exist; the head is {held.revision}")
        if node is None:
            between = Between()
            async for page in self._pages(held, end, start):
                between.take(page)
            return Differences(between.edits(), None, None, None)
        after = await self.network(held, end)
        before, between = await self._rewound(after, held, end, start)
        if before.node(node) is None and after.node(node) is None:
            raise UnknownObject(f"node {node} exists neither at revision {start} nor at {end}")
        new, old = await asyncio.to_thread(lambda: (alone(after, node), alone(before, node)))
        return Differences(
            between.edits(),
            difference(old, new, node) if after.node(node) is not None else None,
            await self._etag(held, old, node, start),
            await self._etag(held, new, node, end),
        )

    async def revision_at(self, held: Held, at: datetime) -> int:
        """The head as it was at a time. Raises HistoryPruned."""
        async with self.database.begin() as conn:
            found = await revision_at(conn, at)
        return min(found, held.revision)

    async def _rewound(self, network: Network, held: Held, end: int, start: int) -> tuple[Network, Between]:
        if start > held.revision:
            raise UnknownObject(f"revision {start} does not exist; the head is {held.revision}")
        between = Between()
        async for page in self._pages(held, end, start):
            between.take(page)
        return await asyncio.to_thread(lambda: replay(network, between.reversal())), between

    async def _pages(self, held: Held, end: int, start: int) -> AsyncIterator[list[Change]]:
        """The records above `start` up to `end`, newest first, without a gap."""
        at = end
        while at > start:
            async with self.database.begin() as conn:
                page = await changes_page(conn, at + 1, min(PAGE, at - start))
            if [change.revision for change in page] != list(range(at, at - len(page), -1)) or not page:
                raise HistoryPruned(f"the change records of revision {start + 1} to {end} are not all kept")
            if page[0].epoch > held.epoch:
                raise NotReady("history was rewound meanwhile; try again")
            at -= len(page)
            yield page

    async def _etag(self, held: Held, derived: Derived, node: str, revision: int) -> ETag | None:
        if derived.network.node(node) is None:
            return None
        epoch = await self._epoch(held, revision)
        return ETag(epoch, await self._version(held, node, revision), derived.digest_of(node))

    async def _version(self, held: Held, node: str, revision: int) -> int:
        """The last revision up to this one at which the node's view changed."""
        version = held.versions.get(node)
        if version is not None and version <= revision:
            return version
        async with self.database.begin() as conn:
            return await version_at(conn, node, revision)

    async def _epoch(self, held: Held, revision: int) -> int:
        """The revision's own: history may have been rewound since."""
        if revision == held.revision:
            return held.epoch
        async with self.database.begin() as conn:
            change = await read_change(conn, revision)
        return held.epoch if change is None else change.epoch


def _rendered(network: Network, node: str) -> tuple[bytes, str]:
    derived = alone(network, node)
    return derived.render(node), derived.digest_of(node)
