"""From which revision on a verdict has been what it is, as a whole and in each node's part."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from viewserver.explain.question import Question, Unasked
from viewserver.explain.verdict import Explanation, Role, Route, explain
from viewserver.model.convergence import SECTIONS
from viewserver.model.network import Network
from viewserver.model.objects import Key

Aspect = Role | None
"""None: the verdict as a whole."""


@dataclass(frozen=True, slots=True)
class Step:
    """A change, and the network before it."""

    revision: int
    touched: frozenset[str]
    """Objects, as reports name them."""
    completes: bool
    """It is a grant: addresses came into force, and no object of the cloud's says so."""
    before: Network


def since(now: Explanation, steps: Iterable[Step]) -> dict[Aspect, int]:
    """`steps` backwards from the network that `now` is of. An aspect that has been so in all of them is left out.

    Only changes are looked at that touch what a verdict was read from, before or after them.
    """
    found: dict[Aspect, int] = {}
    outcome = _outcome(now)
    names = _names(now.facts)
    held: list[str | None] | None = None
    for step in steps:
        if len(found) == len(outcome):
            break
        later, held = held, _held(step.before, now.route)
        if not step.completes and later == held and names.isdisjoint(step.touched):
            continue
        earlier = _explained(step.before, now.route.question)
        then = {} if earlier is None else _outcome(earlier)
        for aspect, value in outcome.items():
            if aspect not in found and then.get(aspect) != value:
                found[aspect] = step.revision
        names |= _names(earlier.facts) if earlier is not None else set()
    return found


def _held(network: Network, route: Route) -> list[str | None]:
    """Who has the ends' addresses, and which elastic IPs the ends have: what is gone stands in no later verdict."""
    found = []
    for end in (route.source, route.destination):
        found.append(network.holder(str(end.address)))
        found.append(network.elastic_ip_of.get(end.name) if end.name is not None else None)
    return found


def _explained(network: Network, question: Question) -> Explanation | None:
    try:
        return explain(network, question)
    except Unasked:
        return None  # there was no such end


def _outcome(found: Explanation) -> dict[Aspect, Hashable]:
    outcome: dict[Aspect, Hashable] = {None: (found.allowed, found.seen)}
    return outcome | {role: (part.node, part.passes, part.seen) for role, part in found.parts}


def _names(facts: Iterable[Key]) -> set[str]:
    return {f"{SECTIONS[kind]}/{name}" for kind, name in facts if kind in SECTIONS}
