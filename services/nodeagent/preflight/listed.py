"""Foreign tables as libnftables lists them (libnftables-json(5)), to what `packets` walks through."""

from collections.abc import Iterable
from typing import Any

from nodeagent.preflight.facts import Hook, Table

Place = tuple[str, str]
"""Family and name of a table."""


def tables(entries: Iterable[dict[str, Any]]) -> tuple[Table, ...]:
    """In the order in which they are listed."""
    names: list[Place] = []
    hooks: dict[Place, list[Hook]] = {}
    chains: dict[Place, dict[str, list[tuple[Any, ...]]]] = {}
    sets: dict[Place, dict[str, tuple[Any, ...]]] = {}
    for entry in entries:
        if table := entry.get("table"):
            names.append((table["family"], table["name"]))
        elif chain := entry.get("chain"):
            place = chain["family"], chain["table"]
            chains.setdefault(place, {}).setdefault(chain["name"], [])
            if "hook" in chain:
                hook = Hook(chain["name"], chain["hook"], chain.get("policy") == "drop")
                hooks.setdefault(place, []).append(hook)
        elif rule := entry.get("rule"):
            place = rule["family"], rule["table"]
            statements = tuple(one for one in rule["expr"] if isinstance(one, dict))
            chains.setdefault(place, {}).setdefault(rule["chain"], []).append(statements)
        elif found := entry.get("set"):
            place = found["family"], found["table"]
            sets.setdefault(place, {})[found["name"]] = tuple(found.get("elem", ()))
    return tuple(
        Table(
            *place,
            tuple(hooks.get(place, ())),
            {name: tuple(rules) for name, rules in chains.get(place, {}).items()},
            sets.get(place, {}),
        )
        for place in names
    )
