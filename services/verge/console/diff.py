"""`verge diff 40 42 [--node nc-1]`, `verge view nc-1`: what lies between two revisions; what a node was meant to enforce."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from verge.console.arguments import Commands, Common, add, completes, moment, revision
from verge.console.console import Console
from verge.console.edits import edits_text
from verge.console.outcome import Exit
from verge.console.plan import view_lines
from verge.console.server import segment
from verge.console.tables import count, plain


def register(commands: Commands, common: Common) -> None:
    command = add(
        commands, common, "diff", "what lies between two revisions, of the network or of one node's view", run
    )
    completes(command.add_argument("start", metavar="FROM", type=revision), "revisions")
    completes(
        command.add_argument("end", metavar="TO", type=revision, nargs="?", help="the head unless told"), "revisions"
    )
    completes(
        command.add_argument("--node", metavar="NAME", help="what this node's view gained and lost, too"), "nodes"
    )
    view = add(commands, common, "view", "what a node is meant to enforce, or was, as JSON", run_view)
    completes(view.add_argument("node", metavar="NAME"), "nodes")
    then = view.add_mutually_exclusive_group()
    completes(then.add_argument("--revision", metavar="REV", type=revision, help="at this revision"), "revisions")
    then.add_argument("--at", metavar="TIME", type=moment, help="at this time: 2026-01-31T12:03:00Z, 12:03, 15m ago")


def run(given: Namespace, console: Console) -> Exit:
    found = console.server.ask("GET", "/v1/diff", params={"from": given.start, "to": given.end, "node": given.node})
    console.show(found, diff_text(found, colour=console.colour))
    return Exit.OK


def run_view(given: Namespace, console: Console) -> Exit:
    path = f"/v1/nodes/{segment(given.node)}/view"
    console.document(console.server.get(path, revision=given.revision, at=given.at))
    return Exit.OK


def diff_text(found: Mapping[str, Any], *, colour: bool) -> str:
    edits = found["objects"]
    between = f"between revision {found['from']} and {found['to']}"
    verb = "differs" if len(edits) == 1 else "differ"
    parts = [f"{count(len(edits), 'object')} {verb} {between}" if edits else f"nothing differs {between}"]
    parts += edits_text(edits, colour=colour)
    if "node" in found:
        name, etag = plain(found["node"]), found["etag"]
        if etag["after"] is None:
            parts.append(f"{name} is no node at revision {found['to']}")
        elif etag["before"] is None:
            parts.append(f"{name} is no node at revision {found['from']}")
        lines = view_lines(found["view"]) if found["view"] else []
        if lines:
            parts += [f"view of {name}", *(f"  {line}" for line in lines)]
        elif etag["after"] is not None:
            parts.append(f"the view of {name} is the same")
    return "\n".join(parts)
