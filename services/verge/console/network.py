"""`verge network`, `verge model`: what is intended, for people and whole."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from verge.console.arguments import Commands, Common, add, completes, moment, revision
from verge.console.console import Console
from verge.console.outcome import Exit
from verge.console.tables import Cell, count, fields, table


def register(commands: Commands, common: Common) -> None:
    for name, summary, run in (
        ("network", "the network's settings and its zones", run_network),
        ("model", "the whole network as JSON, now or as it was", run_model),
    ):
        command = add(commands, common, name, summary, run)
        then = command.add_mutually_exclusive_group()
        completes(
            then.add_argument("--revision", metavar="REV", type=revision, help="as it was at this revision"),
            "revisions",
        )
        then.add_argument(
            "--at", metavar="TIME", type=moment, help="as it was then: 2026-01-31T12:03:00Z, 12:03, 15m ago"
        )


def run_network(given: Namespace, console: Console) -> Exit:
    """`--json`: the part of the model that is shown."""
    found = console.server.get("/v1/model", revision=given.revision, at=given.at)
    part = {name: found[name] for name in ("revision", "network", "zones")}
    console.show(part, network_text(found, colour=console.colour))
    return Exit.OK


def run_model(given: Namespace, console: Console) -> Exit:
    console.document(console.server.get("/v1/model", revision=given.revision, at=given.at))
    return Exit.OK


def network_text(model: Mapping[str, Any], *, colour: bool) -> str:
    instances, addresses = model["instances"], model["elastic_ips"]
    used = sum(1 for one in addresses.values() if one["instance"])
    pairs: list[tuple[str, Cell]] = [("revision", model["revision"])]
    if model["network"] is None:
        pairs.append(("network", "not described yet: verge import network FILE, or put it with verge apply"))
    pairs += [(name, _value(value)) for name, value in (model["network"] or {}).items()]
    held = [
        count(len(model["nodes"]), "node"),
        count(len(instances), "instance"),
        count(len(model["groups"]), "group"),
        f"{count(len(addresses), 'elastic IP')} ({used:,} in use)",
    ]
    pairs.append(("holds", ", ".join(held)))
    parts = [fields(pairs, colour=colour)]
    if model["zones"]:
        nodes = {name: one["zone"] for name, one in model["nodes"].items()}
        rows: list[list[Cell]] = [
            [
                name,
                zone["subnet"],
                zone["gateway"],
                " ".join(zone["private_ips"]),
                sum(1 for where in nodes.values() if where == name),
                sum(1 for one in instances.values() if (nodes.get(one["node"]) or one.get("zone")) == name),
            ]
            for name, zone in model["zones"].items()
        ]
        header = ("zone", "subnet", "gateway", "private ips", "nodes", "instances")
        parts += ["", table(header, rows, colour=colour, right=("nodes", "instances"))]
    return "\n".join(parts)


def _value(value: Any) -> str:
    """A setting on one line."""
    match value:
        case None:
            return "not set"
        case dict():
            return ", ".join(f"{name} {_value(one)}" for name, one in value.items())
        case list():
            return " ".join(str(one) for one in value) or "none"
        case _:
            return str(value)
