"""`verge nodes`, `verge node NAME`: what each node was told, what it has applied, and what is wrong there."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from verge.console.arguments import Commands, Common, add
from verge.console.console import Console
from verge.console.outcome import Exit
from verge.console.server import segment
from verge.console.standing import STATES
from verge.console.tables import Cell, Painted, duration, fields, milliseconds, plain, state, table, when


def register(commands: Commands, common: Common) -> None:
    many = add(commands, common, "nodes", "every node: state, versions, lag, last seen", run_nodes)
    many.add_argument("--state", choices=STATES, help="only nodes in this state")
    one = add(commands, common, "node", "one node: failures, instances, preflight, drift", run_node)
    one.add_argument("node", metavar="NAME", help="the node's name")


def run_nodes(given: Namespace, console: Console) -> Exit:
    found = console.server.get("/v1/nodes")
    if given.state:
        found["nodes"] = [one for one in found["nodes"] if one["state"] == given.state]
    console.show(found, nodes_text(found["nodes"], given.state, colour=console.colour))
    return Exit.OK


def run_node(given: Namespace, console: Console) -> Exit:
    found = console.server.get(f"/v1/nodes/{segment(given.node)}")
    console.show(found, node_text(found, colour=console.colour))
    return Exit.OK


def nodes_text(nodes: list[Mapping[str, Any]], wanted: str | None, *, colour: bool) -> str:
    if not nodes:
        return f"no node is {wanted}" if wanted else "the network has no nodes"
    rows: list[list[Cell]] = [
        [
            one["node"],
            one["zone"],
            one.get("address"),
            state(one["state"]),
            one["applied_version"],
            one["version"],
            one["lag_versions"],
            duration(one["lag_seconds"]),
            len(one["instances"]),
            when(one["last_seen"]),
            one["reason"] or "",
        ]
        for one in nodes
    ]
    header = (
        "node",
        "zone",
        "address",
        "state",
        "applied",
        "wanted",
        "behind",
        "lag",
        "instances",
        "last seen",
        "reason",
    )
    return table(header, rows, colour=colour, right=("applied", "wanted", "behind", "lag", "instances"))


def node_text(one: Mapping[str, Any], *, colour: bool) -> str:
    report = one.get("report") or {}
    agent = report.get("agent") or {}
    timings = [f"{name} {milliseconds(ms)}" for name, ms in (report.get("timings_ms") or {}).items()]
    pairs: list[tuple[str, Cell]] = [
        ("node", one["node"]),
        ("zone", one["zone"]),
        ("address", one.get("address")),
        ("state", state(one["state"])),
        ("reason", one["reason"]),
        ("applied", one["applied_version"]),
        ("wanted", one["version"]),
        ("attempted", one["attempted_version"]),
        ("lag", f"{one['lag_versions']} versions, {duration(one['lag_seconds'])}" if one["lag_versions"] else None),
        ("last seen", when(one["last_seen"])),
        ("agent", agent.get("version")),
        ("timings", ", ".join(timings) or None),
        ("sessions cut", report.get("sessions_cut") or None),
    ]
    parts = [fields(pairs, colour=colour)]
    if one["failures"]:
        rows: list[list[Cell]] = [[item["object"], item["stage"], item["reason"]] for item in one["failures"]]
        parts += ["", table(("failed object", "stage", "reason"), rows, colour=colour)]
    if one["instances"]:
        ready: list[list[Cell]] = [[name, state(how)] for name, how in one["instances"].items()]
        parts += ["", table(("instance", "readiness"), ready, colour=colour)]
    parts += _preflight(report, colour=colour)
    parts += _drift(report, colour=colour)
    return "\n".join(parts)


def _preflight(report: Mapping[str, Any], *, colour: bool) -> list[str]:
    checks = report.get("preflight") or []
    if not checks:
        return []
    rows: list[list[Cell]] = [
        [
            plain(one.get("check")),
            _verdict(one),
            one.get("found"),
            "" if one.get("ok") else one.get("needed"),
            "" if one.get("ok") else one.get("remedy"),
        ]
        for one in checks
    ]
    return ["", table(("preflight", "is", "found", "needed", "remedy"), rows, colour=colour)]


def _verdict(check: Mapping[str, Any]) -> Painted:
    """Failing keeps new views out, a warning does not."""
    if check.get("ok"):
        return Painted("ok", "green")
    return Painted("warning", "yellow") if check.get("severity") == "warning" else Painted("failing", "red")


def _drift(report: Mapping[str, Any], *, colour: bool) -> list[str]:
    drifts = report.get("drift") or []
    if not drifts:
        return []
    rows: list[list[Cell]] = [
        [when(one.get("at")), one.get("what"), one.get("culprit"), milliseconds(one.get("repaired_ms"))]
        for one in drifts
    ]
    return ["", table(("drift at", "what", "culprit", "repaired in"), rows, colour=colour, right=("repaired in",))]
