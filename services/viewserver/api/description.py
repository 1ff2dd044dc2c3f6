"""What OpenAPI cannot see in the code: bodies that are read by hand, the hot route, who may call."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from verge.contract.view import SCHEMA
from viewserver.api.problems import SCHEMA as PROBLEM
from viewserver.model.objects import CLASSES, Kind

REF = "#/components/schemas/{model}"
NAMES: dict[Kind, str] = {
    "network": "Network",
    "zone": "Zone",
    "node": "Node",
    "group": "SecurityGroup",
    "instance": "Instance",
    "elastic_ip": "ElasticIp",
}


def describe(app: FastAPI) -> None:
    """Replace the application's OpenAPI document by one that tells all of it."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(
                get_openapi(
                    title=app.title,
                    version=app.version,
                    description=app.description,
                    routes=app.routes,
                    tags=app.openapi_tags,
                )
            )
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = PROBLEM
    for kind, name in NAMES.items():
        schema = TypeAdapter(CLASSES[kind]).json_schema(ref_template=REF)
        schemas |= schema.pop("$defs", {})
        schemas[name] = schema
    schemas["Update"] = _update_schema()
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    paths = document["paths"]
    paths["/v1/updates"]["post"]["requestBody"] = _json_body({"$ref": "#/components/schemas/Update"})
    paths["/v1/{collection}/{id}"]["put"]["requestBody"] = _json_body(
        {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for kind, name in NAMES.items() if kind != "network"]}
    )
    paths["/v1/nodes/{node}/view"] = {"get": VIEW}
    for path, operations in paths.items():
        for operation in operations.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                schemas |= content["schema"].pop("$defs", {})  # where its references look for them
            responses = operation.setdefault("responses", {})
            responses.pop("422", None)
            responses["default"] = {
                "description": "A problem (RFC 9457)",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            }
            if path in ("/healthz", "/readyz"):
                operation["security"] = []
    return document


def _update_schema() -> dict[str, Any]:
    puts = [
        {
            "type": "object",
            "title": f"put {kind}",
            "required": ["op", "kind", "id", "value"],
            "additionalProperties": False,
            "properties": {
                "op": {"const": "put"},
                "kind": {"const": kind},
                "id": {"type": "string"},
                "value": {"$ref": f"#/components/schemas/{name}"},
            },
        }
        for kind, name in NAMES.items()
    ]
    delete = {
        "type": "object",
        "title": "delete",
        "required": ["op", "kind", "id"],
        "additionalProperties": False,
        "properties": {"op": {"const": "delete"}, "kind": {"enum": list(NAMES)}, "id": {"type": "string"}},
    }
    return {
        "type": "object",
        "required": ["operations"],
        "additionalProperties": False,
        "properties": {"operations": {"type": "array", "maxItems": 10_000, "items": {"oneOf": [*puts, delete]}}},
        "example": {
            "operations": [
                {"op": "put", "kind": "elastic_ip", "id": "10.111.101.91", "value": {"instance": "i-1a2b3c4d"}},
                {"op": "delete", "kind": "instance", "id": "i-99aa0001"},
            ]
        },
    }


def _json_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _parameter(where: str, name: str, description: str) -> dict[str, Any]:
    return {
        "in": where,
        "name": name,
        "required": where == "path",
        "description": description,
        "schema": {"type": "string"},
    }


_ANSWER_HEADERS = {
    "ETag": {"description": '`"<epoch>.<version>-<digest>"`', "schema": {"type": "string"}},
    "Verge-Revision": {"description": "`<epoch>.<revision this answer is true at>`", "schema": {"type": "string"}},
}

VIEW: dict[str, Any] = {
    "tags": ["nodes"],
    "summary": "The node's view, by long-poll",
    "description": "With `If-None-Match` and `Prefer: wait=30` the request is held until the view moves or the wait ends.",
    "operationId": "get_view",
    "parameters": [
        _parameter("path", "node", "The node's name"),
        _parameter("query", "wait", "Seconds, as Prefer: wait"),
        _parameter("query", "revision", "The view as it was meant to be at this revision; `cloud` and above"),
        _parameter("query", "at", "Likewise, at this time (RFC 3339)"),
        _parameter("header", "If-None-Match", "The ETag of the view held"),
        _parameter("header", "A-IM", "`verge-delta`: a delta based on one of these views is welcome (RFC 3229)"),
        _parameter("header", "Prefer", "`wait=30`: hold the request for so many seconds, 60 at most"),
        _parameter("header", "Verge-Revision", "The last revision seen: a replica that is behind it catches up first"),
        _parameter("header", "Verge-Applied", "The ETag applied: reports plain success"),
    ],
    "responses": {
        "200": {
            "description": "The whole view",
            "headers": _ANSWER_HEADERS,
            "content": {
                "application/json": {"schema": {"type": "object", "properties": {"schema": {"const": SCHEMA}}}}
            },
        },
        "226": {
            "description": "The difference to the view named by Delta-Base",
            "headers": {
                **_ANSWER_HEADERS,
                "IM": {"description": "`verge-delta`", "schema": {"type": "string"}},
                "Delta-Base": {"description": "The ETag of the view it is based on", "schema": {"type": "string"}},
            },
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["set", "unset", "members"],
                        "properties": {name: {"type": "object"} for name in ("set", "unset", "members")},
                    }
                }
            },
        },
        "304": {"description": "Nothing newer for this node", "headers": _ANSWER_HEADERS},
    },
}
