"""What a node tells: its report."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from verge.contract.etag import ETag
from verge.contract.report import Check, Drift, Failure, Report
from viewserver.api.context import CallerOf, Server, ServerOf, parse_json, read_body
from viewserver.errors import Contradiction, Malformed, NotReady
from viewserver.model.faults import as_faults

router = APIRouter(tags=["nodes"])

REPORT_BYTES = 4 * 1024 * 1024
STORED_WITHIN_S = 10.0


def _etag(value: Any) -> Any:
    if isinstance(value, ETag):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return ETag.parse(value)


class At(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True, extra="ignore")
    etag: Annotated[ETag, BeforeValidator(_etag), WithJsonSchema({"type": "string"})]


class FailureIn(BaseModel):
    object: str = Field(max_length=300)
    stage: str = Field(max_length=100)
    reason: str = Field(max_length=4000)


class DriftIn(BaseModel):
    at: AwareDatetime
    what: str = Field(max_length=4000)
    culprit: str | None = Field(None, max_length=300)
    repaired_ms: float = Field(ge=0, allow_inf_nan=False)


class CheckIn(BaseModel):
    check: str = Field(max_length=100)
    ok: bool
    severity: Literal["failing", "warning"] = "failing"
    found: str = Field("", max_length=4000)
    needed: str = Field("", max_length=4000)
    remedy: str = Field("", max_length=4000)


class Agent(BaseModel):
    version: str | None = Field(None, max_length=100)
    boot_id: str | None = Field(None, max_length=100)


class ReportIn(BaseModel):
    """Only `applied` and `state` are required; fields this server does not know are ignored, so newer agents may tell more."""

    model_config = ConfigDict(extra="ignore")
    applied: At | None
    state: Literal["applied", "degraded", "rejected", "pinned"]
    attempted: At | None = None
    failures: list[FailureIn] = Field(default_factory=list, max_length=10_000)
    instances: dict[str, Literal["ready", "waiting-for-interface", "prepared", "quarantined"]] = Field(
        default_factory=dict
    )
    sequence: int | None = Field(None, ge=0, lt=2**63)
    agent: Agent = Field(default_factory=Agent)
    timings_ms: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    kernel_digest: str | None = Field(None, max_length=200)
    sessions_cut: int = Field(0, ge=0, lt=2**63)
    preflight: list[CheckIn] = Field(default_factory=list, max_length=1000)
    drift: list[DriftIn] = Field(default_factory=list, max_length=1000)

    def to_report(self) -> Report:
        return Report(
            applied=self.applied.etag if self.applied else None,
            state=self.state,
            attempted=self.attempted.etag if self.attempted else None,
            failures=tuple(Failure(one.object, one.stage, one.reason) for one in self.failures),
            instances=self.instances,
            sequence=self.sequence,
            agent_version=self.agent.version,
            boot_id=self.agent.boot_id,
            timings_ms=self.timings_ms,
            kernel_digest=self.kernel_digest,
            sessions_cut=self.sessions_cut,
            preflight=tuple(Check(**one.model_dump()) for one in self.preflight),
            drift=tuple(Drift(one.at, one.what, one.culprit, one.repaired_ms) for one in self.drift),
        )


@router.put(
    "/v1/nodes/{node}/report",
    summary="What the node enforces",
    status_code=204,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": ReportIn.model_json_schema(ref_template="#/components/schemas/{model}")}
            },
        }
    },
)
async def put_report(request: Request, server: ServerOf, caller: CallerOf, node: str) -> Response:
    """204 once it is stored. 409 for an ETag from the future, or with another digest than that version had; an older
    sequence of the same boot is ignored. Wakes no node and changes no view."""
    caller.may("node")
    caller.may_speak_for(node)
    await take(server, node, await read_body(request, REPORT_BYTES))
    return Response(status_code=204)


async def take(server: Server, node: str, body: bytes) -> None:
    """A report, until it is stored. Raises Malformed, UnknownObject, Contradiction, NotReady, StoreError."""
    try:
        report = ReportIn.model_validate(parse_json(body)).to_report()
    except ValidationError as wrong:
        raise Malformed(tuple(as_faults(wrong, ()))) from wrong
    try:
        server.reports.check(node, report)
    except Contradiction:
        await server.follower.catch_up_changes()  # the view may have come from a replica that is ahead of this one
        server.reports.check(node, report)
    stored = server.reports.submit(node, report, acknowledged=True)
    assert stored is not None
    try:
        async with asyncio.timeout(STORED_WITHIN_S):
            await stored
    except TimeoutError:
        raise NotReady("Postgres has not taken the report yet; it will be tried again") from None
