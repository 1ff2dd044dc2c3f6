"""The agent's state, as its status says it."""

import time
from dataclasses import asdict
from typing import Any

from nodeagent import VERSION
from nodeagent.agent import Agent
from nodeagent.api import wire
from nodeagent.enforcement import Outcome
from verge.contract.etag import ETag


def by_text(outcome: Outcome) -> dict[str, wire.Readiness]:
    return {str(name): readiness for name, readiness in outcome.instances.items()}


def status_of(agent: Agent) -> wire.Status:
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
        instances=by_text(outcome) if outcome else {},
        server=wire.Server(
            url=session.server if served else None,
            standing=session.standing if served else None,
            problem=session.problem,
            revision=str(session.seen) if session.seen else None,
            stale_s=session.stale_s,
        ),
        view_age_s=age,
        timings_ms=dict(told.timings_ms) if told else {},
        checkpoint_problem=passes.disk.problem,
        dhcp=wire.Dhcp(**asdict(passes.dhcp)) if passes.dhcp else None,
        self_test=_self_test(agent),
        generation=passes.generation,
        drift=[wire.Drift(**one.to_wire()) for one in passes.drift],
    )


def _self_test(agent: Agent) -> wire.SelfTest:
    verdict = agent.passes.self_test
    if verdict is None:
        state: Any = "not-made" if agent.settings.self_test else "off"
        return wire.SelfTest(state=state, reason=None, at=None, took_ms=None)
    return wire.SelfTest(state=verdict.state, reason=verdict.reason, at=verdict.at.isoformat(), took_ms=verdict.took_ms)


def _version(etag: ETag | None) -> wire.Version | None:
    if etag is None:
        return None
    return wire.Version(etag=str(etag), epoch=etag.epoch, version=etag.version, digest=etag.digest)
