"""Who is behind, in words: nodes' standings as the summary and the barrier name them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from verge.console.outcome import Exit
from verge.console.tables import Painted, count, duration, listed, paint, plain, state, table

STATES: Final = ("converged", "lagging", "degraded", "rejected", "silent", "never-seen")
MOST: Final = 20
"""Laggards named in text; `--json` has all that the server names."""


def laggards(found: Sequence[Mapping[str, Any]], *, colour: bool) -> str:
    """A table, the first MOST of them."""
    rows = [
        [
            one["node"],
            one.get("zone"),
            state(one["state"]),
            one.get("applied_version"),
            one.get("version"),
            duration(one.get("lag_seconds")),
            one.get("reason"),
        ]
        for one in found[:MOST]
    ]
    header = ("node", "zone", "state", "applied", "wanted", "lag", "reason")
    return table(header, rows, colour=colour, right=("applied", "wanted", "lag"))


def in_force_at(standing: Mapping[str, Any], revision: int, allow_degraded: bool) -> bool:
    """Has the node applied all that it was meant to enforce at that revision?"""
    applied = standing["applied_version"] or 0
    if standing["state"] == "degraded" and not allow_degraded:
        return False
    return bool(applied >= min(standing["version"], revision))


def barrier_note(found: Mapping[str, Any]) -> str:
    """How far it is, on one line."""
    parts = []
    if "affected" in found:
        parts.append(f"{found['applied']:,} of {count(found['affected'], 'node')} have applied it")
    late = [f"{one['node']} ({one['state']})" for one in found["laggards"]]
    if late:
        parts.append(f"waiting for {listed(late, 3)}")
    fences = [f"{one['address']} held back until {one['waits_for']} gives it up" for one in found["fences"]]
    if fences:
        parts.append(listed(fences, 2))
    return "; ".join(parts) or "not yet"


def barrier_text(found: Mapping[str, Any], what: str, seconds: float, ending: Exit, *, colour: bool) -> str:
    """How a wait ended, and who has not applied it and why. `affected` and `applied` are there for one change only."""
    parts = []
    if ending is Exit.OK:
        where = _where(found) if "affected" in found else "on every node"
        parts.append(f"{what} is {paint(Painted('in force', 'green'), colour=colour)} {where} ({duration(seconds)})")
    else:
        share = f": {found['applied']:,} of {count(found['affected'], 'node')}" if "affected" in found else ""
        verdict = paint(Painted("not in force everywhere", "red"), colour=colour)
        parts.append(f"{what} is {verdict} after {duration(seconds)}{share}")
    for one in found["fences"]:
        parts.append(f"{plain(one['address'])} is held back until {plain(one['waits_for'])} gives it up (verge fences)")
    if found.get("exceptions"):
        parts.append(f"with an object of it closed on {listed(found['exceptions'])} (verge node NAME)")
    if found.get("never_seen"):
        parts.append(f"not counted, since never seen and hosting nothing: {listed(found['never_seen'])}")
    if found["laggards"]:
        parts.append(laggards(found["laggards"], colour=colour))
        unnamed = len(found["laggards"]) - MOST
        parts += [f"and {unnamed:,} more"] if unnamed > 0 else []
    return "\n".join(parts)


def _where(found: Mapping[str, Any]) -> str:
    affected, applied = found["affected"], found["applied"]
    if affected == 0:
        return "as it is: it affects no node"
    if applied < affected:
        return f"on {applied:,} of {affected:,} nodes, as many as asked for"
    return f"on {'the one node' if affected == 1 else f'all {affected:,} nodes'} it affects"
