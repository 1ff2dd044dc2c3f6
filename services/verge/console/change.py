"""`verge change REV`: who, when, what; and when each node was told of it and applied it, drawn as a waterfall."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any, Final

from verge.console.arguments import Commands, Common, add, completes, revision
from verge.console.console import Console
from verge.console.edits import field_lines
from verge.console.outcome import Exit
from verge.console.tables import Cell, Painted, count, fields, milliseconds, table, when

MARKS: Final = ("p50", "p90", "p99", "max")
WIDTH: Final = 40
MOST: Final = 30
"""Nodes drawn: those that have not applied it, then the slowest."""


def register(commands: Commands, common: Common) -> None:
    one = add(commands, common, "change", "one change: who, what, when each node was told and applied it", run)
    one.description = (
        "One change: who, when, what, and each node from the commit on: . until it was told, = until it had applied it,\n"
        "x where it rejected it. Times are milliseconds from the commit, by Postgres's clock."
    )
    completes(one.add_argument("revision", metavar="REV", type=revision), "revisions")
    one.add_argument("--all", action="store_true", help=f"all nodes, not only the {MOST} slowest")


def run(given: Namespace, console: Console) -> Exit:
    found = console.server.get(f"/v1/updates/{given.revision}")
    console.show(found, change_text(found, None if given.all else MOST, colour=console.colour))
    return Exit.OK


def change_text(one: Mapping[str, Any], most: int | None, *, colour: bool) -> str:
    applied, affected = one["applied"], len(one["affected"]) or (one.get("summary") or {}).get("affected", 0)
    missing = len(one.get("missing") or [])
    parts = [
        fields(
            [
                ("revision", one["revision"]),
                ("at", when(one["at"])),
                ("who", one["actor"]),
                ("caused by", f"revision {one['caused_by']}" if one.get("caused_by") else None),
                ("applied", f"{applied:,} of {count(affected, 'node')}" if affected else "affects no node"),
                ("waits for", count(missing, "node") if missing else None),
                ("closed on", ", ".join(one.get("exceptions") or []) or None),
            ],
            colour=colour,
        ),
    ]
    if applied:
        rows: list[list[Cell]] = [
            [name, *(milliseconds(found.get(mark)) for mark in MARKS)]
            for name, found in [("told", one["told_ms"]), ("applied", one["ms"]), *one["stages_ms"].items()]
            if found.get("max") is not None
        ]
        parts += ["", table(("stage", *MARKS), rows, colour=colour, right=MARKS)]
    operations = [
        [
            _verb(item),
            item["kind"],
            item["id"],
            "; ".join(field_lines(_edit(item), colour=False)) if _changes(item) else "",
        ]
        for item in one["operations"]
    ]
    parts += ["", table(("operation", "kind", "id", "what"), operations, colour=colour)]
    if one["nodes"]:
        parts += ["", waterfall(one["nodes"], most, colour=colour)]
    elif not one["detail"] and affected:
        parts += ["", "what is known of each node is no longer kept"]
    return "\n".join(parts)


def waterfall(nodes: Mapping[str, Any], most: int | None, *, colour: bool) -> str:
    """One line for each node, the fastest first; those that have not applied it come last."""
    whole = sorted(nodes.items(), key=lambda pair: (_applied(pair[1]), pair[0]))
    shown = whole if most is None else whole[-most:]
    marks = [
        ms for _, at in whole if at for ms in (at["told_ms"], at["ms"], *(x["ms"] for x in at["rejections"])) if ms
    ]
    longest = max(marks, default=0.0)
    rows: list[list[Cell]] = [
        [
            name,
            milliseconds(at["told_ms"]) if at else None,
            milliseconds(at["ms"]) if at and at["ms"] is not None else Painted("not yet", "yellow"),
            at["applied_version"] if at else None,
            bar(at, longest),
            _rejected(at),
        ]
        for name, at in shown
    ]
    header = ["node", "told", "applied", "version", f"0 to {milliseconds(longest)}", "rejected"]
    if not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    drawn = table(header, rows, colour=colour, right=("told", "applied", "version"))
    hidden = len(whole) - len(shown)
    return drawn + (f"\nand {count(hidden, 'faster node')}: --all" if hidden else "")


def bar(at: Mapping[str, Any] | None, longest: float) -> str:
    """`....====x==`: until it was told, until it had applied it, and where it rejected it."""
    if at is None or not longest:
        return ""

    def place(ms: float) -> int:
        return min(WIDTH - 1, int(ms / longest * WIDTH))

    end = WIDTH if at["ms"] is None else place(at["ms"]) + 1
    told = end if at["told_ms"] is None else min(place(at["told_ms"]), end)
    cells = ["."] * told + ["="] * (end - told)
    if at["told_ms"] is None and at["ms"] is not None:  # nobody saw when it was told
        cells = ["="] * end
    for one in at["rejections"]:
        if place(one["ms"]) < len(cells):
            cells[place(one["ms"])] = "x"
    return "".join(cells)


def _applied(at: Mapping[str, Any] | None) -> float:
    return float("inf") if at is None or at["ms"] is None else float(at["ms"])


def _rejected(at: Mapping[str, Any] | None) -> str:
    if not at or not at["rejections"]:
        return ""
    last = at["rejections"][-1]
    why = "; ".join(f"{one['object']}: {one['reason']}" for one in last["failures"][:1])
    return f"{'was ' if last['over_at'] else ''}rejected{f': {why}' if why else ''}"


def _verb(operation: Mapping[str, Any]) -> str:
    if operation.get("after") is None:
        return "delete"
    return "change" if operation.get("before") is not None else "create"


def _changes(operation: Mapping[str, Any]) -> bool:
    return isinstance(operation.get("before"), dict) and isinstance(operation.get("after"), dict)


def _edit(operation: Mapping[str, Any]) -> dict[str, Any]:
    before, after = operation["before"], operation["after"]
    names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    differing = {name: {"before": before.get(name), "after": after.get(name)} for name in names}
    return {**operation, "op": "change", "fields": differing}
