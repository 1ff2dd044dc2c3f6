"""Credentials: made, listed and revoked by an admin."""

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from viewserver.api.context import CallerOf, Json, ServerOf, parse_json, read_body
from viewserver.errors import Malformed, UnknownObject
from viewserver.model.faults import as_faults
from viewserver.model.text import HostName, Text

router = APIRouter(tags=["credentials"])


class TokenIn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: Literal["cloud", "operator", "node", "admin"]
    node: HostName | None = None
    name: Annotated[Text, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _node_names_its_node(self) -> "TokenIn":
        if (self.role == "node") != (self.node is not None):
            raise ValueError("role node needs node; no other role takes one")
        return self


@router.post(
    "/v1/tokens",
    summary="Make a token",
    status_code=201,
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": TokenIn.model_json_schema()}}}
    },
)
async def post_token(request: Request, server: ServerOf, caller: CallerOf) -> Json:
    """The answer shows the token; it is kept nowhere and cannot be shown again."""
    caller.may()
    try:
        wanted = TokenIn.model_validate(parse_json(await read_body(request, 65536)))
    except ValidationError as wrong:
        raise Malformed(tuple(as_faults(wrong, ()))) from wrong
    token_id, token = await server.credentials.add(wanted.role, wanted.node, wanted.name)
    return Json({"id": token_id, "token": token}, 201)


@router.get("/v1/tokens", summary="Valid tokens, without their secrets")
async def list_tokens(server: ServerOf, caller: CallerOf) -> Json:
    caller.may()
    return Json({"tokens": await server.credentials.listed()})


@router.delete("/v1/tokens/{id}", summary="Revoke a token", status_code=204)
async def delete_token(server: ServerOf, caller: CallerOf, id: str) -> Response:  # noqa: A002 - its name in the path
    caller.may()
    if not await server.credentials.revoke(id):
        raise UnknownObject(f"there is no valid token {id}")
    return Response(status_code=204)
