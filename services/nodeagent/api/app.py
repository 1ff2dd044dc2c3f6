"""The application: routes, documentation, errors."""

import asyncio
import time
from dataclasses import asdict
from typing import Annotated, Any, Literal

import orjson
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from nodeagent import VERSION
from nodeagent.agent import Agent
from nodeagent.api import problems, wire
from nodeagent.api.problems import Fault, Problem
from nodeagent.enforcement import Outcome, PlanText
from verge import apidocs
from verge.contract.etag import ETag
from verge.contract.view import View, ViewInvalid

TITLE = "Verge node agent"

_VIEW_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "description": "A whole view of this node"}}},
    }
}
_DRY_RUN: dict[int | str, dict[str, Any]] = {
    200: {"model": wire.Pass | wire.Plan, "description": "The pass, or the plan if it is a dry run"}
}


def make_app(agent: Agent | None = None) -> FastAPI:
    """Without an agent it serves its description only (`verge-nodeagent openapi`)."""
    app = FastAPI(title=TITLE, version=VERSION, docs_url=None, redoc_url=None, responses=problems.RESPONSES)
    problems.add_to(app)
    _add_documentation(app)
    _add_asking(app, agent)
    _add_changing(app, agent)
    described = problems.describe(app.openapi())
    app.openapi = lambda: described  # type: ignore[method-assign]
    return app


def _add_documentation(app: FastAPI) -> None:
    app.mount("/docs/assets", StaticFiles(directory=apidocs.ASSETS), name="assets")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(apidocs.page(TITLE))


def _add_asking(app: FastAPI, agent: Agent | None) -> None:
    @app.get("/v1/status")
    async def status() -> wire.Status:
        """Held, applied and attempted version; what failed and why; how it stands with the server."""
        return _status(_present(agent))

    @app.get("/v1/plan")
    async def plan() -> wire.Plan:
        """What would change in the kernel right now: empty when observed equals desired."""
        return _plan(await _present(agent).passes.plan())

    @app.get("/v1/ruleset")
    async def ruleset() -> wire.Ruleset:
        """The desired ruleset as nft text, and the observed one."""
        desired, observed = await _present(agent).passes.ruleset()
        return wire.Ruleset(desired=desired, observed=observed)

    @app.get("/v1/instances/{instance}")
    async def instance(
        instance: str,
        wait: Annotated[
            Literal["ready"] | None, Query(description="Answer when it is ready, or at the deadline")
        ] = None,
        timeout: Annotated[float, Query(ge=0, le=600, description="Seconds")] = 30,  # noqa: ASYNC109 - the contract names it
    ) -> wire.Instance:
        """The local boot gate: is this instance's port enforced? 404 when no view names it (by the deadline)."""
        passes = _present(agent).passes
        deadline = time.monotonic() + (timeout if wait else 0)
        while True:
            passed = passes.passed
            readiness = _readiness(_present(agent)).get(instance)
            left = deadline - time.monotonic()
            if readiness == "ready" or left <= 0:
                break
            try:
                await asyncio.wait_for(passed.wait(), left)
            except TimeoutError:
                continue
        if readiness is None:
            raise Problem(404, f"no view of this node names {instance}")
        return wire.Instance(id=instance, readiness=readiness, ready=readiness == "ready")

    @app.get("/healthz")
    async def healthz() -> wire.Health:
        """The agent is alive."""
        return wire.Health(ok=True)

    @app.get("/readyz")
    async def readyz(response: Response) -> wire.Health:
        """The kernel matches what is wanted of it; 503 with the reason if not."""
        outcome = _present(agent).passes.outcome
        if outcome and outcome.state != "rejected":
            return wire.Health(ok=True)
        response.status_code = 503
        first = outcome.failures[0] if outcome and outcome.failures else None
        return wire.Health(ok=False, reason=f"{first.object}: {first.reason}" if first else "no pass has ended yet")


def _add_changing(app: FastAPI, agent: Agent | None) -> None:
    @app.post("/v1/resync")
    async def resync() -> wire.Pass:
        """Read back everything that is ours and repair it."""
        return _pass(await _present(agent).passes.resync())

    @app.post("/v1/apply", responses=_DRY_RUN, openapi_extra=_VIEW_BODY)
    async def apply(
        request: Request,
        dry_run: Annotated[bool, Query(description="Return the plan and change nothing")] = False,
    ) -> Response:
        """Put a view in force by hand, and keep it (pinned) until it is taken back, whatever the server says.

        409 when the kernel takes nothing of it: then nothing has changed."""
        running = _present(agent)
        body = await request.body()
        view = _handed_over(body, running.settings.node)
        if dry_run:
            return JSONResponse(_plan(await running.passes.plan(view)).model_dump())
        outcome = await running.passes.pin(view, body)
        if outcome.state == "rejected":
            faults = [Fault(pointer=f"/{one.object}", message=f"{one.stage}: {one.reason}") for one in outcome.failures]
            raise Problem(409, "nothing of this view went in; what was in force still is", faults)
        return JSONResponse(_pass(outcome).model_dump())

    @app.delete("/v1/apply")
    async def unpin() -> wire.Pass:
        """Return to the view that the server wants. 404 when no view is pinned."""
        outcome = await _present(agent).passes.unpin()
        if outcome is None:
            raise Problem(404, "no view is pinned")
        return _pass(outcome)


def _handed_over(body: bytes, node: str) -> View:
    """Raises Problem."""
    try:
        view = View.parse(orjson.loads(body))
    except orjson.JSONDecodeError as wrong:
        raise Problem(400, f"the body is not JSON: {wrong}") from wrong
    except ViewInvalid as wrong:
        raise Problem(422, "this is not a view", [Fault(pointer=wrong.pointer, message=wrong.message)]) from wrong
    if view.node != node:
        fault = Fault(pointer="/node", message=f"this is {node}, the view is of {view.node}")
        raise Problem(422, "this is another node's view", [fault])
    return view


def _present(agent: Agent | None) -> Agent:
    if agent is None:
        raise Problem(503, "there is no agent behind this description")
    return agent


def _readiness(agent: Agent) -> dict[str, wire.Readiness]:
    """Of what is in force: rules of a view that was rejected protect nobody."""
    outcome = agent.passes.outcome
    return _by_text(outcome) if outcome and outcome.state != "rejected" else {}


def _by_text(outcome: Outcome) -> dict[str, wire.Readiness]:
    return {str(name): readiness for name, readiness in outcome.instances.items()}


def _status(agent: Agent) -> wire.Status:
    passes, session = agent.passes, agent.session
    told, outcome = passes.told, passes.outcome
    served = agent.client is not None
    state: Any = "starting" if told is None else told.state
    if passes.wanted is None and outcome and outcome.state == "applied":
        state = "closed"
    age = None if session.answered_at is None else round(time.monotonic() - session.answered_at, 1)
    return wire.Status(
        node=agent.settings.node,
        agent=wire.Agent(version=VERSION, up_s=round(time.monotonic() - agent.started_at, 1)),
        state=state,
        held=_version(passes.held.etag if passes.held else None),
        applied=_version(passes.in_force.etag if passes.in_force else None),
        attempted=_version(told.attempted if told else None),
        refused=_version(session.refused),
        pinned=wire.Pinned(digest=passes.pinned.view.digest, instances=len(passes.pinned.view.instances))
        if passes.pinned
        else None,
        failures=[wire.Failure(**failure.to_wire()) for failure in told.failures] if told else [],
        instances=_by_text(outcome) if outcome else {},
        server=wire.Server(
            url=session.server if served else None,
            standing=session.standing if served else None,
            problem=session.problem,
            revision=str(session.seen) if session.seen else None,
            stale_s=session.stale_s,
        ),
        view_age_s=age,
        timings_ms=dict(told.timings_ms) if told else {},
        checkpoint_problem=passes.disk_problem,
        dhcp=wire.Dhcp(**asdict(passes.dhcp)) if passes.dhcp else None,
        generation=passes.generation,
        drift=[wire.Drift(**one.to_wire()) for one in passes.drift],
    )


def _version(etag: ETag | None) -> wire.Version | None:
    if etag is None:
        return None
    return wire.Version(etag=str(etag), epoch=etag.epoch, version=etag.version, digest=etag.digest)


def _plan(plan: PlanText) -> wire.Plan:
    return wire.Plan(empty=not plan, steps=list(plan.steps))


def _pass(outcome: Outcome) -> wire.Pass:
    return wire.Pass(
        state=outcome.state,
        failures=[wire.Failure(**failure.to_wire()) for failure in outcome.failures],
        instances=_by_text(outcome),
        changes=outcome.changes,
        timings_ms=dict(outcome.timings_ms),
    )
