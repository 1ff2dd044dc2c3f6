"""The plan: what to do, in which order, and what the kernel will hold when it is done.

    close   `plan.host`: what must be shut before
    move    one nft transaction over all families: whatever is withdrawn and whatever is allowed, at once
    open    `plan.host`: what the ruleset keeps in bounds

A crash between any two steps leaves less open than either state, and the next plan goes on from there.
"""

from dataclasses import dataclass

from nodeagent.desired.node import Desired
from nodeagent.nft.changes import AddElements, AddMappings, Change, DeleteElements, DeleteMappings
from nodeagent.plan import withdrawn
from nodeagent.plan.assignment import assign
from nodeagent.plan.difference import Difference, difference, settle
from nodeagent.plan.host import Step, closing
from nodeagent.plan.variants import placed
from nodeagent.state import generations, ownership
from nodeagent.state.host import Links
from nodeagent.state.ruleset import Observed

_ASSIGNED = frozenset({generations.VALID, generations.VALID_REVERSED, generations.CURRENT})


@dataclass(frozen=True, slots=True)
class Plan:
    links: tuple[Step, ...]
    """Before it; `plan.host.opening` are those behind it."""
    changes: tuple[Change, ...]
    """One transaction."""
    after: Observed
    """The ruleset when it is done."""
    new_generation: bool
    """Was the generation that was offered used?"""
    judged_again: int
    """Addresses whose sessions are put to a new judgement (new addresses are not among them)."""

    def __bool__(self) -> bool:
        return bool(self.links or self.changes)


def changes_structure(changes: tuple[Change, ...]) -> bool:
    """More than elements: tables, sets, chains or rules?"""
    return not all(isinstance(one, AddElements | DeleteElements | AddMappings | DeleteMappings) for one in changes)


def plan(observed: Observed, links: Links, desired: Desired, next_generation: int) -> Plan:
    """Raises `difference.HandlesUnknown`."""
    wanted = placed(desired.ruleset[ownership.IP], observed.get(ownership.IP))
    policy = difference(ownership.IP, observed.get(ownership.IP), wanted, deferred=_ASSIGNED)
    again = withdrawn.addresses(policy, wanted, drain=desired.revoke == "drain")
    assigned = assign(wanted, observed.get(ownership.IP), again, next_generation)
    valid = {generations.VALID: assigned.valid, generations.VALID_REVERSED: assigned.valid_reversed}
    settle(policy, valid, {generations.CURRENT: assigned.current})
    others = [difference(name, observed.get(name), desired.ruleset[name]) for name in (ownership.ARP, ownership.BRIDGE)]
    tables = [*others, policy]
    return Plan(
        links=closing(links),
        changes=_in_order(tables),
        after={found.table: found.after for found in tables},
        new_generation=assigned.used,
        judged_again=len(again & _held(observed)) if assigned.used else 0,
    )


def _in_order(tables: list[Difference]) -> tuple[Change, ...]:
    """Step by step across the tables, so that what closes in one is not behind what opens in the other."""
    return tuple(
        change for step in zip(*(found.steps for found in tables), strict=True) for part in step for change in part
    )


def _held(observed: Observed) -> set[int]:
    seen = observed.get(ownership.IP)
    if seen is None or generations.CURRENT not in seen.maps:
        return set()
    return set(seen.maps[generations.CURRENT].elements)
