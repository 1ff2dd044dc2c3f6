"""The boot gate and the migration's gate: is this instance's port enforced on its node, or prepared where it is going?"""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from viewserver.api.context import CallerOf, Json, ServerOf
from viewserver.errors import UnknownObject
from viewserver.model.network import places
from viewserver.replica import PROGRESS, Replica
from viewserver.waiting import until

router = APIRouter(tags=["convergence"])


@router.get("/v1/instances/{id}", summary="An instance, and whether its port is enforced on its node")
async def get_instance(
    server: ServerOf,
    caller: CallerOf,
    id: str,  # noqa: A002 - its name in the path
    wait: Annotated[
        Literal["ready", "prepared"] | None,
        Query(description="Answer as soon as it is ready on its node, or prepared on the one that it is migrating to."),
    ] = None,
    timeout: Annotated[float, Query(ge=0, description="Seconds; the longest wait is 60.")] = 30.0,  # noqa: ASYNC109
) -> Json:
    """`ready` when its node has reported the port in force with everything said of the instance so far. `prepared` when
    the node in `migrating_to` has reported the same of a closed port: a hypervisor starts the migration then. A node's
    token is good for the instances on that node or on the way there. 404 for an instance that does not exist, or no longer.
    """
    caller.may("cloud", "node")
    replica = server.replica
    deadline = time.monotonic() + (min(timeout, server.settings.max_wait_s) if wait else 0.0)
    while True:
        with replica.progress.ticket(PROGRESS) as ticket:
            instance = replica.held.network.instance(id)
            if caller.role == "node":
                its_nodes = places(instance) if instance is not None else set()
                caller.may_speak_for(next((node for node in its_nodes if node == caller.node), ""))
            if instance is None:
                raise UnknownObject(f"instance {id} does not exist")
            found = _standing(replica, id)
            if found[wait or "ready"] or time.monotonic() >= deadline or replica.progress.closed:
                return Json(found)
            await until(ticket, deadline - time.monotonic())


def _standing(replica: Replica, key: str) -> dict[str, Any]:
    network = replica.held.network
    instance = network.instance(key)
    assert instance is not None
    last = max((one.revision for one in replica.recent.values() if f"instances/{key}" in one.touched), default=0)

    def said(node: str) -> str:
        """What the node says of the port, once it has applied all that was said of the instance."""
        told = replica.told.get(node)
        is_current = told is not None and replica.applied(node) >= min(last, replica.held.versions.get(node, 0))
        return told.instances.get(key, "waiting-for-node") if told is not None and is_current else "waiting-for-node"

    if instance.node is None:
        state = "not-placed"
    elif network.effective_node(key) is None:
        state = "fenced"
    else:
        state = said(instance.node)
    target = said(instance.migrating_to) if instance.migrating_to is not None else None
    return {
        "id": key,
        "node": instance.node,
        "interface": instance.interface,
        "private_ip": str(instance.private_ip),
        "elastic_ip": network.effective_elastic_ip(key),
        "state": state,
        "ready": state == "ready",
        "migrating_to": instance.migrating_to,
        "target_state": target,
        "prepared": target == "prepared",
        "changed_at_revision": last or None,
        "applied_version": replica.applied(instance.node) or None if instance.node else None,
    }
