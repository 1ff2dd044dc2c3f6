"""`verge wait`, and what every command that commits an update has in common with it.

A commit carries an idempotency key, one of its own unless the operator gave one. So a request whose answer got lost is sent
again, and it is still one update.
"""

import time
import uuid
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from verge.console.arguments import WAIT_S, Commands, Common, add, add_accepted, completes, revision, seconds
from verge.console.barrier import Waited, Wanted, wait_in_force, wait_settled
from verge.console.console import Console
from verge.console.outcome import Exit, Unreachable
from verge.console.plan import plan_text
from verge.console.standing import barrier_text
from verge.console.tables import count, listed, plain

TRIES = 4
BETWEEN_S = 0.5


def register(commands: Commands, common: Common) -> None:
    wait = add(commands, common, "wait", "wait until a revision is in force everywhere", run_wait)
    wait.description = (
        "Wait until every node that the revision affects has applied it. A revision still to come is waited for.\n"
        "Exit code 0 when it is in force, 3 when the deadline passes first; then it names who has not applied it and why."
    )
    completes(wait.add_argument("revision", metavar="REV", type=revision), "revisions")
    wait.add_argument("--timeout", type=seconds, metavar="S", default=WAIT_S, help=f"seconds; {WAIT_S:.0f} unless told")
    add_accepted(wait)


def run_wait(given: Namespace, console: Console) -> Exit:
    waited = wait_in_force(console, _wanted(given, given.revision, given.timeout))
    console.show(waited.document, _waited_text(f"revision {given.revision}", waited, console))
    return waited.exit


def commit(
    given: Namespace,
    console: Console,
    method: str,
    path: str,
    content: bytes,
    media_type: str,
    params: Mapping[str, str | None] | None = None,
) -> Exit:
    """Send it, say what it did, and wait if told to; `given` has the arguments of `add_commit`.

    Warnings in the answer go to standard error. Raises ConsoleError.
    """
    headers = {"content-type": media_type, "idempotency-key": given.key or f"verge-{uuid.uuid4()}"}
    if given.if_match is not None:
        headers["if-match"] = f'"{given.if_match}"'
    params = {**(params or {}), "dry_run": "true" if given.dry_run else None}
    answer = _send(console, method, path, content, headers, params)
    for warning in answer.get("warnings") or []:
        console.remark(f"warning: {plain(_said(warning))}")
    if given.dry_run:
        console.show(answer, plan_text(answer, colour=console.colour))
        return _planned(answer, console)
    if not console.json:
        print(committed_text(answer), flush=True)
    if given.wait is None:
        if console.json:
            console.document(answer)
        return Exit.OK
    return _wait(given, console, answer)


def _send(
    console: Console,
    method: str,
    path: str,
    content: bytes,
    headers: Mapping[str, str],
    params: Mapping[str, str | None],
) -> dict[str, Any]:
    """Again, where the answer got lost: the key makes that safe."""
    for tries_left in reversed(range(TRIES)):
        try:
            answer: dict[str, Any] = console.server.ask(method, path, params=params, headers=headers, content=content)
        except Unreachable as lost:
            if not lost.received:
                raise
            if not tries_left:
                key = headers["idempotency-key"]
                raise Unreachable(
                    f"{lost} It may have been committed; --key {key} makes sending it again safe."
                ) from lost
            time.sleep(BETWEEN_S)
        else:
            return answer
    raise AssertionError("the last try returns or raises")


def _planned(answer: Mapping[str, Any], console: Console) -> Exit:
    if answer.get("exceeded"):
        console.remark(
            "verge: it reaches further than it may, and would be refused; see --max-nodes, --max-loss, --force"
        )
        return Exit.REFUSED
    if answer["changed"]:
        console.remark(
            f"nothing was kept; --if-match {answer['revision']} makes sure that it is this plan which is carried out"
        )
    return Exit.OK


def _said(warning: Any) -> str:
    """`{"pointer", "message"}`, as a fault is; anything else as it is."""
    if isinstance(warning, Mapping) and "message" in warning:
        return f"{warning.get('pointer') or 'the whole'}: {warning['message']}"
    return str(warning)


def _wait(given: Namespace, console: Console, answer: Mapping[str, Any]) -> Exit:
    wanted = _wanted(given, answer["revision"], given.wait)
    try:
        waited = (wait_in_force if answer["changed"] else wait_settled)(console, wanted)
    except KeyboardInterrupt:
        console.remark(f"revision {answer['revision']} is committed; verge wait {answer['revision']} goes on waiting")
        raise
    what = f"revision {answer['revision']}" if answer["changed"] else "the network as asked"
    document = {**answer, **waited.document, "affected": answer["affected"]}
    console.show(document, _waited_text(what, waited, console))
    return waited.exit


def _wanted(given: Namespace, number: int, timeout_s: float) -> Wanted:
    return Wanted(number, timeout_s, given.quorum, given.allow_degraded)


def _waited_text(what: str, waited: Waited, console: Console) -> str:
    return barrier_text(waited.document, what, waited.seconds, waited.exit, colour=console.colour)


def committed_text(answer: Mapping[str, Any]) -> str:
    if not answer["changed"]:
        return f"nothing changed: at revision {answer['revision']} the network is as asked"
    affected = answer["affected"]
    nodes = f"affects {count(len(affected), 'node')}: {listed(affected)}" if affected else "affects no node"
    return f"revision {answer['revision']} committed; {nodes}"
