"""Errors as RFC 9457 problem+json: every fault of a request in one answer."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"


class Fault(BaseModel):
    pointer: str
    """JSON pointer (RFC 6901) into the body, or `/query/NAME`."""
    message: str


class ProblemBody(BaseModel):
    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    errors: list[Fault] = []


class Problem(Exception):
    def __init__(self, status: int, detail: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.faults = list(faults)


def answer(status: int, detail: str, faults: Sequence[Fault] = ()) -> JSONResponse:
    body = ProblemBody(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=list(faults))
    return JSONResponse(body.model_dump(), status_code=status, media_type=MEDIA_TYPE)


def add_to(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def on_problem(_: Request, problem: Problem) -> JSONResponse:
        return answer(problem.status, problem.detail, problem.faults)

    @app.exception_handler(HTTPException)
    async def on_http(_: Request, problem: HTTPException) -> JSONResponse:
        return answer(problem.status_code, str(problem.detail))

    @app.exception_handler(RequestValidationError)
    async def on_input(_: Request, wrong: RequestValidationError) -> JSONResponse:
        faults = [Fault(pointer=_pointer(error["loc"]), message=str(error["msg"])) for error in wrong.errors()]
        return answer(422, f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in the request", faults)

    @app.exception_handler(Exception)
    async def on_fault(_: Request, failed: Exception) -> JSONResponse:
        return answer(500, f"the agent failed to answer: {failed!r}")


def _pointer(location: Sequence[Any]) -> str:
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in location]
    return "/" + "/".join(parts[1:] if parts and parts[0] == "body" else parts)


RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {"description": "Anything that is wrong (RFC 9457)", "model": ProblemBody}
}


def describe(openapi: dict[str, Any]) -> dict[str, Any]:
    """FastAPI describes every model as application/json; errors are not."""
    for path in openapi["paths"].values():
        for operation in path.values():
            content = operation["responses"]["default"]["content"]
            content[MEDIA_TYPE] = content.pop("application/json")
    return openapi
