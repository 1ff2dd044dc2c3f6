"""Reads and changes what nftables holds of ours."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from nodeagent.desired.limits import over
from nodeagent.kernel import KernelRefused, TooLong, Unsettled, elements
from nodeagent.kernel.elements import FAMILIES
from nodeagent.kernel.libnftables import Libnftables
from nodeagent.kernel.netlink import Nftables
from nodeagent.nft.changes import Change
from nodeagent.nft.listing import observed
from nodeagent.nft.pieces import can_be_cut, pieces
from nodeagent.nft.transaction import transaction
from nodeagent.state.limits import WHAT
from nodeagent.state.ownership import BRIDGE, IP, METERS, TABLES, rule_hash
from nodeagent.state.ruleset import Observed, SeenRule, SeenTable, TableId

_ATTEMPTS: Final = 10
_AT_ONCE: Final = 1 << 16
"""Octets of packed elements: what more there is takes libnftables longer to send than to prepare, and it makes room for it."""
_CHAINS: Final = 20
"""So many chains are read one by one; for more, the whole table."""


class KernelRuleset:
    def __init__(self) -> None:
        self._nft = Libnftables()
        self._fast = Nftables()

    def close(self) -> None:
        self._nft.close()
        self._fast.close()

    def generation(self) -> int:
        return self._fast.generation()

    def read(self) -> tuple[Observed, int]:
        """What is ours, and the generation it was read at. Raises Unsettled if others keep changing things."""
        for _ in range(_ATTEMPTS):
            before = self.generation()
            ours = self._ours()
            asleep = {table for table, dormant in ours.items() if dormant}
            listing = self._nft.listing(set(ours) - asleep)
            if self.generation() == before:
                return {**observed(listing), **dict.fromkeys(asleep, SeenTable(dormant=True))}, before
        raise Unsettled("the ruleset changes faster than it can be read")

    def with_handles(self, known: Observed) -> Observed:
        """`known`, with the handles of rules that went in since they were last read. Chains whose rules are not as
        believed keep what is known: the generation will tell that somebody was there."""
        return {table: self._with_handles(table, seen) for table, seen in known.items()}

    def _with_handles(self, table: TableId, known: SeenTable) -> SeenTable:
        new = [name for name, chain in known.chains.items() if any(rule.handle is None for rule in chain.rules)]
        read: dict[str, list[SeenRule]] = {}
        for part in new if len(new) <= _CHAINS else [None]:
            for rule in self._fast.rules(FAMILIES[table.family], table.name, part):
                read.setdefault(rule.chain, []).append(SeenRule(rule_hash(rule.comment), rule.handle))
        chains = dict(known.chains)
        for name in new:
            chain, rules = known.chains[name], tuple(read.get(name, ()))
            if [one.hash for one in rules] == [one.hash for one in chain.rules]:
                chains[name] = replace(chain, rules=rules)
        return replace(known, chains=chains)

    def commit(self, changes: tuple[Change, ...], behind: str = "") -> int:
        """One transaction, with the commands `behind` at its end; the number of those that it took. Raises
        KernelRefused: then it did nothing, or, where it took several (`nft.pieces`), nothing that lets more pass. Raises
        TooLong where it cannot be cut: what is to be made anew must be made closed first."""
        if not behind and self._taken_packed(changes):
            return 1
        try:
            self._nft.commit(transaction(changes) + behind)
        except TooLong:
            if not can_be_cut(changes):
                raise
        else:
            return 1
        commits = 0
        for piece in pieces(changes, behind):
            self._nft.commit(piece)
            commits += 1
        return commits

    def _taken_packed(self, changes: tuple[Change, ...]) -> bool:
        """Was it a few elements, and did the kernel take them? Else nothing has changed; libnftables says why."""
        packed = elements.messages(changes)
        if not packed or sum(len(body) for *_, body in packed) > _AT_ONCE:
            return False
        try:
            self._fast.commit(packed)
        except KernelRefused:
            return False
        return True

    def check(self, changes: tuple[Change, ...]) -> None:
        """Would `commit` go through? Nothing changes. Raises KernelRefused; TooLong says nothing about the content."""
        self._nft.check(transaction(changes))

    def run(self, commands: str) -> None:
        """All of them or none. Raises KernelRefused."""
        self._nft.commit(commands)

    def meters(self) -> list[dict[str, Any]]:
        """libnftables-json(5) of the counting table; empty where there is none. Raises KernelRefused."""
        there = any((family, name) == (2, METERS.name) and not asleep for family, name, asleep in self._fast.tables())
        entries: list[dict[str, Any]] = self._nft.listing({METERS})["nftables"] if there else []
        return entries

    def dropped(self) -> dict[str, int]:
        """Packets beyond a limit, by what it limits, since the tables were made. Cheap. Raises KernelRefused."""
        return {
            what: sum(self._fast.counted(FAMILIES[table.family], table.name, over(what)) for table in (BRIDGE, IP))
            for what in WHAT
        }

    def text(self) -> str:
        return self._nft.text(set(self._ours()))

    def text_of(self, objects: Mapping[TableId, Iterable[str]]) -> str:
        """These (`chain <name>`), as nft loads them again. Raises KernelRefused."""
        return "".join(
            self._block(table, sorted(names, key=_referents_first)) for table, names in sorted(objects.items())
        )

    def _block(self, table: TableId, objects: Iterable[str]) -> str:
        """All in one block: nft makes all chains of a block before it fills them."""
        inner = [line for what in objects for line in self._nft.object_text(table, what).splitlines()[1:-1]]
        return "\n".join([f"table {table} {{", *inner, "}", ""])

    def _ours(self) -> dict[TableId, bool]:
        """Those that are there, and whether each is dormant."""
        names = {(FAMILIES[table.family], table.name): table for table in TABLES}
        return {
            names[family, name]: dormant for family, name, dormant in self._fast.tables() if (family, name) in names
        }


def _referents_first(what: str) -> tuple[bool, bool, str]:
    kind = what.split(" ", 1)[0]
    return kind == "chain", kind in ("set", "map"), what
