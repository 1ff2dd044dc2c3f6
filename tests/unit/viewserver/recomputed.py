"""Convergence computed again from the facts of every node, one by one: what the incremental counts must agree with."""

from collections.abc import Sequence
from typing import Any

from viewserver.model.convergence import STATES, Standing, percentiles


def summary(revision: int, epoch: int, standings: Sequence[Standing], most: int = 100) -> dict[str, Any]:
    """The answer of `GET /v1/convergence`."""
    mattering = [one for one in standings if one.matters]
    behind = sorted(
        (one for one in mattering if one.state != "converged"), key=lambda one: (-one.lag_seconds, one.node)
    )
    zones = sorted({one.zone for one in standings})
    return {
        "revision": revision,
        "epoch": epoch,
        "converged": all(one.applied_version >= one.version and one.state != "degraded" for one in mattering),
        **_part(standings),
        "zones": {zone: _part([one for one in standings if one.zone == zone]) for zone in zones},
        "laggards": [one.to_wire() for one in behind[:most]],
        "laggards_total": len(behind),
        "never_seen": sorted(one.node for one in standings if not one.matters)[:most],
    }


def _part(standings: Sequence[Standing]) -> dict[str, Any]:
    mattering = [one for one in standings if one.matters]
    counts = {state.replace("-", "_"): sum(one.state == state for one in standings) for state in STATES}
    return {
        "nodes": {"total": len(standings), **counts},
        "lag": {
            "versions": percentiles([one.lag_versions for one in mattering]),
            "seconds": percentiles([round(one.lag_seconds, 3) for one in mattering]),
        },
    }
