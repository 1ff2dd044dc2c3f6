"""Who has what: the whole cloud now, or the barrier on one change."""

import time
from typing import Annotated

from fastapi import APIRouter, Query

from viewserver.api.barrier import Terms, wait_for
from viewserver.api.context import CallerOf, Json, ServerOf

router = APIRouter(tags=["convergence"])


@router.get("/v1/convergence", summary="Convergence of the cloud, or a barrier on one revision")
async def get_convergence(
    server: ServerOf,
    caller: CallerOf,
    revision: Annotated[int | None, Query(ge=0, lt=2**63, description="Answer for this change.")] = None,
    wait: Annotated[float, Query(ge=0, description="Seconds to wait for it; the longest wait is 60.")] = 0.0,
    quorum: Annotated[float, Query(gt=0, le=1, description="The share of affected nodes that is enough.")] = 1.0,
    allow: Annotated[
        str | None, Query(pattern="^degraded$", description="Accept nodes that closed an object of it.")
    ] = None,
) -> Json:
    """Without `revision`: the head, counts of nodes by state, lag in versions and seconds, laggards by name and reason.

    With it: `{"revision", "converged", "affected", "applied", "laggards"}` as soon as every affected node has applied the
    change, else at the deadline; `laggards` names the first thousand, `laggards_total` counts all. 404 for a revision
    that has not come to be by then.
    """
    caller.may("cloud")
    replica = server.replica
    if revision is None:
        now = replica.clock.now()
        return Json(replica.standings.cloud(now).to_wire(replica.held.revision, replica.held.epoch, now))
    deadline = time.monotonic() + min(wait, server.settings.max_wait_s)
    found = await wait_for(server, revision, deadline, Terms(quorum, allow == "degraded"))
    return Json(found.to_wire())
