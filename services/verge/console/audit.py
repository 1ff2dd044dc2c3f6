"""`verge audit`: who did what to which object, and when; from the change log, newest first."""

from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any, Final

from verge.console.arguments import Commands, Common, add, completes, moment, revision
from verge.console.console import Console
from verge.console.edits import field_lines
from verge.console.outcome import Exit
from verge.console.tables import Cell, table, when

PAGE: Final = 200
_WORDS: Final = {"create": "created", "change": "changed", "delete": "deleted"}


def register(commands: Commands, common: Common) -> None:
    command = add(commands, common, "audit", "who did what to which object, and when", run)
    filters(command)
    command.add_argument("--limit", type=revision, metavar="N", default=50, help="so many changes; 50 unless told")


def filters(command: Any) -> None:
    """What picks changes out of the log."""
    object_ = command.add_argument("--object", metavar="KIND/ID", help="that touched this object: instance/i-1a2b3c4d")
    completes(object_, "objects")
    command.add_argument("--actor", metavar="WHO", help="by this actor, as the log names it: cloud clc")
    completes(command.add_argument("--node", metavar="NAME", help="that affect this node's view"), "nodes")
    command.add_argument(
        "--since", metavar="TIME", type=moment, help="then or later: 2026-01-31T12:03:00Z, 12:03, 2h ago"
    )
    command.add_argument("--until", metavar="TIME", type=moment, help="earlier")


def asked(given: Namespace) -> dict[str, str | float | None]:
    """The filters, as the server takes them."""
    return {name: getattr(given, name) for name in ("object", "actor", "node", "since", "until")}


def run(given: Namespace, console: Console) -> Exit:
    entries = list(_entries(given, console))
    console.show({"entries": entries}, audit_text(entries, colour=console.colour))
    return Exit.OK


def _entries(given: Namespace, console: Console) -> Iterator[dict[str, Any]]:
    """One for each object that a change touched."""
    before, left = None, given.limit
    while left > 0:
        page = console.server.ask(
            "GET", "/v1/updates", params={**asked(given), "before": before, "limit": min(left, PAGE), "values": "true"}
        )
        for change in page["updates"]:
            of_change = {name: change[name] for name in ("revision", "at", "actor", "caused_by")}
            for one in change["operations"] if change["recorded"] else _unrecorded(change):
                if given.object is None or given.object == f"{one['kind']}/{one['id']}" or _section(given.object, one):
                    yield {**of_change, **one}
        left -= len(page["updates"])
        before = page["next_before"]
        if before is None:
            return


def _section(wanted: str, one: Mapping[str, Any]) -> bool:
    """`instances/i-1` is `instance/i-1`, too."""
    return wanted == f"{one['kind']}s/{one['id']}"


def _unrecorded(change: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of a change whose record is gone its summary still names objects."""
    return [dict(zip(("kind", "id"), name.split("/", 1), strict=True), op=None) for name in change.get("objects") or ()]


def audit_text(entries: list[dict[str, Any]], *, colour: bool) -> str:
    if not entries:
        return "no such change is on record"
    rows: list[list[Cell]] = []
    for one in entries:
        lines = field_lines(one, colour=False) if one["op"] == "change" else [""]
        verb = _WORDS.get(one["op"], "touched")
        what = lines[0] if lines else ""
        rows.append([one["revision"], when(one["at"]), one["actor"], verb, f"{one['kind']}/{one['id']}", what])
        rows += [["", "", "", "", "", line] for line in lines[1:]]
    return table(("revision", "at", "who", "did", "object", "what"), rows, colour=colour, right=("revision",))
