"""What every route that changes the network takes and answers: one request, committed once, and waited for if asked."""

import asyncio
import hashlib
import re
import time
from typing import Annotated, Any

from fastapi import Header, Query, Request

from viewserver.api.barrier import wait_for, wait_settled
from viewserver.api.context import Json, Server
from viewserver.credentials import Caller
from viewserver.errors import Malformed
from viewserver.model.blast import NO_LIMITS, Limit, Limits
from viewserver.model.faults import Fault
from viewserver.update import Check
from viewserver.update import Request as Update

IfMatch = Annotated[str | None, Header(description='`"<revision>"`: 412 if the head has moved.')]
IdempotencyKey = Annotated[
    str | None,
    Header(
        description="The same key and request again returns the first answer; with another request it is 422.",
        max_length=255,
    ),
]
DryRun = Annotated[
    bool, Query(description="Check everything, keep nothing; answers each affected node's view difference.")
]
MaxNodes = Annotated[
    str | None,
    Query(
        alias="max_nodes",
        description="409 if more nodes' views would change: `10`, `10%` of all nodes, or `10,10%`, whichever is more.",
    ),
]
MaxLoss = Annotated[
    str | None,
    Query(
        alias="max_loss",
        description="409 if more instances would lose ingress, those removed included: `20`, `10%`, or `20,10%`.",
    ),
]
Wait = Annotated[str | None, Query(pattern="^applied$", description="Answer when every affected node has applied it.")]
Timeout = Annotated[float, Query(alias="timeout", ge=0, description="Seconds; the longest wait is 60.")]


def update_of(
    caller: Caller,
    request: Request,
    body: bytes,
    operations: Check,
    idempotency_key: str | None,
    if_match: str | None,
    limits: Limits = NO_LIMITS,
) -> Update:
    """Raises Malformed for headers that are not what they should be."""
    if idempotency_key is not None and not (idempotency_key and idempotency_key.isprintable()):
        raise Malformed((Fault(("header", "idempotency-key"), "must be 1 to 255 printable characters"),))
    digest = hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + body).digest()
    return Update(
        caller.actor, operations, caller.token_id, idempotency_key, digest, _revision(if_match), limits=limits
    )


def limits_of(max_nodes: str | None, max_loss: str | None) -> Limits:
    """Raises Malformed."""
    found: dict[str, Limit | None] = {"max_nodes": None, "max_loss": None}
    faults = []
    for name, text in (("max_nodes", max_nodes), ("max_loss", max_loss)):
        try:
            found[name] = None if text is None else Limit.parse(text)
        except ValueError as wrong:
            faults.append(Fault(("query", name), str(wrong)))
    if faults:
        raise Malformed(tuple(faults))
    return Limits(found["max_nodes"], found["max_loss"])


def _revision(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    found = re.fullmatch(r'(?:W/)?"(\d{1,18})"', if_match.strip())
    if found is None:
        raise Malformed((Fault(("header", "if-match"), 'must be a revision in quotes: "42"'),))
    return int(found[1])


async def answer_to(
    server: Server,
    update: Update,
    dry_run: bool,
    wait: str | None,
    patience: float,
    always: dict[str, Any] | None = None,
) -> Json:
    """Commit it, or try it; `patience` in seconds. `always` is said where the answer itself does not say it. Raises what
    `Updates.commit` and `Updates.dry_run` raise."""
    always = always or {}
    if dry_run:
        return Json(always | await asyncio.to_thread(server.updates.dry_run, update))
    began = time.monotonic()
    answer = await server.updates.commit(update)
    wire = always | answer.to_wire()
    if wait is not None:
        deadline = began + min(patience, server.settings.max_wait_s)
        if answer.changed:
            barrier = await wait_for(server, answer.revision, deadline)
        else:
            barrier = await wait_settled(server, answer.revision, answer.concerned, deadline)
        wire |= barrier.to_wire() | {"affected": wire["affected"]}
    headers = {
        "location": f"/v1/updates/{answer.revision}",
        "verge-revision": f"{answer.epoch}.{answer.revision}",
        "etag": f'"{answer.revision}"',
        "server-timing": f"commit;dur={answer.commit_ms:.2f}",
    }
    return Json(wire, headers=headers)
