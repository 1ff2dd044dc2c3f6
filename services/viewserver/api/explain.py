"""Why may this packet pass, or not, and is that so on both nodes?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query

from viewserver.api.context import CallerOf, Json, Server, ServerOf
from viewserver.api.history import network_at
from viewserver.errors import Malformed
from viewserver.explain.enforced import Enforced, Seen, enforced, withdrawals
from viewserver.explain.question import Question, Unasked, read_message
from viewserver.explain.since import Step, since
from viewserver.explain.summary import reason, summary
from viewserver.explain.verdict import Explanation, explain
from viewserver.model.convergence import Facts
from viewserver.model.faults import Fault
from viewserver.model.network import Network
from viewserver.replica import Replica
from viewserver.store import StoreError
from viewserver.store.network import last_changed

router = APIRouter(tags=["reading"])

_END = "An instance's id, a node's name, or an address: an elastic IP, a private one, or any other."


@router.get("/v1/explain", summary="May it pass, why, and is that in force at both ends?")
async def get_explain(
    server: ServerOf,
    caller: CallerOf,
    source: Annotated[str, Query(alias="from", max_length=300, description=_END)],
    destination: Annotated[str, Query(alias="to", max_length=300, description=_END)],
    protocol: Annotated[str, Query(max_length=10, description="tcp, udp, icmp or a number.")] = "tcp",
    port: Annotated[int | None, Query(ge=0, le=65535, description="The destination's; with tcp and udp.")] = None,
    icmp_type: Annotated[int | None, Query(ge=0, le=255, description="With icmp; 8, a ping, unless told.")] = None,
    icmp_code: Annotated[int | None, Query(ge=0, le=255)] = None,
    revision: Annotated[int | None, Query(ge=0, lt=2**63, description="As the network was then.")] = None,
) -> Json:
    """The first packet of a flow; its replies pass with it. `verdict` (`allowed`, `denied`) is what is meant, by `stages` in
    the order in which the packet meets them, each on a node; `deciding` is the one that settles it, with the rule and the
    membership that make it match, or the rules that came nearest. `since` is the revision from which on it has been so (with
    `since_exact` false: that one or an earlier).

    `nodes` says of each node that judges what it makes of the packet by the view that it has applied, whatever is meant;
    `in_force`, whether that is what is meant, and `now` what happens to a packet that is sent now. With `revision` the
    answer is of that revision, and none of these three is there.
    """
    caller.may("operator")
    try:
        question = Question(source, destination, read_message(protocol, port, icmp_type, icmp_code))
        held = server.replica.held
        network, at = await network_at(server, revision)
        found = explain(network, question)
    except Unasked as wrong:
        raise Malformed(tuple(Fault(("query", name), why) for name, why in wrong.faults.items())) from wrong
    wire: dict[str, Any] = {
        "revision": at,
        "epoch": held.epoch,
        "from": found.route.source.to_wire(network),
        "to": found.route.destination.to_wire(network),
        "message": {**question.message.to_wire(), "text": str(question.message)},
        "verdict": "allowed" if found.allowed else "denied",
        "reason": reason(found),
        "deciding": found.deciding.to_wire() if found.deciding else None,
        "seen_as": str(found.seen) if found.seen else None,
        "stages": [stage.to_wire() for stage in found.stages],
        "notes": list(found.notes),
    }
    if revision is None:
        wire |= await _now(server, network, at, found)
    return Json(wire, headers=server.replica.stale_header())


async def _now(server: Server, network: Network, revision: int, found: Explanation) -> dict[str, Any]:
    replica = server.replica
    names = {*found.route.nodes, *(withdrawal.node for _, withdrawal in withdrawals(network, found))}
    seen = {facts.node: Seen(facts, _goes_by(replica, facts)) for facts in replica.facts(sorted(names))}
    now = enforced(network, found, seen, replica.clock.now())
    # outside the event loop: of a busy group, a thousand verdicts; all values, so nobody is in anybody's way
    steps = list(_steps(replica, revision))
    began = await asyncio.to_thread(since, found, steps)
    facts = await _changed(server, found, revision)
    whole, is_exact = began.get(None), None in began
    if whole is None:
        oldest = steps[-1].revision - 1 if steps else revision  # that was looked at
        whole = min(max(facts.values(), default=oldest), oldest)
    return {
        "since": whole,
        "since_exact": is_exact,
        "facts": [{"kind": kind, "id": name, "revision": changed} for (kind, name), changed in sorted(facts.items())],
        "in_force": now.in_force,
        "now": now.now,
        "nodes": _nodes(now, began),
        "summary": summary(found, now, whole, exact=is_exact),
    }


def _nodes(now: Enforced, began: dict[Any, int]) -> list[dict[str, Any]]:
    return [{**share.to_wire(), "since": began.get(share.role)} for share in now.shares]


def _steps(replica: Replica, revision: int) -> Iterator[Step]:
    """Backwards, as far as records and networks are in memory."""
    for number in range(revision, 0, -1):
        change, before = replica.recent.get(number), replica.bases.at(number - 1)
        if change is None or before is None:
            return
        yield Step(number, change.touched, change.caused_by is not None, before.network)


def _goes_by(replica: Replica, facts: Facts) -> Network | None:
    """The network whose view the node has applied. A view that is the newest one is the head's, however old."""
    if facts.told is None or facts.told.epoch != facts.epoch:
        return None
    if facts.applied >= facts.version:
        return replica.held.network
    found = replica.bases.at(facts.applied)
    return found.network if found is not None else None


async def _changed(server: Server, found: Explanation, revision: int) -> dict[tuple[str, str], int]:
    """When each object that the verdict was read from last changed; without Postgres, none."""
    try:
        async with server.database.begin() as conn:
            changed = await last_changed(conn, sorted(found.facts))
    except StoreError:
        return {}
    return {key: at for key, at in changed.items() if at <= revision}
