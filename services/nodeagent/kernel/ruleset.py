"""Reads and changes what nftables holds of ours."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from nodeagent.kernel import KernelRefused, TooLong
from nodeagent.kernel.libnftables import Libnftables
from nodeagent.kernel.netlink import Generation
from nodeagent.nft.changes import AddElements, Change
from nodeagent.nft.listing import observed
from nodeagent.nft.transaction import transaction
from nodeagent.state.ownership import TABLES
from nodeagent.state.ruleset import Observed, SeenTable, TableId

_ATTEMPTS: Final = 10
_BATCH: Final = 4000
"""Elements a transaction, where only short ones can be sent."""


class KernelRuleset:
    def __init__(self) -> None:
        self._nft = Libnftables()
        self._generation = Generation()

    def close(self) -> None:
        self._nft.close()
        self._generation.close()

    def generation(self) -> int:
        return self._generation.read()

    def read(self) -> tuple[Observed, int]:
        """What is ours, and the generation it was read at. Raises KernelRefused if others keep changing things."""
        for _ in range(_ATTEMPTS):
            before = self.generation()
            listing = self._nft.listing(self._ours())
            if self.generation() == before:
                return observed(listing), before
        raise KernelRefused("the ruleset changes faster than it can be read")

    def with_handles(self, known: Observed) -> Observed:
        """`known`, with the handles of rules that went in since they were last read."""
        listed = observed(self._nft.listing(self._ours(), terse=True))
        return {table: _with_handles(seen, listed.get(table, SeenTable())) for table, seen in known.items()}

    def commit(self, changes: tuple[Change, ...]) -> int:
        """One transaction; the number of those that it took. Raises KernelRefused: then the first did nothing.

        A process without privileges in the first user namespace cannot send a long one (it may not raise its socket's
        buffer). Then set elements that are many go in behind the rest, in pieces: elements only let more through, so
        that what is open meanwhile is less than wanted, never more.
        """
        try:
            self._nft.commit(transaction(changes))
        except TooLong:
            pieces = list(_pieces(changes))
            for piece in pieces:
                self._nft.commit(transaction(piece))
            return len(pieces)
        return 1

    def text(self) -> str:
        return self._nft.text(self._ours())

    def _ours(self) -> set[TableId]:
        return self._nft.tables() & set(TABLES)


def _with_handles(known: SeenTable, listed: SeenTable) -> SeenTable:
    """Chains whose rules are not as believed keep what is known: the generation tells that somebody was there."""
    chains = {
        name: replace(chain, rules=listed.chains[name].rules)
        if name in listed.chains
        and [rule.hash for rule in listed.chains[name].rules] == [rule.hash for rule in chain.rules]
        else chain
        for name, chain in known.chains.items()
    }
    return replace(known, chains=chains)


def _pieces(changes: Iterable[Change]) -> Iterator[list[Change]]:
    first: list[Change] = []
    later: list[AddElements] = []
    for change in changes:
        if isinstance(change, AddElements) and len(change.elements) > _BATCH:
            later.append(change)
        else:
            first.append(change)
    yield first
    for change in later:
        for start in range(0, len(change.elements), _BATCH):
            yield [replace(change, elements=change.elements[start : start + _BATCH])]
