"""`verge token create | list | revoke`: credentials. For admins."""

import argparse
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from verge.console.arguments import Commands, Common, add, completes
from verge.console.console import Console
from verge.console.documents import to_json
from verge.console.outcome import Exit, Misused
from verge.console.server import segment
from verge.console.tables import plain, table, when

ROLES = ("cloud", "operator", "node", "admin")


def register(commands: Commands, common: Common) -> None:
    family = commands.add_parser(
        "token",
        help="make, list and revoke credentials",
        description="Credentials of cloud controllers, operators and nodes. Takes an admin's token.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = family.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    create = add(actions, common, "create", "make a token, which is printed once and kept nowhere", run_create)
    create.description = (
        "Make a token. It alone is printed on standard output, once, and is kept nowhere:\n"
        "  verge token create --role node --node nc-1 >nc-1.token"
    )
    create.add_argument("--role", required=True, choices=ROLES)
    completes(create.add_argument("--node", metavar="N", help="whose it is; with --role node"), "nodes")
    create.add_argument("--name", metavar="X", help="how the change log names its bearer")
    add(actions, common, "list", "valid tokens, without their secrets", run_list)
    revoke = add(actions, common, "revoke", "make a token worthless", run_revoke)
    revoke.add_argument("id", metavar="ID", help="as `verge token list` shows it")


def run_create(given: Namespace, console: Console) -> Exit:
    if (given.role == "node") != (given.node is not None):
        raise Misused("--role node needs --node N, and no other role takes one")
    wanted = {"role": given.role, "node": given.node, "name": given.name}
    content = to_json({name: value for name, value in wanted.items() if value is not None}, "token")
    answer = console.server.ask("POST", "/v1/tokens", content=content, headers={"content-type": "application/json"})
    if not console.json:
        console.remark(f"token {plain(answer['id'])}, role {given.role}; it is not shown again:")
    console.show(answer, plain(answer["token"]))
    return Exit.OK


def run_list(_: Namespace, console: Console) -> Exit:
    found = console.server.get("/v1/tokens")
    console.show(found, tokens_text(found, colour=console.colour))
    return Exit.OK


def run_revoke(given: Namespace, console: Console) -> Exit:
    console.server.ask("DELETE", f"/v1/tokens/{segment(given.id)}")
    console.show({"id": given.id, "revoked": True}, f"token {given.id} is revoked")
    return Exit.OK


def tokens_text(found: Mapping[str, Any], *, colour: bool) -> str:
    rows = [[one["id"], one["role"], one["node"], one["name"], when(one["created_at"])] for one in found["tokens"]]
    return table(("id", "role", "node", "name", "created"), rows, colour=colour)
