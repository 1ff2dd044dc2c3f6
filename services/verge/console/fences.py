"""`verge fences`, `verge break-fence ADDRESS`: addresses held back until their old node has given them up."""

import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from verge.console.arguments import Commands, Common, add, completes
from verge.console.console import Console
from verge.console.outcome import Exit, Misused
from verge.console.server import segment
from verge.console.tables import count, listed, state, table


def register(commands: Commands, common: Common) -> None:
    add(
        commands,
        common,
        "fences",
        "addresses that wait for their old node",
        run_fences,
    )
    breaking = add(commands, common, "break-fence", "give such an address to its new node now", run_break)
    breaking.description = (
        "Give an address to its new node now, though the old one has not reported that it gave it up.\n"
        "Only for who knows that the old node does not use it: two nodes that answer for one address take each\n"
        "other's traffic. The change log names who did it. On a terminal it asks first."
    )
    completes(breaking.add_argument("address", metavar="ADDRESS"), "fences")
    breaking.add_argument("--yes", action="store_true", help="do not ask")


def run_fences(_: Namespace, console: Console) -> Exit:
    found = console.server.get("/v1/fences")
    console.show(found, fences_text(found, colour=console.colour))
    return Exit.OK


def run_break(given: Namespace, console: Console) -> Exit:
    if not given.yes and sys.stdin.isatty() and not _sure(given.address, console):
        raise Misused("not confirmed; the fence stands")
    answer = console.server.ask("DELETE", f"/v1/fences/{segment(given.address)}")
    affected = answer["affected"]
    done = f"the fence on {given.address} is broken: revision {answer['revision']}"
    console.show(answer, f"{done}; affects {count(len(affected), 'node')}{': ' if affected else ''}{listed(affected)}")
    return Exit.OK


def _sure(address: str, console: Console) -> bool:
    fence = next((one for one in console.server.get("/v1/fences")["fences"] if one["address"] == address), None)
    if fence is not None:
        console.remark(f"{address} was on {fence['from']} ({fence['from_state']}), and goes to {fence['to']}.")
    print(f"Does nothing on the old node answer for {address} any more? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def fences_text(found: Mapping[str, Any], *, colour: bool) -> str:
    if not found["fences"]:
        return "no address is held back"
    rows = [
        [
            one["address"],
            one["from"],
            state(one["from_state"]),
            one["to"],
            one["instance"],
            one["withdrawn_at"],
            one["since"],
        ]
        for one in found["fences"]
    ]
    header = ("address", "waits for", "which is", "goes to", "instance", "withdrawn at", "since")
    return table(header, rows, colour=colour, right=("withdrawn at", "since"))
