"""Writing: one atomic update, or one object of it for `curl`."""

from typing import Any

from fastapi import APIRouter, Request

from viewserver.api.context import CallerOf, Json, ServerOf, parse_json, read_body
from viewserver.api.writing import (
    DryRun,
    IdempotencyKey,
    IfMatch,
    MaxLoss,
    MaxNodes,
    Timeout,
    Wait,
    answer_to,
    limits_of,
    update_of,
)
from viewserver.errors import Malformed, TooLarge, UnknownObject
from viewserver.model.faults import Fault
from viewserver.model.network import Network
from viewserver.model.objects import Kind
from viewserver.model.updates import Operation, Parsed, parse, parse_value, wrong_id

router = APIRouter(tags=["writing"])

COLLECTIONS: dict[str, Kind] = {
    "zones": "zone",
    "nodes": "node",
    "groups": "group",
    "instances": "instance",
    "elastic_ips": "elastic_ip",
}


@router.post("/v1/updates", summary="One atomic update of the network")
async def post_update(
    request: Request,
    server: ServerOf,
    caller: CallerOf,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    dry_run: DryRun = False,
    wait: Wait = None,
    patience: Timeout = 30.0,
    max_nodes: MaxNodes = None,
    max_loss: MaxLoss = None,
) -> Json:
    """Every operation is checked on the network as it would be after all of them; one fault refuses the whole, and the
    answer names every fault. An update that changes nothing makes no revision."""
    caller.may("cloud")
    body = await read_body(request, server.settings.max_body_bytes)
    wire = parse_json(body)
    parsed = _parse_update(wire, server.settings.max_operations)
    limits = limits_of(max_nodes, max_loss)
    update = update_of(caller, request, body, lambda _: parsed, idempotency_key, if_match, limits)
    return await answer_to(server, update, dry_run, wait, patience)


@router.put("/v1/{collection}/{id}", summary="Put one object")
async def put_object(
    request: Request,
    server: ServerOf,
    caller: CallerOf,
    collection: str,
    id: str,  # noqa: A002 - its name in the path
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    dry_run: DryRun = False,
    wait: Wait = None,
    patience: Timeout = 30.0,
) -> Json:
    """The body is the object's value; the same checks and answer as an update with this one operation."""
    caller.may("cloud")
    kind = _kind(collection, id)
    body = await read_body(request, server.settings.max_body_bytes)
    wire = parse_json(body)
    value, faults = parse_value(kind, id, wire, ("value",))
    parsed = Parsed(
        (Operation(kind, id, value, wire=wire),) if value is not None else (),
        tuple(faults),
        frozenset(fault.pointer for fault in faults),
        frozenset({(kind, id)}) if faults else frozenset(),
    )
    update = update_of(caller, request, body, lambda _: parsed, idempotency_key, if_match)
    with _pointers_into_value():
        return await answer_to(server, update, dry_run, wait, patience)


@router.delete("/v1/{collection}/{id}", summary="Delete one object")
async def delete_object(
    request: Request,
    server: ServerOf,
    caller: CallerOf,
    collection: str,
    id: str,  # noqa: A002 - its name in the path
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    dry_run: DryRun = False,
    wait: Wait = None,
    patience: Timeout = 30.0,
) -> Json:
    """404 if there is no such object; 409 names those who use it."""
    caller.may("cloud")
    kind = _kind(collection, id)

    def operations(network: Network) -> Parsed:
        if network.get(kind, id) is None:
            raise UnknownObject(f"{kind} {id} does not exist")
        return Parsed((Operation(kind, id, None),), (), frozenset(), frozenset())

    update = update_of(caller, request, b"", operations, idempotency_key, if_match)
    with _pointers_into_value():
        return await answer_to(server, update, dry_run, wait, patience)


def _parse_update(wire: Any, most: int) -> Parsed:
    if not isinstance(wire, dict):
        raise Malformed((Fault((), 'must be an object: {"operations": […]}'),))
    faults = [Fault((str(name),), "is not a known field") for name in wire.keys() - {"operations"}]
    operations = wire.get("operations")
    if "operations" not in wire:
        faults.append(Fault(("operations",), "is missing"))
        raise Malformed(tuple(faults))
    if isinstance(operations, list) and len(operations) > most:
        raise TooLarge(f"the update has {len(operations)} operations; the limit is {most}")
    parsed = parse(operations)
    return Parsed(parsed.operations, (*faults, *parsed.faults), parsed.set_aside, parsed.unread)


def _kind(collection: str, key: str) -> Kind:
    kind = COLLECTIONS.get(collection)
    if kind is None:
        raise UnknownObject(f"there is no collection {collection}: {', '.join(COLLECTIONS)}")
    message = wrong_id(kind, key)
    if message:
        raise Malformed((Fault(("id",), message),))
    return kind


class _pointers_into_value:  # noqa: N801 - reads as a block
    """The body is the value itself, so a fault at /value/mac is at /mac."""

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Malformed):
            error.faults = tuple(
                Fault(f.pointer[1:] if f.pointer[:1] == ("value",) else f.pointer, f.message, f.in_use)
                for f in error.faults
            )
