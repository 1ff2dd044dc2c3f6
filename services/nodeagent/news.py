"""What became of a pass, as it is told: to the server, and to whoever reads the log."""

from collections.abc import Mapping

from nodeagent.journal import Value
from nodeagent.outcome import Outcome
from nodeagent.session import Enforced
from verge.contract.etag import ETag
from verge.contract.report import Check, Drift, Failure, State


def enforced(
    outcome: Outcome,
    *,
    in_force: ETag | None,
    held: ETag | None,
    pinned: bool,
    disk_problem: str | None,
    timings_ms: Mapping[str, float],
    drift: tuple[Drift, ...] = (),
    preflight: tuple[Check, ...] = (),
) -> Enforced:
    """For the server. Under a pinned view nothing that it knows is in force, and what it wants is named as attempted."""
    state: State = "pinned" if pinned else outcome.state
    failures = outcome.failures
    if disk_problem:
        failures += (Failure("checkpoint", "disk", disk_problem),)
        state = "degraded" if state == "applied" else state
    behind = state in ("pinned", "rejected")
    return Enforced(
        applied=in_force,
        attempted=held if behind else None,
        state=state,
        failures=failures,
        instances=outcome.instances,
        timings_ms={stage: round(spent, 3) for stage, spent in timings_ms.items()},
        sessions_cut=outcome.sessions_cut,
        drift=drift,
        preflight=preflight,
    )


def line(came: Enforced, outcome: Outcome, *, has_view: bool) -> tuple[str, dict[str, Value]]:
    """For the log: the event and its facts."""
    etag = came.attempted or came.applied
    first = came.failures[0] if came.failures else None
    facts: dict[str, Value] = {
        "epoch": etag.epoch if etag else None,
        "version": etag.version if etag else None,
        "in_force": came.applied.version if came.applied and came.applied != etag else None,
        "instances": len(outcome.instances),
        "waiting": sum(state != "ready" for state in outcome.instances.values()) or None,
        "changes": outcome.changes,
        "failures": len(came.failures) or None,
        "first": f"{first.object}: {first.stage}: {first.reason}" if first else None,
    }
    event = f"view-{came.state}" if has_view else f"no-view-{'closed' if came.state == 'applied' else came.state}"
    return event, facts | {f"{stage}_ms": float(spent) for stage, spent in came.timings_ms.items()}


def preflight(checks: tuple[Check, ...]) -> dict[str, Value]:
    """For the log: how many, and the first that is not as it should be."""
    wrong = [one for one in checks if not one.ok]
    failing = sum(one.blocks for one in wrong)
    return {
        "checks": len(checks),
        "failing": failing or None,
        "warnings": len(wrong) - failing or None,
        "first": f"{wrong[0].check}: {wrong[0].found}" if wrong else None,
        "remedy": wrong[0].remedy if failing else None,
    }
