"""The network at any revision that is kept: whole, one node's view of it, or what lies between two."""

import asyncio
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query
from fastapi.responses import Response

from viewserver.api.context import CallerOf, Json, Server, ServerOf, Time
from viewserver.errors import Malformed
from viewserver.model.faults import Fault
from viewserver.model.network import Network

router = APIRouter(tags=["reading"])

AT_ONCE: Final = 2000
"""Objects rendered in one go: nobody else in this process gets on meanwhile."""

Revision = Annotated[int | None, Query(ge=0, lt=2**63, description="As it was at this revision.")]
At = Annotated[Time | None, Query(description="As it was meant to be at this time (RFC 3339).")]


@router.get("/v1/model", summary="The whole network, now or as it was")
async def get_model(server: ServerOf, caller: CallerOf, revision: Revision = None, at: At = None) -> Response:
    """`{"revision", "network", "zones", "nodes", "groups", "instances", "elastic_ips"}`, every object in its normal form."""
    caller.may("cloud")
    held = server.replica.held
    network, number = await network_at(server, await revision_of(server, revision, at))
    return Response(
        await asyncio.to_thread(_rendered, network, number),
        headers={"etag": f'"{number}"', "verge-revision": f"{held.epoch}.{number}", **server.replica.stale_header()},
        media_type="application/json",
    )


@router.get("/v1/nodes/{node}/view", include_in_schema=False)
async def get_past_view(
    server: ServerOf, caller: CallerOf, node: str, revision: Revision = None, at: At = None
) -> Response:
    """Described beside the hot route, which has the same path."""
    caller.may("cloud")
    held = server.replica.held
    wanted = await revision_of(server, revision, at)
    found = await server.history.view(held, node, held.revision if wanted is None else wanted)
    headers = {"etag": str(found.etag), "verge-revision": f"{found.epoch}.{found.revision}"}
    return Response(found.body, headers=headers, media_type="application/json")


@router.get("/v1/diff", summary="What lies between two revisions")
async def get_diff(
    server: ServerOf,
    caller: CallerOf,
    start: Annotated[int, Query(alias="from", ge=0, lt=2**63)],
    end: Annotated[int | None, Query(alias="to", ge=0, lt=2**63, description="The head unless told.")] = None,
    node: Annotated[str | None, Query(description="The difference of this node's view, too.")] = None,
) -> Json:
    """`objects`: each that differs, once, with its value before and after, the `fields` that differ, and the `revisions` that
    touched it. With `node`, `view` is what its view gained and lost, as a delta; null where it is no node at the end."""
    caller.may("cloud")
    held = server.replica.held
    last = held.revision if end is None else end
    if last < start:
        raise Malformed((Fault(("query", "to"), f"must not be below from, {start}"),))
    found = await server.history.differences(held, start, last, node)
    wire: dict[str, Any] = {"from": start, "to": last, "objects": [edit.to_wire() for edit in found.edits]}
    if node is not None:
        etags = {
            "before": str(found.before) if found.before else None,
            "after": str(found.after) if found.after else None,
        }
        wire |= {"node": node, "etag": etags, "view": found.view}
    return Json(wire)


async def network_at(server: Server, revision: int | None) -> tuple[Network, int]:
    """The network at a revision whose records are kept, and that revision; None is the head. Raises UnknownObject,
    HistoryPruned, NotReady."""
    held = server.replica.held
    if revision is None:
        return held.network, held.revision
    return await server.history.network(held, revision), revision


async def revision_of(server: Server, revision: int | None, at: datetime | None) -> int | None:
    """The one that is asked for by number or by time; None for neither. Raises Malformed, HistoryPruned."""
    if at is None:
        return revision
    if revision is not None:
        raise Malformed((Fault(("query", "at"), "is one way to name a revision, and revision another: not both"),))
    return await server.history.revision_at(server.replica.held, at)


def _rendered(network: Network, revision: int) -> bytes:
    """JSON, in pieces: while orjson works nothing else in the process does."""
    sections = network.to_wire()
    parts = [orjson.dumps({"revision": revision, "network": sections.pop("network")})[:-1]]
    for name, objects in sections.items():
        each = iter(objects.items())
        pieces = [orjson.dumps(some)[1:-1] for some in iter(lambda: dict(islice(each, AT_ONCE)), {})]  # noqa: B023
        parts.append(b"".join([b',"', name.encode(), b'":{', b",".join(pieces), b"}"]))
    return b"".join([*parts, b"}"])
