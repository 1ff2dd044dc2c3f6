"""`verge changes`, `verge change REV`: who changed what and when, and how long it took to be in force."""

from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from verge.console.arguments import Commands, Common, add, revision
from verge.console.console import Console
from verge.console.outcome import Exit
from verge.console.tables import Cell, Painted, count, fields, listed, milliseconds, table, when

NAMED = 3
"""Objects of a change named in a list of changes; above that they are counted by kind."""


def register(commands: Commands, common: Common) -> None:
    many = add(commands, common, "changes", "the change log, newest first", run_changes)
    many.add_argument("--limit", type=revision, metavar="N", default=20, help="so many; 20 unless told")
    many.add_argument("--before", type=revision, metavar="REV", help="only revisions below this one")
    one = add(commands, common, "change", "one change: who, what, when each node applied it", run_change)
    one.add_argument("revision", metavar="REV", type=revision)


def run_changes(given: Namespace, console: Console) -> Exit:
    found = console.server.get("/v1/updates", limit=given.limit, before=given.before)
    console.show(found, changes_text(found, colour=console.colour))
    return Exit.OK


def run_change(given: Namespace, console: Console) -> Exit:
    found = console.server.get(f"/v1/updates/{given.revision}")
    console.show(found, change_text(found, colour=console.colour))
    return Exit.OK


def changes_text(found: Mapping[str, Any], *, colour: bool) -> str:
    if not found["updates"]:
        return "no change is on record"
    rows: list[list[Cell]] = []
    for one in found["updates"]:
        spread = one.get("summary") or {}
        applied, affected = spread.get("applied"), spread.get("affected", len(one["affected"]))
        whole = applied is not None and applied >= affected
        reached: Cell = (
            affected if applied is None else Painted(f"{applied}/{affected}", "green" if whole else "yellow")
        )
        rows.append(
            [
                one["revision"],
                when(one["at"]),
                one["actor"],
                what(one["operations"]) + (f" (caused by {one['caused_by']})" if one.get("caused_by") else ""),
                reached if affected else None,
                milliseconds((spread.get("ms") or {}).get("max")) if whole and affected else "",
            ]
        )
    shown = table(
        ("revision", "at", "who", "what", "applied", "in force after"),
        rows,
        colour=colour,
        right=("revision", "applied", "in force after"),
    )
    more = found.get("next_before")
    return shown + (f"\nolder ones: verge changes --before {more}" if more else "")


def what(operations: Sequence[Mapping[str, Any]]) -> str:
    """`put instance i-1, delete elastic_ip 192.0.2.1`; where there are many, `put 40 instances, delete 2 groups and 3 more`."""
    if len(operations) <= NAMED:
        return ", ".join(f"{_verb(one)} {one['kind']} {one['id']}" for one in operations) or "nothing"
    kinds = Counter((_verb(one), str(one["kind"])) for one in operations)
    return listed([f"{verb} {count(number, kind)}" for (verb, kind), number in kinds.most_common()], NAMED)


def change_text(one: Mapping[str, Any], *, colour: bool) -> str:
    applied, nodes, ms = one["applied"], one["nodes"], one["ms"]
    marks = ", ".join(f"{mark} {milliseconds(ms[mark])}" for mark in ("p50", "p90", "p99", "max"))
    parts = [
        fields(
            [
                ("revision", one["revision"]),
                ("at", when(one["at"])),
                ("who", one["actor"]),
                ("caused by", f"revision {one['caused_by']}" if one.get("caused_by") else None),
                ("applied", f"{applied:,} of {count(len(nodes), 'node')}" if nodes else "affects no node"),
                ("after", marks if applied else None),
            ],
            colour=colour,
        ),
        "",
        table(
            ("operation", "kind", "id", "fields"),
            [[_verb(item), item["kind"], item["id"], _differing(item)] for item in one["operations"]],
            colour=colour,
        ),
    ]
    if nodes:
        rows: list[list[Cell]] = [
            [name, when(at["applied_at"]), at["applied_version"], milliseconds(at["ms"])]
            if at
            else [name, Painted("not yet", "yellow"), None, None]
            for name, at in nodes.items()
        ]
        parts += [
            "",
            table(("node", "applied at", "version", "after"), rows, colour=colour, right=("version", "after")),
        ]
    return "\n".join(parts)


def _verb(operation: Mapping[str, Any]) -> str:
    """The list has `op`, the record of one change has the values before and after."""
    if "op" in operation:
        return str(operation["op"])
    if operation.get("after") is None:
        return "delete"
    return "change" if operation.get("before") is not None else "create"


def _differing(operation: Mapping[str, Any]) -> str:
    """The fields that a change touched."""
    before, after = operation.get("before"), operation.get("after")
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return ""
    return listed([name for name in sorted({*before, *after}) if before.get(name) != after.get(name)])
