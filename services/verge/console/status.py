"""`verge status`: has the network converged, and if not, who keeps it."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from verge.console.arguments import Commands, Common, add
from verge.console.console import Console
from verge.console.outcome import Exit
from verge.console.standing import MOST, STATES, laggards
from verge.console.tables import Cell, Painted, count, duration, listed, paint, plain, state, table


def register(commands: Commands, common: Common) -> None:
    command = add(commands, common, "status", "has the network converged; who is behind and why", run)
    command.description = (
        "Has the network converged, and if not, who keeps it?\n"
        "Head revision, nodes by state, lag, and every laggard by name with the reason.\n"
        "Exit code 0 when every node has applied what it is meant to enforce, 1 when not."
    )


def run(_: Namespace, console: Console) -> Exit:
    found = console.server.get("/v1/convergence")
    console.show(found, text(found, colour=console.colour))
    return Exit.OK if found["converged"] else Exit.NO


def text(found: Mapping[str, Any], *, colour: bool) -> str:
    """Of the answer to `GET /v1/convergence`."""
    parts = [
        f"revision {found['revision']}  {paint(_verdict(found), colour=colour)}",
        f"nodes     {_counts(found['nodes'], colour=colour)}",
    ]
    lag = found["lag"]
    if lag["versions"]["max"] is not None:
        marks = ("p50", "p90", "p99", "max")
        rows: list[list[Cell]] = [
            ["versions", *(lag["versions"][mark] for mark in marks)],
            ["time", *(duration(lag["seconds"][mark]) for mark in marks)],
        ]
        parts += ["", table(("lag", *marks), rows, colour=colour, right=marks)]
    if len(found["zones"]) > 1:
        parts += ["", _zones(found["zones"], colour=colour)]
    if found["laggards"]:
        parts += ["", laggards(found["laggards"], colour=colour)]
        unnamed = found.get("laggards_total", 0) - len(found["laggards"][:MOST])
        parts += [f"and {unnamed:,} more: verge nodes"] if unnamed > 0 else []
    if found.get("never_seen"):
        parts += ["", f"never seen, and hosting nothing: {listed(found['never_seen'])}"]
    return "\n".join(parts)


def _verdict(found: Mapping[str, Any]) -> Painted:
    nodes, unwell = found["nodes"], found.get("laggards_total", len(found["laggards"]))
    if not found["converged"]:
        return Painted(f"not converged: {count(unwell, 'node')} of {nodes['total']:,} behind, failing or silent", "red")
    if unwell:
        return Painted(f"converged, but {count(unwell, 'node')} of {nodes['total']:,} not heard of", "yellow")
    return Painted("converged", "green")


def _counts(nodes: Mapping[str, int], *, colour: bool) -> str:
    each = [(name, nodes.get(name.replace("-", "_"), 0)) for name in STATES]
    named = [paint(Painted(f"{number:,} {name}", state(name).colour), colour=colour) for name, number in each if number]
    return " · ".join([f"{nodes['total']:,}", *named])


def _zones(zones: Mapping[str, Any], *, colour: bool) -> str:
    rows: list[list[Cell]] = [
        [
            plain(name),
            *(zone["nodes"].get(column.replace("-", "_"), 0) for column in ("total", *STATES)),
            zone["lag"]["versions"]["max"],
            duration(zone["lag"]["seconds"]["max"]),
        ]
        for name, zone in zones.items()
    ]
    header = ("zone", "nodes", *STATES, "max versions", "max lag")
    return table(header, rows, colour=colour, right=header[1:])
