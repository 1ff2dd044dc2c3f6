"""Whole documents: the network in our own JSON, and the two documents of a Eucalyptus cloud.

Each becomes one update like any other; what is peculiar is only how the operations are found. Documents are read outside
the event loop: a large one takes seconds.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request

from viewserver.api.context import CallerOf, Json, Server, ServerOf, parse_json, read_body
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
from viewserver.errors import Malformed, UnknownMedia
from viewserver.eucalyptus import gni
from viewserver.eucalyptus.broadcast import broadcast
from viewserver.eucalyptus.configuration import configuration
from viewserver.eucalyptus.text import read_json, read_yaml
from viewserver.eucalyptus.xml_text import read_xml
from viewserver.model.network import Network
from viewserver.model.updates import Parsed
from viewserver.model.whole import part, replacement
from viewserver.update import Request as Update

router = APIRouter(tags=["writing"])

NETWORK_BYTES: Final = 1024 * 1024
"""The operator's document is a page or two; its parser is slow."""
JSON: Final = ("application/json",)
YAML: Final = ("application/yaml", "application/x-yaml", "text/yaml")
XML: Final = ("application/xml", "text/xml")

Operations = Callable[[Network], Parsed]


def _text(*types: str) -> dict[str, Any]:
    return {name: {"schema": {"type": "string"}} for name in types}


_SECTIONS: Final = {
    "zones": "Zone",
    "nodes": "Node",
    "groups": "SecurityGroup",
    "instances": "Instance",
    "elastic_ips": "ElasticIp",
}
_MODEL: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["network", *_SECTIONS],
    "additionalProperties": False,
    "properties": {
        "revision": {"type": "integer", "description": "Ignored."},
        "network": {"anyOf": [{"$ref": "#/components/schemas/Network"}, {"type": "null"}]},
        **{
            section: {"type": "object", "additionalProperties": {"$ref": f"#/components/schemas/{name}"}}
            for section, name in _SECTIONS.items()
        },
    },
}

_PART: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        **_MODEL["properties"],
        **{
            section: {
                "type": "object",
                "additionalProperties": {"anyOf": [{"$ref": f"#/components/schemas/{name}"}, {"type": "null"}]},
            }
            for section, name in _SECTIONS.items()
        },
    },
}

PrunePart = Annotated[bool, Query(description="Delete the objects that a section in the document does not name.")]
Prune = Annotated[
    bool, Query(description="Delete what a Eucalyptus document does not name and which would stay otherwise.")
]
Force = Annotated[
    bool, Query(description="Go on even if more than 20 instances, and more than a tenth of all, would be removed.")
]


@router.put(
    "/v1/network",
    summary="The operator's Eucalyptus network document",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {**_text(*YAML), "application/json": {"schema": {"type": "object"}}},
        }
    },
)
async def put_network(
    request: Request,
    server: ServerOf,
    caller: CallerOf,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    dry_run: DryRun = False,
    wait: Wait = None,
    patience: Timeout = 30.0,
    prune: Prune = False,
) -> Json:
    """`network.yaml` or its JSON in EDGE mode becomes the network's settings and a zone for each cluster. `warnings` tells
    what was left out or taken otherwise. Zones that the document does not name stay, unless pruned."""
    caller.may("cloud")
    body = await read_body(request, min(NETWORK_BYTES, server.settings.max_body_bytes))
    read = read_json if _media(request, JSON, YAML) in JSON else read_yaml
    if read is read_json:
        parse_json(body)
    wire, faults = await asyncio.to_thread(read, body)

    def operations(network: Network) -> Parsed:
        return configuration(wire, network, faults, prune=prune)

    update = update_of(caller, request, body + _said(prune=prune), operations, idempotency_key, if_match)
    return await _answer(server, update, dry_run, wait, patience)


@router.put(
    "/v1/model",
    summary="The whole network, at once",
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": _MODEL}, **_text(*XML)}}
    },
)
async def put_model(
    request: Request,
    server: ServerOf,
    caller: CallerOf,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    dry_run: DryRun = False,
    wait: Wait = None,
    patience: Timeout = 30.0,
    prune: Prune = False,
    force: Force = False,
) -> Json:
    """As JSON, what `GET /v1/model` answers: what is not in it is deleted. As XML, a Eucalyptus global network information
    document in EDGE mode: zones and nodes that are not in it are unknown and stay, unless pruned; instances, groups and
    elastic IPs that are not in it are deleted. `warnings` tells what was left out or taken otherwise."""
    caller.may("cloud")
    body = await read_body(request, server.settings.max_body_bytes)
    media = _media(request, JSON, XML)
    operations = await asyncio.to_thread(_whole if media in JSON else _broadcast, body, prune=prune, force=force)
    said = _said(prune=prune, force=force)
    update = update_of(caller, request, body + said, operations, idempotency_key, if_match)
    return await _answer(server, update, dry_run, wait, patience)


@router.patch(
    "/v1/model",
    summary="A part of the network, by difference",
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": _PART}}},
    },
)
async def patch_model(
    request: Request,
    server: ServerOf,
    caller: CallerOf,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    dry_run: DryRun = False,
    wait: Wait = None,
    patience: Timeout = 30.0,
    prune: PrunePart = False,
    force: Force = False,
    max_nodes: MaxNodes = None,
    max_loss: MaxLoss = None,
) -> Json:
    """Sections of what `GET /v1/model` answers, with some of their objects. An object that is named is put as it stands here,
    with defaults for what is left out of it; null deletes it; what is not named stays, unless pruned. The same document again
    changes nothing."""
    caller.may("cloud")
    body = await read_body(request, server.settings.max_body_bytes)
    _media(request, JSON)
    limits = limits_of(max_nodes, max_loss)
    operations = await asyncio.to_thread(_part, body, prune=prune, force=force)
    update = update_of(
        caller, request, body + _said(prune=prune, force=force), operations, idempotency_key, if_match, limits
    )
    return await _answer(server, update, dry_run, wait, patience)


def _part(body: bytes, *, prune: bool, force: bool) -> Operations:
    parse_json(body)
    wire, faults = read_json(body)
    if faults:
        raise Malformed(tuple(faults))
    return lambda network: part(wire, network, prune=prune, force=force)


def _whole(body: bytes, *, prune: bool, force: bool) -> Operations:  # noqa: ARG001 - it deletes what is missing anyway
    parse_json(body)
    wire, faults = read_json(body)
    if faults:
        raise Malformed(tuple(faults))
    return lambda network: replacement(wire, network, force=force)


def _broadcast(body: bytes, *, prune: bool, force: bool) -> Operations:
    information = gni.read(read_xml(body))
    return lambda network: broadcast(information, network, prune=prune, force=force)


def _media(request: Request, *taken: tuple[str, ...]) -> str:
    """The body's type, JSON if it does not say. Raises UnknownMedia."""
    found = request.headers.get("content-type", JSON[0]).partition(";")[0].strip().lower()
    types = [name for names in taken for name in names]
    if found not in types:
        raise UnknownMedia(f"the body's type is {found!r:.100}; say Content-Type: {' or '.join(types)}")
    return found


def _said(**flags: bool) -> bytes:
    """What makes another request of the same body, for the idempotency key."""
    return "".join(f"\n{name}" for name, flag in flags.items() if flag).encode()


async def _answer(server: Server, update: Update, dry_run: bool, wait: str | None, patience: float) -> Json:
    return await answer_to(server, update, dry_run, wait, patience, always={"warnings": []})
