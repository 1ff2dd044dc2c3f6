"""`verge nodes`, `verge node NAME`: what each node was told, what it has applied, and what is wrong there."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from verge.console.arguments import Commands, Common, add, completes, moment, revision
from verge.console.console import Console
from verge.console.outcome import Exit
from verge.console.server import segment
from verge.console.standing import STATES
from verge.console.tables import Cell, Painted, duration, fields, milliseconds, plain, state, table, when


def register(commands: Commands, common: Common) -> None:
    many = add(commands, common, "nodes", "every node: state, versions, lag, last seen", run_nodes)
    many.add_argument("--state", choices=STATES, help="only nodes in this state")
    one = add(commands, common, "node", "one node: failures, instances, preflight, drift, history", run_node)
    completes(one.add_argument("node", metavar="NAME", help="the node's name"), "nodes")
    one.add_argument("--at", metavar="TIME", type=moment, help="what it enforced then, and which change made it so")
    one.add_argument(
        "--history", metavar="N", type=revision, default=5, help="so many of its last states; 5 unless told"
    )


def run_nodes(given: Namespace, console: Console) -> Exit:
    found = console.server.get("/v1/nodes")
    if given.state:
        found["nodes"] = [one for one in found["nodes"] if one["state"] == given.state]
    console.show(found, nodes_text(found["nodes"], given.state, colour=console.colour))
    return Exit.OK


def run_node(given: Namespace, console: Console) -> Exit:
    path = f"/v1/nodes/{segment(given.node)}"
    if given.at:
        then = console.server.get(f"{path}/history", at=given.at)
        console.show(then, enforced_text(then, given.at, colour=console.colour))
        return Exit.OK
    found = console.server.get(path)
    if given.history:
        found["history"] = console.server.get(f"{path}/history", limit=given.history)["history"]
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
    parts += _history(one.get("history") or [], colour=colour)
    return "\n".join(parts)


def enforced_text(found: Mapping[str, Any], at: str, *, colour: bool) -> str:
    """What a node enforced at a time; of the answer to `GET /v1/nodes/{n}/history?at=`."""
    name = plain(found["node"])
    if not found["history"]:
        return f"what {name} enforced at {when(at)} is not known: it had told nothing, or that is no longer kept"
    one = found["history"][0]
    change = one["change"]
    pairs: list[tuple[str, Cell]] = [
        ("node", name),
        ("at", when(at)),
        ("enforced", f"version {one['version']}" if one["version"] else "nothing of its views yet"),
        ("state", state(one["state"])),
        ("from", when(one["from"])),
        ("until", when(one["until"]) if one["until"] else "now"),
        (
            "made so by",
            None if change is None else f"revision {change['revision']}, {change['actor']}, {when(change['at'])}",
        ),
        ("in force after", milliseconds(one["ms"]) if one["ms"] is not None else None),
        ("attempted", one["attempted"] if one["state"] == "rejected" else None),
        ("failures", "; ".join(f"{each['object']}: {each['reason']}" for each in one["failures"]) or None),
    ]
    shown = fields(pairs, colour=colour)
    return shown + (f"\n\nverge view {name} --revision {one['version']} shows it" if one["version"] else "")


def _history(spans: list[Mapping[str, Any]], *, colour: bool) -> list[str]:
    if not spans:
        return []
    rows: list[list[Cell]] = [
        [
            when(one["from"]),
            one["version"],
            state(_STANDING.get(one["state"], one["state"])),
            (one["change"] or {}).get("actor"),
            milliseconds(one["ms"]),
            "; ".join(each["reason"] for each in one["failures"][:2]),
        ]
        for one in spans
    ]
    header = ("enforced from", "version", "state", "changed by", "after", "reason")
    return ["", table(header, rows, colour=colour, right=("version", "after"))]


_STANDING = {"applied": "converged"}
"""What nodes report, in the word and colour of standings."""


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
