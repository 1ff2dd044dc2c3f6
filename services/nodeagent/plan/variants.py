"""A set of boxes that mostly changes is made anew beside the old one, and the rules are pointed at it.

The kernel's interval sets take about as long for one deletion as for a copy of the set, so that deleting most of 1,000
boxes would take half a second. The new set needs another name: a set `in/sg-1/ports` and its other variant
`in/sg-1/ports/b` take turns. Which of the two is in use is history, as generations are, and so the desired ruleset knows
the first name only.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from nodeagent.state.rule import In, Match, Rule
from nodeagent.state.ruleset import SeenTable, Set, Table
from verge.contract.members import Members

_FEW: Final = 64
"""So many deletions are always made one by one."""


def placed(table: Table, seen: SeenTable | None) -> Table:
    """`table` with each of its sets under the name that it has, or should get, in the kernel."""
    if seen is None:
        return table
    new = (
        (name, wanted) for name, wanted in table.sets.items() if wanted.interval and seen.sets.get(name) is not wanted
    )
    names = {name: _name(name, wanted, seen) for name, wanted in new}
    moved = {name: other for name, other in names.items() if other != name}
    if not moved:
        return table
    chains = {
        name: replace(chain, rules=tuple(_pointed(rule, moved) for rule in chain.rules))
        if any(used in moved for rule in chain.rules for used in rule.sets)
        else chain
        for name, chain in table.chains.items()
    }
    return Table({moved.get(name, name): wanted for name, wanted in table.sets.items()}, table.maps, chains)


def _name(name: str, wanted: Set, seen: SeenTable) -> str:
    other = f"{name}/b"
    now, next_ = (name, other) if name in seen.sets or other not in seen.sets else (other, name)
    held = seen.sets.get(now)
    if held is None or held is wanted or isinstance(held.elements, Members) or isinstance(wanted.elements, Members):
        return now
    gone = len(held.elements - wanted.elements)
    return next_ if gone > _FEW and 2 * gone > len(held.elements) else now


def _pointed(rule: Rule, moved: Mapping[str, str]) -> Rule:
    def point(match: Match) -> Match:
        return replace(match, set=moved.get(match.set, match.set)) if isinstance(match, In) else match

    return replace(rule, matches=tuple(map(point, rule.matches)))
