"""What each node makes of the packet now: by the view that it has applied, by what it had to close, by what it waits for.

A node's share of a verdict is in force when the view it has applied, whichever that is, gives the same outcome as the one that is
meant; being behind in other matters does not count. What is allowed needs both nodes; what is denied, one that drops it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

from viewserver.explain.stages import Part
from viewserver.explain.verdict import Explanation, Role, judge
from viewserver.model.convergence import Facts, Standing, standing
from viewserver.model.network import Network
from viewserver.model.objects import Withdrawal

Enforces = Literal["passes", "drops", "unknown"]
_NOTHING: Final = Network()


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server knows of a node that judges."""

    facts: Facts
    goes_by: Network | None
    """The network whose view the node has applied; None where that is not known any more."""


@dataclass(frozen=True, slots=True)
class Share:
    """A node's share of the verdict."""

    node: str
    role: Literal["source", "destination", "former"]
    """`former`: it had an address of the packet's before, and has not reported that it gave it up."""
    meant: Enforces
    enforces: Enforces
    standing: Standing | None
    """None: the node was removed."""
    reasons: tuple[str, ...]
    """Why it is not in force, or what else is to be known."""
    as_meant: bool = True
    """The packet has the source address behind it that it is meant to have."""

    @property
    def in_force(self) -> bool:
        return self.enforces == self.meant and self.as_meant

    def to_wire(self) -> dict[str, Any]:
        wire = {
            "node": self.node,
            "role": self.role,
            "meant": self.meant,
            "enforces": self.enforces,
            "in_force": self.in_force,
            "reasons": list(self.reasons),
        }
        if self.standing is None:
            return {**wire, "state": "removed"}
        told = self.standing.to_wire()
        return wire | {
            name: told[name] for name in ("state", "version", "applied_version", "lag_versions", "lag_seconds")
        }


@dataclass(frozen=True, slots=True)
class Enforced:
    shares: tuple[Share, ...]
    in_force: bool
    now: Literal["allowed", "denied", "unknown"]
    """What happens to a packet that is sent now, as far as anybody has told."""


def enforced(network: Network, meant: Explanation, seen: Mapping[str, Seen], now: datetime) -> Enforced:
    """`seen` has the nodes of the route, and those that withdrawn addresses left; one that it lacks was removed."""
    known = {node: _goes_by(one) for node, one in seen.items()}
    asked = meant.route
    at_source = known.get(asked.source_node or "") or network
    at_destination = known.get(asked.destination_node or "") or network
    actual = dict(judge(asked, at_source, at_destination).parts)
    shares = tuple(
        _share(role, part, actual[role], seen[part.node], now)
        for role, part in meant.parts
        if part.node is not None and part.node in seen
    )
    former = tuple(_former(withdrawal, address, seen, now) for address, withdrawal in withdrawn(network, meant, seen))
    nowhere = any(part.node is None and not part.passes for _, part in meant.parts)
    given_up = not former
    if meant.allowed:
        in_force = given_up and all(share.in_force for share in shares)
    else:
        in_force = given_up and (nowhere or any(share.in_force and share.meant == "drops" for share in shares))
    if given_up and (nowhere or any(share.enforces == "drops" for share in shares)):
        happens: Literal["allowed", "denied", "unknown"] = "denied"
    else:
        sure = given_up and not nowhere and all(share.enforces == "passes" for share in shares)
        happens = "allowed" if sure else "unknown"
    return Enforced((*shares, *former), in_force, happens)


def withdrawn(network: Network, meant: Explanation, seen: Mapping[str, Seen]) -> Iterable[tuple[str, Withdrawal]]:
    """The ends' addresses that their former nodes have not given up, as far as `seen` knows the nodes."""
    for address, withdrawal in withdrawals(network, meant):
        one = seen.get(withdrawal.node)
        if one is None or one.facts.applied < withdrawal.revision:
            yield address, withdrawal


def withdrawals(network: Network, meant: Explanation) -> Iterable[tuple[str, Withdrawal]]:
    """Of the ends' addresses, whether given up or not."""
    addresses: dict[str, None] = {}
    for end in (meant.route.source, meant.route.destination):
        instance = network.instance(end.name) if end.kind == "instance" and end.name else None
        if instance is not None:
            addresses[str(instance.private_ip)] = None
        if end.by_elastic:
            addresses[str(end.address)] = None
    for address in addresses:
        withdrawal = network.withdrawal(address)
        if withdrawal is not None:
            yield address, withdrawal


def _goes_by(seen: Seen) -> Network | None:
    told = seen.facts.told
    if told is None or told.state == "pinned":
        return None
    return _NOTHING if told.epoch == 0 else seen.goes_by


def _share(role: Role, meant: Part, actual: Part, seen: Seen, now: datetime) -> Share:
    facts = seen.facts
    found = standing(facts, now)
    wanted: Enforces = "passes" if meant.passes else "drops"
    share = Share(facts.node, role, wanted, "unknown", found, ())
    told = facts.told
    if told is None or found.state == "silent":
        return replace(share, reasons=(found.reason or found.state,))
    if told.state == "pinned":
        return replace(share, reasons=("it enforces a view that was handed to it directly (pinned)",))
    if _goes_by(seen) is None:
        return replace(
            share, reasons=(f"what it enforces, version {told.applied} of epoch {told.epoch}, is not kept here",)
        )
    closed = _closed(meant, seen)
    does: Enforces = "passes" if actual.passes and not closed else "drops"
    waiting = _waiting(meant, seen)
    if waiting and does == "passes":
        does, closed = "drops", (*closed, *waiting)
    reasons = list(closed)
    if does != wanted and not closed:
        reasons += [stage.text for stage in actual.stages if stage.outcome == "drops"]
        if does == "passes" and actual.deciding is not None:
            reasons.append(f"there it still passes: {actual.deciding.text}")
    as_meant = does != "passes" or actual.seen == meant.seen or role == "destination"
    if does == wanted and not as_meant:
        reasons.append(f"there it still comes as {actual.seen}")
    if facts.applied < facts.version:
        reasons.insert(0, f"still on {facts.applied or 'nothing'}, {found.lag_seconds:.1f} s behind")
    if told.state == "rejected" and found.reason:
        reasons.append(f"it rejected {told.attempted or 'its view'}: {found.reason}")
    return replace(share, enforces=does, reasons=tuple(reasons), as_meant=as_meant)


def _closed(meant: Part, seen: Seen) -> tuple[str, ...]:
    """Objects of this part that the node could not make true. Those of an attempt that was rejected say nothing of what is in
    force."""
    told = seen.facts.told
    if told is None or told.state == "rejected":
        return ()
    own = {f"instances/{name}" for name in _own(meant, seen)}
    ruled = {stage.judged.ruled.group for stage in meant.stages if stage.judged and stage.judged.ruled}
    elastic = {f"elastic_ips/{name}" for kind, name in meant.facts if kind == "elastic_ip"}
    names = own | {f"groups/{group}" for group in ruled} | elastic
    found = [
        f"{one.object.partition('/')[2]} is closed there: {one.reason}" for one in told.failures if one.object in names
    ]
    if not found:
        found = [
            f"{name} is quarantined there" for name in _own(meant, seen) if told.instances.get(name) == "quarantined"
        ]
    return tuple(found)


def _waiting(meant: Part, seen: Seen) -> tuple[str, ...]:
    told = seen.facts.told
    network = seen.goes_by
    if told is None or network is None:
        return ()
    waiting = []
    for name in _own(meant, seen):
        instance = network.instance(name)
        if instance is not None and told.instances.get(name) == "waiting-for-interface":
            waiting.append(f"waiting for interface {instance.port}")
    return tuple(waiting)


def _own(meant: Part, seen: Seen) -> list[str]:
    """The instances of the packet that are on this node."""
    network = seen.goes_by
    if network is None:
        return []
    names = sorted(name for kind, name in meant.facts if kind == "instance")
    return [name for name in names if (one := network.instance(name)) and one.node == seen.facts.node]


def _former(withdrawal: Withdrawal, address: str, seen: Mapping[str, Seen], now: datetime) -> Share:
    one = seen.get(withdrawal.node)
    found = standing(one.facts, now) if one is not None else None
    why = f"it had {address}, and has not reported that it gave it up (withdrawn at revision {withdrawal.revision})"
    more = (found.reason,) if found is not None and found.state in ("silent", "never-seen", "rejected") else ()
    gone = ("it was removed: only an operator knows",) if one is None else ()
    return Share(withdrawal.node, "former", "drops", "unknown", found, (why, *(m for m in more if m), *gone))
