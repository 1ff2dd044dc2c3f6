"""Whose sessions must be judged again: the addresses for which something that may have allowed them was withdrawn.

Withdrawn is a rule that left a chain, an address that left a group, a box that the remaining boxes do not cover. An address
is concerned if its verdicts lead there; one that leads nowhere near keeps its generation, and its sessions notice nothing.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from nodeagent.desired import elastic
from nodeagent.desired.boxes import Box, covers
from nodeagent.plan.difference import Difference
from nodeagent.state import generations
from nodeagent.state.rule import Faster, Goto, In, Jump, More
from nodeagent.state.ruleset import Map, Set, Span, Table
from verge.contract.members import Members

_ROOTS = ("to_vm", "from_vm_reply", "output")
"""Chains of `desired.judgement` that stamped flows pass, or that stamp."""


def addresses(found: Difference, table: Table, *, drain: bool) -> set[int]:
    """Of the judged addresses of `table`, those to be judged again. With `drain` only those that changed hands."""
    judged = table.maps[generations.JUDGED].elements
    if found.replaced:
        return set(judged)
    before = found.seen.maps.get(generations.JUDGED, Map(table.maps[generations.JUDGED].key, "verdict", {})).elements
    again = {address for address, verdict in judged.items() if before.get(address) != verdict}
    names = set() if drain else _withdrawn(found, table)
    if not names:
        return again
    leads_there = _Reach(names, table).leads_there
    if any(leads_there(root) for root in _ROOTS):
        return set(judged)
    again.update(
        address
        for address, verdict in judged.items()
        if isinstance(verdict, Goto | Jump) and leads_there(verdict.chain)
    )
    return again


def _withdrawn(found: Difference, table: Table) -> set[str]:
    """Names of chains and sets that let less through than before."""
    narrowed = {name for name, removed in found.removed_elements.items() if not _covered(table.sets[name], removed)}
    # which elastic IP is whose is asked at each packet, so that a stamp promises nothing about it
    return (narrowed - {elastic.PAIRS}) | found.narrowed_chains


def _covered(wanted: Set, removed: Iterable[tuple[int | str | Span, ...]]) -> bool:
    """Boxes are cut anew when rules are added; then what was removed is still inside."""
    if not wanted.interval or isinstance(wanted.elements, Members):
        return False
    boxes, gone = _boxes(wanted.elements), _boxes(removed)
    prefixes = bool(wanted.key) and wanted.key[0].value == "ipv4_addr"
    return covers(boxes, gone, prefixes=prefixes)


def _boxes(elements: Iterable[tuple[int | str | Span, ...]]) -> frozenset[Box]:
    return frozenset(tuple(part for part in element if isinstance(part, Span)) for element in elements)


class _Reach:
    """Where a packet that enters a chain can come by, other than through a map."""

    def __init__(self, names: AbstractSet[str], table: Table) -> None:
        self._names = names
        self._chains = table.chains
        self._known: dict[str, bool] = {}

    def leads_there(self, name: str) -> bool:
        """To one of the chains and sets that are asked about?"""
        known = self._known.get(name)
        if known is None:
            self._known[name] = False  # until it is known: no chain leads to itself
            known = self._known[name] = name in self._names or self._by_rules(name)
        return known

    def _by_rules(self, name: str) -> bool:
        chain = self._chains.get(name)
        for rule in chain.rules if chain else ():
            for match in rule.matches:
                if isinstance(match, In | Faster | More) and match.set in self._names:
                    return True
            if isinstance(rule.action, Goto | Jump) and self.leads_there(rule.action.chain):
                return True
        return False
