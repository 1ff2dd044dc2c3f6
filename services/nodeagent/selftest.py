"""The packet self-test: real packets show whether the kernel enforces what it says it holds.

Off the data path: two ports of its own on the real bridge (`kernel.scratch`), until the agent next looks at the kernel. What
is sent, and what it shows, is in `probes`. It touches no ruleset, no flow and no count of any instance; flows of its own are
forgotten by the kernel after half a minute.
"""

import os
import random
from contextlib import suppress
from datetime import UTC, datetime
from time import perf_counter
from typing import Final

from nodeagent import probes
from nodeagent.kernel import KernelRefused
from nodeagent.kernel.scratch import Scratch, ScratchLinks
from nodeagent.probes import State, Verdict
from nodeagent.state import scratch
from nodeagent.state.host import HostFacts

_PATIENCE: Final = (0.02, 0.08, 0.15, 0.25)
"""Seconds until the control is sent again: half a second in all."""
_LATE_S: Final = 0.002
"""For what comes behind the control, though sent before it."""
_dice = random.SystemRandom()


class SelfTest:
    """Of the network namespace of the thread that makes it."""

    def __init__(self, facts: HostFacts) -> None:
        """Removes what one who died has left. Does nothing where the facts say that there is no self-test."""
        self._bridge = facts.bridge
        self._is_on = facts.self_test
        self._doubted = True
        self._ports = scratch.pair(facts.ports) if facts.self_test else None
        self._links = ScratchLinks(facts.bridge, self._ports) if self._ports else None
        if self._links:
            with suppress(KernelRefused, OSError):  # who may not remove links cannot make any: `run` says so
                self._links.remove()

    def close(self) -> None:
        self.tidy()
        if self._links:
            self._links.close()

    def tidy(self) -> None:
        """Remove the ports, which wait for the next test. Takes 100 ms, or nothing where there are none."""
        if self._links:
            with suppress(KernelRefused, OSError):  # the next test says what is wrong
                self._links.tidy()

    def doubt(self) -> None:
        """What packets have shown may not hold any more."""
        self._doubted = True

    def due(self) -> Verdict | None:
        """The test, if there is doubt; it stays until packets passed as they should."""
        if not self._is_on or not self._doubted:
            return None
        verdict = self.run()
        self._doubted = verdict.state != "passed"
        return verdict

    def run(self) -> Verdict:
        """Blocks for a few milliseconds; where a control is lost, for a second at most."""
        began = perf_counter()
        state: State
        try:
            state, reason = self._judged()
        except (KernelRefused, OSError) as refused:
            state, reason = "unable", str(refused)
        took_ms = round((perf_counter() - began) * 1000, 3)
        return Verdict(state, reason, took_ms, datetime.now(UTC), f"host/{self._bridge}")

    def _judged(self) -> tuple[State, str | None]:
        if self._links is None or self._ports is None:
            return "unable", "the pattern of ports is too long for names of two letters more"
        token, sport = os.urandom(15), _dice.randrange(1024, 1 << 15)
        frames = probes.frames(self._ports, token, sport)
        return probes.judged(_arrived(self._links.there(), frames, token), self._bridge)


def _arrived(between: Scratch, frames: dict[str, bytes], token: bytes) -> set[str]:
    """Kinds that came through. The control goes ahead, since a port that is new may not forward at once, and behind: what was
    sent between has then had its chance."""
    opening = _heard(between, [], frames[probes.AHEAD], token, probes.AHEAD)
    if probes.AHEAD not in opening:
        return opening
    wrong = [frame for kind, frame in frames.items() if kind not in (probes.AHEAD, probes.BEHIND)]
    came = _heard(between, wrong, frames[probes.BEHIND], token, probes.BEHIND)
    late = (probes.kind_of(frame, token) for frame in between.receive(_LATE_S))
    return opening | came | {kind for kind in late if kind}


def _heard(between: Scratch, first: list[bytes], control: bytes, token: bytes, until: str) -> set[str]:
    came: set[str] = set()
    for frame in first:
        between.send(frame)
    for wait in _PATIENCE:
        between.send(control)
        for frame in between.receive(wait):
            came |= {kind for kind in (probes.kind_of(frame, token),) if kind}
            if until in came:
                return came
    return came
