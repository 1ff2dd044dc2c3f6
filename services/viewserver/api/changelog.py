"""The change log: who, when, what; and how each change came to its nodes.

A recent change is told by what is in memory and by the detail that Postgres keeps for hours; an old one by its summary. Any
replica answers alike, before and after a restart.
"""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from viewserver.api.context import EVER, CallerOf, Json, Server, ServerOf, Time
from viewserver.errors import UnknownObject
from viewserver.model.between import edited
from viewserver.model.change import Change
from viewserver.model.convergence import SECTIONS, percentiles
from viewserver.spread import MILLISECOND
from viewserver.store.changes import Wanted, changes_page, oldest_revision, read_change
from viewserver.store.records.detail import OnNode, Rejection, change_on_nodes, rejections_of
from viewserver.store.records.partitions import detail_kept_from
from viewserver.store.records.summaries import STAGES, Summary, summaries_of, summaries_page

router = APIRouter(tags=["reading"])

LATEST = 2**63 - 1
NAMED = 100
NOTHING_YET = {
    "told_ms": percentiles([]),
    "stages_ms": {stage: percentiles([]) for stage in STAGES},
    "rejections": 0,
    "missing": [],
}
KINDS = {section: kind for kind, section in SECTIONS.items()} | {kind: kind for kind in SECTIONS}


@router.get("/v1/updates", summary="The change log, newest first")
async def list_updates(
    server: ServerOf,
    caller: CallerOf,
    before: Annotated[int | None, Query(ge=1, lt=2**63, description="Only revisions below this one.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    actor: Annotated[str | None, Query(max_length=300)] = None,
    object: Annotated[  # noqa: A002 - the word of reports
        str | None, Query(max_length=300, description="`instances/i-1a2b3c4d`: changes that touched it.")
    ] = None,
    node: Annotated[str | None, Query(max_length=300, description="Changes that affect it.")] = None,
    since: Annotated[Time | None, Query(description="Committed then or later (RFC 3339).")] = None,
    until: Annotated[Time | None, Query(description="Committed earlier.")] = None,
    values: Annotated[
        bool, Query(description="`operations` as `GET /v1/diff` has objects: before, after, fields.")
    ] = False,
) -> Json:
    """`{"updates": [{"revision", "epoch", "at", "actor", "operations": [{"kind", "id", "op"}], "affected": [node], "caused_by",
    "recorded", "summary"}], "next_before"}`.

    `summary`: `{"affected", "applied", "ms": {"p50", "p90", "p99", "max"}, "told_ms": {…}, "stages_ms": {"fetch": {…}, "plan",
    "apply", "verify"}, "exceptions": [node], "rejections", "missing": [node]}`: how many nodes it affects (those that were seen,
    or host an instance, and still exist), how many have applied it, after how many milliseconds from its commit; what they
    took for each stage by their own clocks; who had to close an object of it, and the first hundred of those that have not
    applied it. `told_ms`, `stages_ms` and `rejections` follow within seconds; they are of nodes that have applied it. Null:
    nothing was kept. Summaries stay for 30 days: where the record itself is gone
    by then, `recorded` is false, `operations` and `affected` are empty, and `node` finds nothing.
    """
    caller.may("operator")
    wanted = Wanted(actor, _object(object), node, since or EVER[0], until or EVER[1])
    async with server.database.begin() as conn:
        changes = await changes_page(conn, before, limit, wanted)
        kept = await summaries_of(conn, [change.revision for change in changes])
        listed = [_listed(server, change, kept.get((change.epoch, change.revision))) for change in changes]
        if values:
            for body, change in zip(listed, changes, strict=True):
                body["operations"] = [edited(item).to_wire() for item in change.operations]
        if len(changes) < limit and node is None:
            oldest = await oldest_revision(conn) or LATEST
            older = await summaries_page(
                conn,
                before=min(before or LATEST, oldest),
                since=wanted.since,
                until=wanted.until,
                actor=actor,
                object=None if wanted.object is None else "/".join(wanted.object),
                limit=limit - len(changes),
            )
            listed += [_unrecorded(one) for one in older]
    more = listed[-1]["revision"] if len(listed) == limit and listed[-1]["revision"] > 1 else None
    return Json({"updates": listed, "next_before": more})


@router.get("/v1/updates/{revision}", summary="One change: who, when, what, and where it is in force")
async def get_update(server: ServerOf, caller: CallerOf, revision: Annotated[int, Path(ge=0, lt=2**63)]) -> Json:
    """As in the list, with whole `operations` (before and after), and for each affected node, by Postgres's clock:

    `nodes`: `{node: {"told_at", "told_ms", "applied_at", "ms", "applied_version", "timings_ms", "rejections"} | null}`; null
    where nothing was heard of it since the commit. `told`: its view request was answered with a version at or past this one;
    `applied`: it first told that it had applied one. `told_ms` and `ms` count from the commit; `timings_ms` are the agent's
    own, by stage.
    `rejections`: `[{"at", "ms", "attempted", "failures": [{"object", "stage", "reason"}], "over_at"}]`, oldest first; `over_at`
    null: it still stands.

    `told`, `applied`: how many nodes; `told_ms`, `ms`: `{"p50", "p90", "p99", "max"}` over them; `stages_ms` of the agents'
    stages; `exceptions`: nodes that applied it and had to close an object of it, `missing`: nodes that count and have not
    applied it.
    `detail` is false where what is kept of nodes (`--detail-hours`) is gone: then `nodes` is empty and the figures are the
    summary's.
    """
    caller.may("operator")
    async with server.database.begin() as conn:
        change = await read_change(conn, revision) if revision > 0 else None
        kept = await summaries_of(conn, [revision])
        if change is None:
            found = max(kept.values(), key=lambda one: one.epoch, default=None)
            if found is None:
                raise UnknownObject(
                    f"there is no record of revision {revision}; the head is {server.replica.held.revision}"
                )
            return Json({**_unrecorded(found), **found.to_wire(), "told": None, "nodes": {}, "detail": False})
        summary = kept.get((change.epoch, revision))
        whole_from = await detail_kept_from(conn)
        if summary is not None and whole_from is not None and change.at < whole_from:
            listed = _listed(server, change, summary)
            gone = {**summary.to_wire(), "affected": listed["affected"], "told": None, "nodes": {}, "detail": False}
            return Json({**listed, **gone, "operations": [item.to_wire() for item in change.operations]})
        on_nodes = await change_on_nodes(conn, change)
        rejections = await rejections_of(conn, change)
    body = {
        **_listed(server, change, summary),
        "operations": [item.to_wire() for item in change.operations],
        "detail": True,
    }
    counted = set(change.affected) - _unseen(server, change)
    late = [one.node for one in on_nodes if one.applied_at is None and one.node in counted]
    recent = change.revision in server.replica.recent and change.epoch == server.replica.held.epoch
    exceptions = server.replica.closed(revision) if recent else list(summary.exceptions if summary else ())
    return Json(
        {
            **body,
            **_figures(change, on_nodes),
            "nodes": _nodes(change, on_nodes, rejections),
            "exceptions": exceptions,
            "missing": late,
        }
    )


def _object(given: str | None) -> tuple[str, str] | None:
    """Kind and id, from how reports or change records name an object."""
    if given is None:
        return None
    section, _, key = given.partition("/")
    return KINDS.get(section, section), key


def _unseen(server: Server, change: Change) -> set[str]:
    """Nodes that it affects and nobody waits for: never seen and hosting nothing, or removed."""
    network, unseen = server.replica.held.network, server.replica.standings.unseen
    return {node for node in change.affected if node in unseen or network.node(node) is None}


def _figures(change: Change, on_nodes: list[OnNode]) -> dict[str, Any]:
    told = [_ms(change, one.told_at) for one in on_nodes if one.told_at is not None]
    applied = [_ms(change, one.applied_at) for one in on_nodes if one.applied_at is not None]
    stages = {
        stage: percentiles([one.timings[stage] for one in on_nodes if one.applied_at and stage in one.timings])
        for stage in STAGES
    }
    return {
        "told": len(told),
        "applied": len(applied),
        "told_ms": percentiles(told),
        "ms": percentiles(applied),
        "stages_ms": stages,
    }


def _nodes(change: Change, on_nodes: list[OnNode], rejections: list[Rejection]) -> dict[str, Any]:
    rejected: dict[str, list[dict[str, Any]]] = {}
    for one in rejections:
        rejected.setdefault(one.node, []).append(
            {
                "at": one.at.isoformat(),
                "ms": _ms(change, one.at),
                "attempted": one.attempted,
                "failures": one.failures,
                "over_at": _time(one.over_at),
            }
        )
    return {one.node: _node(change, one, rejected.get(one.node, [])) for one in on_nodes}


def _node(change: Change, one: OnNode, rejections: list[dict[str, Any]]) -> dict[str, Any] | None:
    if one.told_at is None and one.applied_at is None and not rejections:
        return None
    return {
        "told_at": _time(one.told_at),
        "told_ms": None if one.told_at is None else _ms(change, one.told_at),
        "applied_at": _time(one.applied_at),
        "ms": None if one.applied_at is None else _ms(change, one.applied_at),
        "applied_version": one.applied_version,
        "timings_ms": one.timings,
        "rejections": rejections,
    }


def _ms(change: Change, at: datetime | None) -> float:
    assert at is not None
    return round(max(0.0, (at - change.at) / MILLISECOND), 1)


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


def _listed(server: Server, change: Change, kept: Summary | None) -> dict[str, Any]:
    return {
        "revision": change.revision,
        "epoch": change.epoch,
        "at": change.at.isoformat(),
        "actor": change.actor,
        "operations": [
            {"kind": item.kind, "id": item.id, "op": "put" if item.after is not None else "delete"}
            for item in change.operations
        ],
        "affected": list(change.affected),
        "caused_by": change.caused_by,
        "recorded": True,
        "summary": _summary(server, change, kept),
    }


def _summary(server: Server, change: Change, kept: Summary | None) -> dict[str, Any] | None:
    """What is counted here and now, where it is; its stages, and an old change's all, as kept."""
    replica = server.replica
    stored = kept.to_wire() if kept is not None else None
    spread = replica.spreads[change.revision] if change.epoch == replica.held.epoch else None
    if spread is None:
        return stored
    rest = stored or NOTHING_YET
    unseen = _unseen(server, change)
    missing = [node for node in change.affected if replica.applied(node) < change.revision and node not in unseen]
    live = {"exceptions": replica.closed(change.revision), "missing": missing[:NAMED]}
    return {**rest, **spread.to_wire(), **live}


def _unrecorded(summary: Summary) -> dict[str, Any]:
    return {
        "revision": summary.revision,
        "epoch": summary.epoch,
        "at": summary.at.isoformat(),
        "actor": summary.actor,
        "operations": [],
        "affected": [],
        "objects": list(summary.objects),
        "caused_by": summary.caused_by,
        "recorded": False,
        "summary": summary.to_wire(),
    }
