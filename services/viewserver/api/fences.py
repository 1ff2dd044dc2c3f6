"""Fences: which addresses wait for which node, and breaking one."""

from fastapi import APIRouter

from viewserver import fences
from viewserver.api.context import CallerOf, Json, ServerOf
from viewserver.model.convergence import standing

router = APIRouter(tags=["fences"])


@router.get("/v1/fences", summary="Addresses held back from their new node")
async def list_fences(server: ServerOf, caller: CallerOf) -> Json:
    """An address is held back until its old node has reported that it gave it up."""
    caller.may("operator")
    network = server.replica.held.network
    olds = {withdrawal.node for withdrawal in network.fenced.values()}
    states = {facts.node: standing(facts, server.replica.clock.now()) for facts in server.replica.facts(olds)}
    found = []
    for address, withdrawal in sorted(network.fenced.items()):
        holder = network.holder(address)
        instance = network.instance(holder) if holder else None
        state = states.get(withdrawal.node)
        found.append(
            {
                "address": address,
                "from": withdrawal.node,
                "to": instance.node if instance else None,
                "instance": holder,
                "withdrawn_at": withdrawal.revision,
                "since": withdrawal.fence,
                "from_state": state.state if state else "removed",
            }
        )
    return Json({"fences": found})


@router.delete("/v1/fences/{address}", summary="Break a fence")
async def delete_fence(server: ServerOf, caller: CallerOf, address: str) -> Json:
    """Gives the address to its new node now. Only for an operator who knows that the old node does not use it: two nodes
    that answer for one address take each other's traffic. The change log names who did it."""
    caller.may("operator")
    answer = await fences.break_fence(server.updates, caller.actor, address)
    return Json(answer.to_wire())
