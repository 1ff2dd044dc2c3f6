"""Errors as application/problem+json (RFC 9457): the one table from what went wrong to a status."""

import logging
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from viewserver import errors
from viewserver.model.faults import Fault, pointer_text
from viewserver.store import Conflict, HistoryPruned, StoreError, Unavailable

log = logging.getLogger(__name__)

STATUS: dict[type[Exception], int] = {
    errors.InUse: 409,
    errors.Malformed: 422,
    errors.TooWide: 409,
    errors.HeadMoved: 412,
    errors.KeyReused: 422,
    errors.UnknownObject: 404,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.Contradiction: 409,
    errors.TooLarge: 413,
    errors.UnknownMedia: 415,
    errors.NotReady: 503,
    HistoryPruned: 410,
    Conflict: 409,
    Unavailable: 503,
}
"""The first class of an error's ancestry that stands here decides."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "Every fault in the request.",
            "items": {
                "type": "object",
                "required": ["pointer", "message"],
                "properties": {"pointer": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def problem(status: int, detail: str, faults: tuple[Fault, ...] = ()) -> tuple[dict[str, str], bytes]:
    """Headers and body of a problem."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if faults:
        body["errors"] = [fault.to_wire() for fault in faults]
    headers = {"content-type": "application/problem+json"}
    if status == 503:
        headers["retry-after"] = "1"
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers, orjson.dumps(body)


def of(error: Exception) -> tuple[int, dict[str, str], bytes] | None:
    """Status, headers and body for one of this product's errors; None for anybody else's."""
    for ancestor in type(error).__mro__:
        status = STATUS.get(ancestor)
        if status is not None:
            faults = error.faults if isinstance(error, errors.Malformed) else ()
            detail = str(error)
            if isinstance(error, Unavailable):
                detail = f"Postgres cannot be reached or did not answer; try again ({detail})"
            return status, *problem(status, detail, faults)
    return None


def install(app: FastAPI) -> None:
    async def known(_: Request, error: Exception) -> Response:
        found = of(error)
        assert found is not None
        status, headers, body = found
        return Response(body, status, headers)

    async def framework(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers, body = problem(error.status_code, str(error.detail))
        return Response(body, error.status_code, {**headers, **(error.headers or {})})

    async def parameters(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        faults = tuple(Fault(tuple(one["loc"]), one["msg"]) for one in error.errors())
        where = ", ".join(pointer_text(fault.pointer) for fault in faults)
        headers, body = problem(422, f"faulty parameters: {where}", faults)
        return Response(body, 422, headers)

    async def unforeseen(request: Request, error: Exception) -> Response:
        log.error("unforeseen method=%s path=%s", request.method, request.url.path, exc_info=error)
        headers, body = problem(500, "the server made a mistake; it is in its log")
        return Response(body, 500, headers)

    async def gone(_: Request, __: Exception) -> Response:
        """Nobody is there to read it."""
        headers, body = problem(400, "the connection was closed before the body was whole")
        return Response(body, 400, headers)

    app.add_exception_handler(ClientDisconnect, gone)
    for kind in (errors.RequestError, StoreError):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, parameters)
    app.add_exception_handler(Exception, unforeseen)
