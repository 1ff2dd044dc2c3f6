"""What happened, over time: the cloud's lag, what befell nodes and fences, and what one node enforced when."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query

from viewserver.api.changelog import LATEST
from viewserver.api.context import EVER, CallerOf, Json, ServerOf, Time
from viewserver.errors import Malformed, UnknownObject
from viewserver.model.faults import Fault
from viewserver.spread import MILLISECOND
from viewserver.store.changes import Committed, committed
from viewserver.store.records.detail import Enforced, told_by_node
from viewserver.store.records.happenings import KINDS, happenings_page
from viewserver.store.records.samples import samples_by_minute

router = APIRouter(tags=["reading"])

MINUTE = timedelta(minutes=1)


@router.get("/v1/lag", summary="How far behind the cloud was, minute by minute")
async def get_lag(
    server: ServerOf, caller: CallerOf, minutes: Annotated[int, Query(ge=1, le=7 * 24 * 60)] = 60
) -> Json:
    """`{"now", "minutes": [{"at", "revision", "nodes", "behind", "silent", "rejected", "degraded", "converged_share", "lag_s"} |
    {"at", "nodes": null}]}`, oldest first, one for each minute and the present one last.

    The worst of each minute, of looks five seconds apart: most nodes behind, silent, rejecting or degraded, the smallest
    share of nodes that had converged, and the greatest lag in seconds. `nodes` null: no server was looking.
    """
    caller.may("operator")
    now = server.replica.clock.now()
    last = now.replace(second=0, microsecond=0)
    first = last - (minutes - 1) * MINUTE
    async with server.database.begin() as conn:
        known = await samples_by_minute(conn, first)
    each = (first + step * MINUTE for step in range(minutes))
    listed = [{"at": at.isoformat(), **known.get(at, {"nodes": None})} for at in each]
    return Json({"now": now.isoformat(), "minutes": listed})


@router.get("/v1/happenings", summary="What befell nodes and addresses, newest first")
async def get_happenings(
    server: ServerOf,
    caller: CallerOf,
    node: Annotated[str | None, Query(max_length=300)] = None,
    kind: Annotated[list[str] | None, Query(description=f"Of: {', '.join(KINDS)}.")] = None,
    since: Annotated[Time | None, Query(description="Then or later (RFC 3339).")] = None,
    until: Annotated[Time | None, Query(description="Earlier.")] = None,
    before: Annotated[int | None, Query(ge=1, lt=2**63, description="Only those with a lower id.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Json:
    """`{"happenings": [{"id", "at", "kind", "node", "what", "culprit", "revision", "more"}], "next_before"}`. The same objects
    come live over `GET /v1/events`, as `happening`.

    * `rejected`, `degraded`: `revision` is what the node attempted, `more.failures` all of `[{"object", "stage", "reason"}]`;
      `accepted` when neither is so any more.
    * `drift-repaired`: `culprit`; `more.at` by the node's own clock, `more.repaired_ms`.
    * `sessions-cut`: `more.sessions`. `preflight-failed`, `preflight-mended`: `more` is the check, with its remedy.
    * `fence-raised`, `fence-lifted`, `fence-broken`: `node` has to give up `more.address`; `more.actor`, `more.caused_by`.
    * `silent`: `more.since`; `back`: `more.silent_s`.
    """
    caller.may("operator")
    unknown = sorted(set(kind or ()) - set(KINDS))
    if unknown:
        raise Malformed((Fault(("query", "kind"), f"{', '.join(unknown)}: must be of {', '.join(KINDS)}"),))
    async with server.database.begin() as conn:
        found = await happenings_page(
            conn,
            before=before or LATEST,
            node=node,
            kinds=kind,
            since=since or EVER[0],
            until=until or EVER[1],
            limit=limit,
        )
    return Json(
        {
            "happenings": [one.to_wire() for one in found],
            "next_before": found[-1].id if len(found) == limit else None,
        }
    )


@router.get("/v1/nodes/{node}/history", summary="What one node enforced when, newest first")
async def get_history(
    server: ServerOf,
    caller: CallerOf,
    node: str,
    at: Annotated[Time | None, Query(description="Only what it enforced then (RFC 3339).")] = None,
    before: Annotated[Time | None, Query(description="Only what it told earlier.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Json:
    """`{"node", "history": [{"from", "until", "epoch", "version", "state", "attempted", "failures", "change": {"revision",
    "actor", "at", "caused_by"} | null, "ms", "timings_ms"}], "next_before"}`.

    From `from` until `until` (null: still) the node enforced `version` of its view (null: none yet), in the state it reported:
    `rejected` is an attempt at `attempted` of which nothing went in, while `version` stayed. `change` is the change that made
    the version what it is; `ms`, how long after its commit the node told of it; null where its record is gone.

    Kept as long as the detail of changes, and beyond that what each node last told before.
    """
    caller.may("operator")
    top = at if at is not None else before or EVER[1]
    async with server.database.begin() as conn:
        told = await told_by_node(conn, node, top + timedelta(microseconds=1) if at is not None else top, 2 * limit + 2)
        changes = await committed(conn, {one.version for one in told if one.version})
    if not told and server.replica.held.network.node(node) is None:
        raise UnknownObject(f"node {node} does not exist, and nothing is kept of it")
    spans = _spans(told, changes)
    if at is not None:
        spans = spans[:1]
    elif before is not None:
        for span in spans[:1]:
            span["until"] = span["until"] or before.isoformat()
    listed = spans[:limit]
    more = listed[-1]["from"] if len(spans) > limit or len(told) == 2 * limit + 2 else None
    return Json({"node": node, "history": listed, "next_before": more if at is None else None})


def _spans(told: list[Enforced], changes: dict[int, Committed]) -> list[dict[str, Any]]:
    """One for each stretch of time in which the node told the same: timings that came later belong to it."""
    spans: list[dict[str, Any]] = []
    for one in reversed(told):
        body = {
            "epoch": one.epoch,
            "version": one.version,
            "state": one.state,
            "attempted": one.attempted,
            "failures": one.failures,
        }
        if spans and all(spans[-1][key] == value for key, value in body.items()):
            spans[-1]["timings_ms"] = spans[-1]["timings_ms"] or one.timings
            continue
        if spans:
            spans[-1]["until"] = one.at.isoformat()
        change = changes.get(one.version or 0)
        if change is not None and change.epoch != one.epoch:
            change = None
        came = change is not None and not (spans and spans[-1]["version"] == one.version)
        spans.append(
            {
                "from": one.at.isoformat(),
                "until": None,
                **body,
                "change": change.to_wire() if change is not None else None,
                "ms": round(max(0.0, (one.at - change.at) / MILLISECOND), 1) if change and came else None,
                "timings_ms": one.timings,
            }
        )
    return spans[::-1]
