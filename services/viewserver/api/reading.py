"""Reading the nodes: what each was told, has applied, and said last. `api.history` reads the network itself."""

import asyncio
from heapq import nsmallest
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from viewserver.api.context import CallerOf, Json, Server, ServerOf
from viewserver.errors import UnknownObject
from viewserver.model.convergence import Facts, standing
from viewserver.store.reports import read_report

router = APIRouter(tags=["reading"])


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


@router.get("/v1/names/{section}", summary="Names to choose from, as a shell completes them")
async def get_names(
    server: ServerOf,
    caller: CallerOf,
    section: Literal["zones", "nodes", "groups", "instances", "elastic_ips"],
    prefix: Annotated[str, Query(max_length=300)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Json:
    """`{"names": […]}`, ascending: the ids of a section of the model that begin so, as many as asked for."""
    caller.may("cloud")
    objects = server.replica.held.network.objects
    kind = section.removesuffix("s")

    def named() -> list[str]:
        return nsmallest(limit, (key for found, key in objects if found == kind and key.startswith(prefix)))

    return Json({"names": await asyncio.to_thread(named)})
