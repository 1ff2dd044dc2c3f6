"""The boot gate: is this instance's port enforced on its node?"""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Query

from viewserver.api.context import CallerOf, Json, ServerOf
from viewserver.errors import UnknownObject
from viewserver.replica import PROGRESS, Replica
from viewserver.waiting import until

router = APIRouter(tags=["convergence"])


@router.get("/v1/instances/{id}", summary="An instance, and whether its port is enforced on its node")
async def get_instance(
    server: ServerOf,
    caller: CallerOf,
    id: str,  # noqa: A002 - its name in the path
    wait: Annotated[str | None, Query(pattern="^ready$", description="Answer as soon as it is ready.")] = None,
    timeout: Annotated[float, Query(ge=0, description="Seconds; the longest wait is 60.")] = 30.0,  # noqa: ASYNC109
) -> Json:
    """`ready` when its node has reported the port in force with everything said of the instance so far. A node's token is
    good for the instances on that node. 404 for an instance that does not exist, or no longer."""
    caller.may("cloud", "node")
    replica = server.replica
    deadline = time.monotonic() + (min(timeout, server.settings.max_wait_s) if wait else 0.0)
    while True:
        with replica.progress.ticket(PROGRESS) as ticket:
            instance = replica.held.network.instance(id)
            if caller.role == "node":
                caller.may_speak_for(instance.node or "" if instance else "")
            if instance is None:
                raise UnknownObject(f"instance {id} does not exist")
            found = _standing(replica, id)
            if found["ready"] or time.monotonic() >= deadline or replica.progress.closed:
                return Json(found)
            await until(ticket, deadline - time.monotonic())


def _standing(replica: Replica, key: str) -> dict[str, Any]:
    network = replica.held.network
    instance = network.instance(key)
    assert instance is not None
    told = replica.told.get(instance.node) if instance.node else None
    last = max((one.revision for one in replica.recent.values() if f"instances/{key}" in one.touched), default=0)
    if instance.node is None:
        state = "not-placed"
    elif network.effective_node(key) is None:
        state = "fenced"
    elif told is None or replica.applied(instance.node) < last:
        state = "waiting-for-node"
    else:
        state = told.instances.get(key, "waiting-for-node")
    return {
        "id": key,
        "node": instance.node,
        "interface": instance.interface,
        "private_ip": str(instance.private_ip),
        "elastic_ip": network.effective_elastic_ip(key),
        "state": state,
        "ready": state == "ready",
        "changed_at_revision": last or None,
        "applied_version": replica.applied(instance.node) or None if instance.node else None,
    }
