"""`verge apply FILE`: objects as they shall be, by difference, or operations; `--plan` shows what it would do.

A file is either a part of the network, in the shape that `verge model` prints,

    groups:    {sg-web: {name: web, account: "000111222333", ingress: [{protocol: icmp, cidr: 0.0.0.0/0}]}}
    instances: {i-99aa0001: null}                        null deletes

or `{"operations": […]}`. What a part does not name stays, unless pruned. An update that reaches further than the limits is
refused by the server, under the lock under which it would be committed.
"""

from argparse import Namespace
from typing import Any, Final

from verge.console import documents
from verge.console.arguments import Commands, Common, add, add_commit, limit
from verge.console.console import Console
from verge.console.outcome import Exit, Fault, Misused, Refused
from verge.console.writing import commit

MAX_NODES: Final = "10,10%"
MAX_LOSS: Final = "20"
_SECTIONS: Final = ("network", "zones", "nodes", "groups", "instances", "elastic_ips")


def register(commands: Commands, common: Common) -> None:
    command = add(commands, common, "apply", "make the network what a file says: all of it, or nothing", run)
    command.description = (
        "Make what a file names what it says, by difference; what it does not name stays. Sections and objects as\n"
        '`verge model` prints them, null deletes an object; or {"operations": […]}. JSON or YAML.\n'
        "Every fault is named with its place, and then nothing is kept. The same file again changes nothing."
    )
    command.epilog = (
        "An update that affects more nodes, or takes ingress from more instances, than the limits allow is refused (exit\n"
        "code 2) unless forced. --plan shows both, and the revision: --if-match REV applies it only while that is the head."
    )
    command.add_argument("file", metavar="FILE", help="JSON or YAML; - reads standard input")
    command.add_argument("--plan", action="store_true", dest="dry_run", help="show what it would do, and keep nothing")
    command.add_argument(
        "--prune", action="store_true", help="delete what the file does not name, of the sections that it has"
    )
    most = command.add_argument_group("limits", "N, P%% of all there are, or N,P%%: whichever is more")
    most.add_argument(
        "--max-nodes",
        type=limit,
        metavar="N",
        default=MAX_NODES,
        help=f"nodes affected ({MAX_NODES})".replace("%", "%%"),
    )
    most.add_argument(
        "--max-loss", type=limit, metavar="N", default=MAX_LOSS, help=f"instances that lose ingress ({MAX_LOSS})"
    )
    most.add_argument("--force", action="store_true", help="no limits")
    add_commit(command)


def run(given: Namespace, console: Console) -> Exit:
    data = documents.read(given.file)
    language, found = documents.parse(data, given.file)
    content = documents.to_json(found, given.file)
    limits = {} if given.force else {"max_nodes": given.max_nodes, "max_loss": given.max_loss}
    try:
        if _is_part(found):
            flags = {"prune": "true" if given.prune else None, "force": "true" if given.force else None}
            return commit(given, console, "PATCH", "/v1/model", content, "application/json", {**limits, **flags})
        if given.prune:
            raise Misused(f"--prune takes sections of objects; {documents.called(given.file)} holds operations")
        return commit(given, console, "POST", "/v1/updates", content, "application/json", limits)
    except Refused as refused:
        if language == "yaml" and refused.faults:
            raise _placed(refused, data, given.file) from refused
        raise


def _is_part(found: Any) -> bool:
    """Does the file name sections? What names neither them nor operations is the server's to refuse, as an update."""
    return isinstance(found, dict) and "operations" not in found and any(name in found for name in _SECTIONS)


def _placed(refused: Refused, data: bytes, name: str) -> Refused:
    """With the line of each fault."""
    place = documents.places(data, name)
    faults = tuple(Fault(one.pointer, one.message, place(one.pointer)) for one in refused.faults)
    return Refused(refused.status, str(refused), faults, refused.problem)
