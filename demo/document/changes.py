"""What a cloud does after it was taken over: a rule is revoked, an elastic IP moves to another hypervisor."""

import contextlib
from collections.abc import Iterable, Iterator

from demo.document.model import Vm
from demo.document.reading import Attempt, Grant, Reading
from demo.document.sample import towards
from demo.document.stage import Stage, turned, wire_group
from demo.network import put
from lab.frames import TCP
from lab.session import NotEstablished, Session, Side


def a_rule_is_revoked(stage: Stage, attempts: list[Attempt]) -> None:
    """One that alone admits what was tried; over TCP, with a session open meanwhile."""
    reading = stage.reading()
    found = _revocable(attempts, reading)
    if found is None:
        stage.screen.note("no rule alone admits anything between the VMs that are built here: none is revoked")
        return
    attempt, grant = found
    stage.screen.step(f"A rule of {grant.group} is revoked: {attempt.message} from {grant.peer}")
    group = wire_group(stage.controller, grant.group)
    left = [rule for number, rule in enumerate(group["ingress"]) if number != grant.rule]
    with _session(stage, attempt, reading) as session:
        answer = stage.controller.http.post(
            "/v1/updates", json={"operations": [put("group", grant.group, {**group, "ingress": left})]}
        )
        stage.in_force(answer.raise_for_status().json()["revision"])
        if session is not None:
            for side in Side:
                who = attempt.src if side is Side.CLIENT else "the other side"
                found_now = "alive" if session.passes(side) else "dead"
                stage.screen.outcome(f"the session that it admitted: {who} sends", "dead", found_now)
    now = stage.reading()
    changed = sum(turned(one, reading, now) for one in attempts)
    stage.screen.note(f"the same {len(attempts)} flows again, {changed} of which must come out otherwise now")
    stage.check(attempts, now, reading)


def an_elastic_ip_moves(stage: Stage, attempts: list[Attempt]) -> None:
    reading = stage.reading()
    model = reading.model
    holders = [vm for vm in stage.vms if model.elastic_of(vm.id)]
    bare = [vm for vm in stage.vms if not model.elastic_of(vm.id)]
    pair = next(((old, new) for old in holders for new in bare if old.node != new.node), None)
    if pair is None:
        stage.screen.note("no elastic IP can move: no two VMs, one with and one without, are on different nodes")
        return
    old, new = pair
    address = model.elastic_of(old.id)
    assert address is not None
    stage.screen.step(f"Elastic IP {address} moves from {old.id} on {old.node} to {new.id} on {new.node}")
    answer = stage.controller.http.post(
        "/v1/updates", json={"operations": [put("elastic_ip", str(address), {"instance": new.id})]}
    )
    stage.in_force(answer.raise_for_status().json()["revision"])
    now = stage.reading()
    sources = [*stage.site.outsiders, *(vm.id for vm in _neighbours(stage.vms, old, new))]
    stage.screen.note("the same flows again, and some towards its new holder")
    stage.check(dict.fromkeys([*attempts, *towards(now, sources, address)]), now, reading)


def _revocable(attempts: Iterable[Attempt], reading: Reading) -> tuple[Attempt, Grant] | None:
    """TCP first: there a session can be held open."""
    alone = []
    for attempt in attempts:
        judged = reading.judge(attempt)
        if judged and len(judged.grants) == 1 and judged.grants[0].rule is not None:
            alone.append((attempt, judged.grants[0]))
    return min(alone, key=lambda each: each[0].message.protocol != TCP, default=None)


@contextlib.contextmanager
def _session(stage: Stage, attempt: Attempt, reading: Reading) -> Iterator[Session | None]:
    judged = reading.judge(attempt)
    assert judged is not None
    if attempt.message.protocol != TCP:
        yield None
        return
    try:
        opened = Session.tcp(stage.host(attempt.src), stage.host(judged.dst.id), attempt.address, attempt.message.port)
    except NotEstablished as reason:
        stage.screen.outcome("a session opened beforehand", "yes", str(reason))
        yield None
        return
    with opened:
        yield opened


def _neighbours(vms: Iterable[Vm], old: Vm, new: Vm) -> list[Vm]:
    """Some on either node and elsewhere: for each node the first that is neither."""
    found: dict[str, Vm] = {}
    for vm in vms:
        if vm not in (old, new):
            found.setdefault(vm.node, vm)
    return [old, *found.values()]
