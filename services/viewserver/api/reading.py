"""Reading the network and its history: the model, the change log, the nodes."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from viewserver.api.context import CallerOf, Json, Server, ServerOf
from viewserver.errors import UnknownObject
from viewserver.model.change import Change
from viewserver.model.convergence import Facts, percentiles, standing
from viewserver.model.network import Network
from viewserver.model.updates import rewind
from viewserver.store.changes import changes_page, changes_since, read_change
from viewserver.store.head import Head
from viewserver.store.reports import applied_for, read_report

router = APIRouter(tags=["reading"])


@router.get("/v1/model", summary="The whole network, now or as it was")
async def get_model(
    server: ServerOf, caller: CallerOf, revision: Annotated[int | None, Query(ge=0, lt=2**63)] = None
) -> Json:
    """`{"revision", "network", "zones", "nodes", "groups", "instances", "elastic_ips"}`, every object in its normal form."""
    caller.may("cloud")
    held = server.replica.held
    network, at = await network_at(server, revision)
    return Json(
        {"revision": at, **network.to_wire()},
        headers={"etag": f'"{at}"', "verge-revision": f"{held.epoch}.{at}", **server.replica.stale_header()},
    )


async def network_at(server: Server, revision: int | None) -> tuple[Network, int]:
    """The network at a revision whose records are kept, and that revision; None is the head. Raises UnknownObject,
    HistoryPruned."""
    held = server.replica.held
    if revision is None or revision == held.revision:
        return held.network, held.revision
    if revision > held.revision:
        raise UnknownObject(f"revision {revision} does not exist; the head is {held.revision}")
    network = held.network
    async with server.database.begin() as conn:
        changes = await changes_since(conn, revision, limit=held.revision - revision)
    for change in reversed(changes):
        if change.revision <= held.revision:
            network = rewind(network, change.operations)
    return network, revision


@router.get("/v1/updates", summary="The change log, newest first")
async def list_updates(
    server: ServerOf,
    caller: CallerOf,
    before: Annotated[int | None, Query(ge=1, lt=2**63, description="Only revisions below this one.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Json:
    """`summary`: how many nodes it affects (those that were seen, or host an instance), how many have applied it, after how
    many milliseconds, and which had to close an object of it (`exceptions`); null for an older change: its own page knows."""
    caller.may("operator")
    async with server.database.begin() as conn:
        changes = await changes_page(conn, before, limit)
    more = changes[-1].revision if len(changes) == limit and changes[-1].revision > 1 else None
    listed = [{**_change_wire(change), "summary": _summary_wire(server, change)} for change in changes]
    return Json({"updates": listed, "next_before": more})


@router.get("/v1/updates/{revision}", summary="One change: who, when, what, and where it is in force")
async def get_update(server: ServerOf, caller: CallerOf, revision: Annotated[int, Path(ge=0, lt=2**63)]) -> Json:
    """`nodes` says for each affected node when it first applied a version at or past this one, by Postgres's clock, and
    after how many milliseconds (`told_ms`: when its view request was answered, if this replica did so lately, the moment
    before the commit counting as 0); null where it has not."""
    caller.may("operator")
    async with server.database.begin() as conn:
        change = await read_change(conn, revision) if revision > 0 else None
        if change is None:
            raise UnknownObject(
                f"there is no record of revision {revision}; the head is {server.replica.held.revision}"
            )
        applied = {one.node: one for one in await applied_for(conn, Head(change.epoch, revision), change.affected)}
    nodes: dict[str, Any] = {}
    took = []
    for node in change.affected:
        found = applied.get(node)
        if found is None:
            nodes[node] = None
            continue
        ms = max(0.0, (found.at - change.at).total_seconds() * 1000)
        took.append(round(ms, 1))
        told = server.replica.told_at(node, revision)
        nodes[node] = {
            "applied_at": found.at.isoformat(),
            "applied_version": found.version,
            "ms": round(ms, 1),
            "told_ms": None if told is None else round((told - change.at).total_seconds() * 1000, 1),
            "timings_ms": found.timings,
        }
    return Json(
        {
            **_change_wire(change),
            "nodes": nodes,
            "applied": len(applied),
            "ms": percentiles(took),
            "operations": [item.to_wire() for item in change.operations],
        }
    )


@router.get("/v1/nodes", summary="Every node: its state, what it has applied, how far it is behind")
async def list_nodes(server: ServerOf, caller: CallerOf) -> Json:
    caller.may("operator")
    return Json({"nodes": [_node_wire(server, facts) for facts in server.replica.facts()]})


@router.get("/v1/nodes/{node}", summary="One node, with its last report")
async def get_node(server: ServerOf, caller: CallerOf, node: str) -> Json:
    caller.may("operator")
    for facts in server.replica.facts([node]):
        async with server.database.begin() as conn:
            stored = await read_report(conn, node)
        return Json({**_node_wire(server, facts), "report": stored.report if stored is not None else None})
    raise UnknownObject(f"node {node} does not exist")


def _node_wire(server: Server, facts: Facts) -> dict[str, Any]:
    replica = server.replica
    now = standing(facts, replica.clock.now())
    node = replica.held.network.node(facts.node)
    heard = replica.heard_at(facts.node) or (facts.told.at if facts.told else None)
    etag = replica.held.etag(facts.node)
    return {
        **now.to_wire(),
        "address": str(node.address) if node else None,
        "etag": str(etag) if etag else None,
        "attempted_version": facts.told.attempted if facts.told else None,
        "reported": facts.told.state if facts.told else None,
        "last_seen": heard.isoformat() if heard else None,
        "failures": [failure.to_wire() for failure in facts.told.failures] if facts.told else [],
        "instances": {
            key: (facts.told.instances.get(key, "unknown") if facts.told else "unknown")
            for key in replica.held.network.instances_at(facts.node)
        },
    }


def _change_wire(change: Change) -> dict[str, Any]:
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
    }


def _summary_wire(server: Server, change: Change) -> dict[str, Any] | None:
    replica = server.replica
    spread = replica.spreads[change.revision] if change.epoch == replica.held.epoch else None
    return {**spread.to_wire(), "exceptions": replica.closed(change.revision)} if spread is not None else None
