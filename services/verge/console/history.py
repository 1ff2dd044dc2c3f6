"""`verge changes`: who changed what and when, and how long it took to be in force; with --follow, as it happens."""

import json
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from verge.console.arguments import Commands, Common, add, revision
from verge.console.audit import asked, filters
from verge.console.console import Console
from verge.console.outcome import Exit, Unreachable
from verge.console.tables import Cell, Painted, count, listed, milliseconds, plain, table, when
from verge.console.watch import AGAIN_S, news

NAMED = 3
"""Objects of a change named in a list of changes; above that they are counted by kind."""


def register(commands: Commands, common: Common) -> None:
    many = add(commands, common, "changes", "the change log, newest first", run_changes)
    many.add_argument("--limit", type=revision, metavar="N", default=20, help="so many; 20 unless told")
    many.add_argument("--before", type=revision, metavar="REV", help="only revisions below this one")
    many.add_argument("--follow", action="store_true", help="go on with each new one, oldest first, until interrupted")
    filters(many)


def run_changes(given: Namespace, console: Console) -> Exit:
    found = console.server.ask(
        "GET", "/v1/updates", params={**asked(given), "limit": given.limit, "before": given.before}
    )
    if given.follow:
        return _follow(given, console, found["updates"])
    console.show(found, changes_text(found, colour=console.colour))
    return Exit.OK


def _follow(given: Namespace, console: Console, latest: Sequence[Mapping[str, Any]]) -> Exit:
    """The latest, then each new one when the events tell that there is one; a server that goes away is asked again."""
    last = 0
    wake = news(console)
    while True:
        for one in sorted(latest, key=lambda each: int(each["revision"])):
            last = max(last, one["revision"])
            print(json.dumps(one) if console.json else line(one), flush=True)
        head = next(wake)
        latest = _since(given, console, min(last, head), head) if head > last else []
        last = max(last, head)


def _since(given: Namespace, console: Console, last: int, head: int) -> list[dict[str, Any]]:
    """The changes above `last`, up to `head`, that the filters pick."""
    found: list[dict[str, Any]] = []
    before: int | None = head + 1
    while before is not None and before > last + 1:
        params = {**asked(given), "before": before, "limit": min(200, before - last - 1)}
        try:
            page = console.server.ask("GET", "/v1/updates", params=params)
        except Unreachable as gone:
            console.remark(f"verge: {gone}")
            time.sleep(AGAIN_S)
            continue
        found += [one for one in page["updates"] if one["revision"] > last]
        before = page["next_before"]
    return found


def line(one: Mapping[str, Any]) -> str:
    """A change on one line."""
    caused = f" (caused by {one['caused_by']})" if one.get("caused_by") else ""
    affects = f"affects {count(len(one['affected']), 'node')}" if one["affected"] else "affects no node"
    return plain(f"{one['revision']}  {when(one['at'])}  {one['actor']}  {what(one['operations'])}{caused}; {affects}")


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
        return ", ".join(f"{one['op']} {one['kind']} {one['id']}" for one in operations) or "nothing"
    kinds = Counter((str(one["op"]), str(one["kind"])) for one in operations)
    return listed([f"{verb} {count(number, kind)}" for (verb, kind), number in kinds.most_common()], NAMED)
