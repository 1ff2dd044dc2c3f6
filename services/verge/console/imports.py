"""`verge import network | gni | model FILE`: whole documents, the difference committed as one update."""

import argparse
from argparse import Namespace

from verge.console import documents
from verge.console.arguments import Commands, Common, add, add_commit
from verge.console.console import Console
from verge.console.outcome import Exit
from verge.console.writing import commit


def register(commands: Commands, common: Common) -> None:
    family = commands.add_parser(
        "import",
        help="take over a Eucalyptus document or a whole model",
        description="Take over a whole document: what differs from the network is committed as one update.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = family.add_subparsers(title="documents", metavar="DOCUMENT", dest="document", required=True)
    network = add(
        kinds, common, "network", "Eucalyptus' network.yaml or network.json: pools, subnets, clusters", run_network
    )
    gni = add(
        kinds, common, "gni", "a Eucalyptus global network information document (XML): the whole network", run_gni
    )
    model = add(kinds, common, "model", "a whole model (JSON), as `verge model` prints it", run_model)
    for command in (network, gni, model):
        command.add_argument("file", metavar="FILE", help="- reads standard input")
        if command is not network:
            command.add_argument("--force", action="store_true", help="even if it removes a good part of the instances")
        if command is not model:
            command.add_argument(
                "--prune", action="store_true", help="delete zones and nodes that it does not name, too"
            )
        add_commit(command)


def run_network(given: Namespace, console: Console) -> Exit:
    """Sent as it is, named for what it holds."""
    data = documents.read(given.file)
    language, _ = documents.parse(data, given.file)
    params = {"prune": "true" if given.prune else None}
    return commit(given, console, "PUT", "/v1/network", data, f"application/{language}", params)


def run_gni(given: Namespace, console: Console) -> Exit:
    data = documents.read(given.file)
    documents.require_xml(data, given.file)
    params = {"prune": "true" if given.prune else None, "force": "true" if given.force else None}
    return commit(given, console, "PUT", "/v1/model", data, "application/xml", params)


def run_model(given: Namespace, console: Console) -> Exit:
    data = documents.read(given.file)
    content = documents.to_json(documents.parse_json(data, given.file), given.file)
    return commit(
        given, console, "PUT", "/v1/model", content, "application/json", {"force": "true" if given.force else None}
    )
