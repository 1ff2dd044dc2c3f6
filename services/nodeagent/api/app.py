"""The application: routes, documentation, errors."""

import asyncio
import time
from typing import Annotated, Any, Literal

import orjson
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from nodeagent import VERSION
from nodeagent.agent import Agent
from nodeagent.api import problems, wire
from nodeagent.api.metrics import exposed
from nodeagent.api.problems import Fault, Problem
from nodeagent.api.status import by_text, status_of
from nodeagent.enforcement import Outcome, PlanText
from nodeagent.kernel import KernelRefused
from nodeagent.metering import Traffic
from nodeagent.nft.meters import DIRECTIONS, Scope
from verge import apidocs
from verge.contract.view import InstanceId, View, ViewInvalid

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
        return status_of(_present(agent))

    @app.get("/v1/plan")
    async def plan() -> wire.Plan:
        """What would change in the kernel right now: empty when observed equals desired."""
        return _plan(await _present(agent).passes.plan())

    @app.get("/v1/preflight")
    async def preflight() -> wire.Preflight:
        """Every requirement of this host, looked at now: found and needed, and how to mend it. Takes up to some seconds
        where the gateway, the metadata service or the view server does not answer."""
        checks = await _present(agent).passes.examine()
        return wire.Preflight(
            ok=not any(one.blocks for one in checks), checks=[wire.Check(**one.to_wire()) for one in checks]
        )

    @app.get("/v1/ruleset")
    async def ruleset() -> wire.Ruleset:
        """The desired ruleset as nft text, and the observed one, with what operators keep in it (`operator_…`)."""
        desired, observed = await _present(agent).passes.ruleset()
        return wire.Ruleset(desired=desired, observed=observed)

    @app.get("/v1/instances")
    async def instances() -> wire.Instances:
        """Each instance of the view in force: is its port enforced, and what has passed it?"""
        running = _present(agent)
        traffic = await _traffic(running)
        found = sorted(_readiness(running).items())
        return wire.Instances(instances=[_instance(name, readiness, traffic) for name, readiness in found])

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
        return _instance(instance, readiness, await _traffic(_present(agent)))

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics(request: Request) -> Response:
        """For Prometheus, in its text format; docs/metrics-agent.md says what each name means."""
        running = _present(agent)
        traffic, dropped = await _traffic(running), await running.passes.dropped()
        return exposed(running, traffic, dropped, request.headers.get("accept", ""))

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
    return by_text(outcome) if outcome and outcome.state != "rejected" else {}


async def _traffic(agent: Agent) -> dict[InstanceId, Traffic]:
    """Empty where the kernel cannot be asked: who asks whether a port is ready is answered all the same."""
    try:
        return await agent.passes.traffic()
    except (KernelRefused, OSError):
        return {}


def _instance(name: str, readiness: wire.Readiness, traffic: dict[InstanceId, Traffic]) -> wire.Instance:
    counts = traffic.get(InstanceId(name))

    def directions(scope: Scope) -> wire.Directions:
        assert counts is not None
        incoming, out = (wire.Count(**counts[one, scope]._asdict()) for one in DIRECTIONS)
        return wire.Directions.model_validate({"in": incoming, "out": out})

    found = wire.Traffic(inside=directions("inside"), outside=directions("outside")) if counts else None
    return wire.Instance(id=name, readiness=readiness, ready=readiness == "ready", traffic=found)


def _plan(plan: PlanText) -> wire.Plan:
    return wire.Plan(empty=not plan, steps=list(plan.steps))


def _pass(outcome: Outcome) -> wire.Pass:
    return wire.Pass(
        state=outcome.state,
        failures=[wire.Failure(**failure.to_wire()) for failure in outcome.failures],
        instances=by_text(outcome),
        changes=outcome.changes,
        timings_ms=dict(outcome.timings_ms),
    )
