"""What an update would do, in words: the server's answer to a dry run. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from verge.console.edits import edits_text, lost_words
from verge.console.tables import Cell, Painted, count, listed, paint, plain, table

MOST: Final = 20
"""Nodes and instances told one by one; `--json` has all."""


def plan_text(answer: Mapping[str, Any], *, colour: bool) -> str:
    """Of the answer to `?dry_run=true`: the objects, who loses ingress, and what each affected node's view gains and loses."""
    if not answer["changed"]:
        return f"nothing would change: at revision {answer['revision']} the network is as asked"
    affected, total = answer["affected"], answer["nodes_total"]
    parts = [
        f"would follow revision {answer['revision']}, and affect {count(len(affected), 'node')} of {total:,}",
        *edits_text(answer["objects"], colour=colour),
    ]
    parts += _losing(answer, colour=colour)
    views = answer.get("views") or {}
    for node in list(views)[:MOST]:
        parts.append(f"view of {plain(node)}")
        parts += [f"  {line}" for line in view_lines(views[node])]
    if len(views) > MOST:
        parts.append(f"and of {len(views) - MOST:,} nodes more: {listed(list(views)[MOST:])}")
    for one in answer.get("exceeded") or []:
        parts.append(paint(Painted(f"too far: {one}", "red"), colour=colour))
    return "\n".join(parts)


def _losing(answer: Mapping[str, Any], *, colour: bool) -> list[str]:
    losing = answer["losing_ingress"]
    if not losing:
        return ["no instance would lose ingress"]
    rows: list[list[Cell]] = []
    for one in losing[:MOST]:
        lines = lost_words(one["lost"])
        if one["addresses"]:
            lines.append(f"all by {', '.join(one['addresses'])}")
        for at, line in enumerate(lines or [""]):
            rows.append([one["instance"], one["node"], one["why"], line] if at == 0 else ["", "", "", line])
    verdict = f"{count(len(losing), 'instance')} of {answer['instances_total']:,} would lose ingress"
    shown = [
        paint(Painted(verdict, "red"), colour=colour),
        table(("instance", "node", "why", "loses"), rows, colour=colour),
    ]
    return shown + ([f"and {len(losing) - MOST:,} more"] if len(losing) > MOST else [])


def view_lines(view: Mapping[str, Any]) -> list[str]:
    """Of a delta: what it sets and unsets by name, members by number."""
    lines = []
    for word in ("set", "unset"):
        for section, found in (view.get(word) or {}).items():
            named = section in ("instances", "groups", "members")
            lines.append(f"{word:<7} {section}" + (f": {listed(list(found))}" if named else ""))
    for group, edit in (view.get("members") or {}).items():
        each = [
            f"+{len(edit['add']):,}" if edit.get("add") else "",
            f"-{len(edit['remove']):,}" if edit.get("remove") else "",
        ]
        lines.append(f"members {plain(group)}: {' '.join(one for one in each if one) or 'visible'}")
    return lines
