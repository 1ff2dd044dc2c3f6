"""Whose sessions must be judged again: the addresses for which something that may have allowed them was withdrawn.

Withdrawn is a rule that left a chain, an address that left a group, a box that the remaining boxes do not cover. An address
is concerned if its verdicts lead there; one that leads nowhere near keeps its generation, and its sessions notice nothing.
"""

from collections.abc import Iterable

from nodeagent.desired import elastic
from nodeagent.desired.boxes import Box, covers
from nodeagent.plan.difference import Difference
from nodeagent.state import generations
from nodeagent.state.rule import Goto, Jump, Verdict
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
    if not names.isdisjoint(_reachable(_ROOTS, table)):
        return set(judged)
    reached: dict[int | Verdict, bool] = {}
    for address, verdict in judged.items():
        if verdict not in reached:
            target = [verdict.chain] if isinstance(verdict, Goto | Jump) else []
            reached[verdict] = not names.isdisjoint(_reachable(target, table))
        if reached[verdict]:
            again.add(address)
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


def _reachable(chains: Iterable[str], table: Table) -> set[str]:
    """Chains and sets that a packet entering one of `chains` can come by, other than through a map."""
    found: set[str] = set()
    waiting = list(chains)
    while waiting:
        name = waiting.pop()
        if name in found or name not in table.chains:
            continue
        found.add(name)
        for rule in table.chains[name].rules:
            found.update(rule.sets)
            if isinstance(rule.action, Goto | Jump):
                waiting.append(rule.action.chain)
    return found
