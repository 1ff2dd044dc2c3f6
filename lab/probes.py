"""Who got what: many flows tried at the same time, with real kernel stacks on both sides.

Each flow carries a token of its own, so that `passed` means that the right host read this very message. That something
is blocked shows only by waiting. The bounded wait for silence is one for the whole batch, and begins when the `awaited`
flows, the positive controls, have passed: a slow machine then does not make an open rule look like a closed one.
"""

from __future__ import annotations

from collections.abc import Iterable

from lab.batch import Batch
from lab.flows import Address, Flow, Outcome
from lab.host import Host
from lab.listeners import Listeners

WAIT = 0.3
PATIENCE = 5.0


def probe(
    flows: Iterable[Flow],
    *,
    wait: float = WAIT,
    awaited: Iterable[Flow] = (),
    patience: float = PATIENCE,
    listeners: Listeners | None = None,
) -> dict[Flow, Outcome]:
    """Try all flows, and the awaited ones, at once.

    Returns as soon as every flow is answered or refused; else `wait` seconds after the last awaited flow has passed, for
    which it has `patience` seconds. Receivers listen for the time of the call, except where `listeners` are open already.
    Raises OSError when a receiver's port is taken by something else.
    """
    with Batch(listeners) as batch:
        return batch.run(list(dict.fromkeys(flows)), list(dict.fromkeys(awaited)), wait, patience)


def expect(
    passes: Iterable[Flow],
    blocked: Iterable[Flow],
    *,
    wait: float = WAIT,
    patience: float = PATIENCE,
    listeners: Listeners | None = None,
) -> list[str]:
    """What is not as expected, a line each; empty when all is. The flows that should pass control those that should not."""
    passes, blocked = list(passes), list(blocked)
    outcomes = probe(blocked, awaited=passes, wait=wait, patience=patience, listeners=listeners)
    wrong = [f"{flow}: blocked, should pass" for flow in passes if not outcomes[flow].passed]
    return wrong + [f"{flow}: passed, should be blocked" for flow in blocked if outcomes[flow].passed]


def ping(src: Host, address: Address, wait: float = WAIT) -> bool:
    """Whether an echo comes back, whoever answers."""
    flow = Flow.icmp(src, src, address)
    return probe([flow], wait=wait)[flow].answered


def tcp(src: Host, dst: Host, address: Address, port: int, *, wait: float = WAIT) -> Outcome:
    flow = Flow.tcp(src, dst, address, port)
    return probe([flow], wait=wait)[flow]


def udp(src: Host, dst: Host, address: Address, port: int, *, wait: float = WAIT) -> Outcome:
    flow = Flow.udp(src, dst, address, port)
    return probe([flow], wait=wait)[flow]
