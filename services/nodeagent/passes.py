"""Passes: one at a time, the kernel is made to match the view that is wanted, and the outcome is told.

Wanted is the pinned view if there is one, else the newest one held. Everything that blocks (the kernel, the disk) runs in
threads; the lock `_turn` keeps passes apart. The order of a pass and what a crash leaves is in `checkpoint`.

A rejected view leaves in force what was in force. It is tried again with a growing delay, and so is one with failures,
since what stood against it may heal (the bridge appears, a module is loaded) without a new version.

A host that fails its preflight takes in no new view. One that is in force already is kept and repaired, and called degraded.
"""

import asyncio
import random
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from nodeagent import news, probes
from nodeagent.attempts import Attempts
from nodeagent.checkpoint import Checkpoint, Slot, Stored
from nodeagent.disk import Disk
from nodeagent.dnsmasq.server import Status
from nodeagent.drift import Notice, Suspects
from nodeagent.enforcement import Enforcement, Outcome, PlanText
from nodeagent.fitness import Fitness
from nodeagent.journal import Journal
from nodeagent.kernel import KernelRefused
from nodeagent.kernel.watch import RulesetWatch
from nodeagent.metering import Traffic
from nodeagent.preflight.judging.judge import told
from nodeagent.preflight.preflight import Preflight
from nodeagent.probes import Verdict
from nodeagent.session import Enforced, Offered
from nodeagent.tally import Tally
from verge.contract.etag import At, ETag
from verge.contract.report import Check, Drift, Failure
from verge.contract.view import InstanceId, View

T = TypeVar("T")

_dice: Final = random.SystemRandom().random
_REMEMBERED: Final = 10
"""Drift that is reported."""


@dataclass(frozen=True, slots=True)
class Wanted:
    view: View
    etag: ETag | None
    """None: handed over by hand."""
    fetch_ms: float | None = None


class Passes:
    """Shared by the loop and the local API; every method is for the event loop's thread."""

    def __init__(
        self,
        make: Callable[[int], Enforcement],
        checkpoint: Checkpoint,
        journal: Journal,
        tell: Callable[[Enforced], None],
        watch: RulesetWatch | None = None,
        preflight: Preflight | None = None,
    ) -> None:
        """`make` builds the enforcement, given the last policy generation; `tell` hears of every new outcome. Without a
        `watch` changes of others are found by looking, and nobody is named; without a `preflight` every host will do."""
        self.held: Wanted | None = None
        self.pinned: Wanted | None = None
        self.in_force: Wanted | None = None
        """The view of which the newest pass has shown that the kernel holds it."""
        self.outcome: Outcome | None = None
        """Of the newest pass over what is wanted."""
        self.told: Enforced | None = None
        """The newest outcome that was news."""
        self.drift: tuple[Drift, ...] = ()
        """The latest few."""
        self.self_test: Verdict | None = None
        """The newest; None: none was made."""
        self.fitness = Fitness(preflight, journal)
        self.suspects = Suspects(watch, lambda: self._thread)
        self.tally = Tally()
        self.disk = Disk(checkpoint, journal)
        self.passed = asyncio.Event()
        """Replaced after each pass: wait on the one you have looked at."""
        self.seen: At | None = None
        """The revision that the view on disk was known to be true at."""
        self._make = make
        self._journal = journal
        self._tell = tell
        self._turn = asyncio.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="kernel")
        self._thread: int | None = None
        """The worker's, as the kernel knows it: what it commits is ours."""
        self._enforcement: Enforcement | None = None
        self._proposed: Wanted | None = None
        """What view.next holds, as long as it is not accepted."""
        self._floor: Wanted | None = None
        """The last view that went in: what to fall back to, even while the kernel takes nothing at all."""
        self._ready: Mapping[InstanceId, str] = {}
        self._accepted: Wanted | None = None
        """On disk as one that went in, before this agent was started."""
        self._examining = asyncio.Lock()
        self._attempts = Attempts()

    @property
    def checks(self) -> tuple[Check, ...]:
        """The newest preflight."""
        return self.fitness.checks

    @property
    def wanted(self) -> Wanted | None:
        return self.pinned or self.held

    # What starts a pass

    async def start(self) -> None:
        """Enforce what the disk holds, before anybody is asked; without a view, close everything."""
        slots: tuple[Slot, ...] = ("pinned", "next", "last")
        found = {slot: await self.disk.load(slot) for slot in slots}
        loaded = {slot: (one[0], Wanted(one[1], one[0].etag)) if one else None for slot, one in found.items()}
        generation = max((stored.generation for stored, _ in filter(None, loaded.values())), default=0)
        self._thread = await self._in_worker(threading.get_native_id)
        self.suspects.listen()
        self._enforcement = await self._in_worker(lambda: self._make(generation))
        last = loaded["last"]
        self.pinned = loaded["pinned"][1] if loaded["pinned"] else None
        newest = loaded["next"] or last
        if newest:
            self.held, self.seen = newest[1], newest[0].seen
        self._proposed = self.held if loaded["next"] else None
        self._accepted = self.pinned or (last[1] if last else None)
        async with self._turn:
            await self._pass(floor=last[1] if last else None)

    async def take(self, offered: Offered, seen: At | None) -> None:
        """A newer view came from the server."""
        async with self._turn:
            self.held = self._proposed = Wanted(offered.view, offered.etag, offered.fetch_ms)
            self.disk.problem = None
            self.tally.views["delta" if offered.base else "whole"] += 1
            await self.disk.do(lambda: self.disk.checkpoint.keep(offered, seen, self.generation))
            await self._pass(fresh=True)

    async def pin(self, view: View, body: bytes) -> Outcome:
        """Put a view in force by hand. Rejected, it is not pinned and nothing has changed."""
        async with self._turn:
            before, self.pinned = self.pinned, Wanted(view, None)
            outcome = await self._pass(quiet=True)
            if outcome.state == "rejected":
                self.pinned = before
                await self._pass(quiet=True)
            else:
                stored = Stored(view.node, None, None, body, self.generation)
                await self.disk.do(lambda: self.disk.checkpoint.pin(stored))
                self._journal.say("view-pinned", digest=view.digest, instances=len(view.instances))
            self._news(outcome.timings_ms)
            return outcome

    async def unpin(self) -> Outcome | None:
        """Back to the view held. None: nothing was pinned."""
        async with self._turn:
            if self.pinned is None:
                return None
            self.pinned = None
            await self.disk.do(self.disk.checkpoint.unpin)
            self._journal.say("view-unpinned")
            return await self._pass()

    async def resync(self) -> Outcome:
        async with self._turn:
            return await self._pass(resync=True)

    async def look(self, now: float) -> None:
        """Is the kernel as we left it, has a port come or gone, is it time to try again?"""
        async with self._turn:
            notice = self.suspects.take() or Notice.now()
            is_rejected = self.outcome is None or self.outcome.state == "rejected"
            shown = self.in_force if is_rejected else self.wanted
            view = shown.view if shown else None
            enforcement = self._kernel
            await self._in_worker(enforcement.tidy)
            moved, ready = await self._in_worker(lambda: (enforcement.moved(), dict(enforcement.readiness(view))))
            state = self.outcome.state if self.outcome else "rejected"
            if moved and state != "rejected":
                await self._repair(notice.joined(self.suspects.take()).after(enforcement.left_at))
            elif moved or (state != "applied" and self._attempts.is_due(now)):
                await self._pass(resync=moved or state == "rejected")
            elif ready != self._ready and state != "rejected":
                await self._pass()
            self._ready = ready

    async def examine(self) -> tuple[Check, ...]:
        """The whole preflight, beside passes; what is new in it is told, and what it forbids or allows is done."""
        async with self._examining:
            view = self.wanted.view if self.wanted else None
            checks = await asyncio.to_thread(self.fitness.whole, view)
            async with self._turn:
                if self.fitness.learn(checks):
                    await self._pass()
                elif self.outcome:
                    self._news({})
            return self.checks

    async def _repair(self, notice: Notice) -> None:
        """What comes of a host that lacked something (its bridge, as at boot) and now has it is no drift."""
        lacking = self.outcome and any(failure.stage == "links" for failure in self.outcome.failures)
        outcome = await self._pass(resync=True, quiet=True)
        if outcome.changes:  # it may have been undone before the kernel's word of who did it was read
            notice = notice.joined(self.suspects.before(self._kernel.left_at, self._kernel.ours))
        is_drift = (notice.commits or not lacking) and not notice.is_operators
        if is_drift and outcome.state != "rejected" and (outcome.changes or outcome.settings):
            drift = notice.repaired(outcome.changes, outcome.settings, outcome.notes)
            self.drift = (*self.drift, drift)[-_REMEMBERED:]
            self.tally.drift += 1
            self._journal.say(
                "drift-repaired",
                what=drift.what,
                culprit=drift.culprit,
                changes=outcome.changes,
                state=outcome.state,
                ms=drift.repaired_ms,
            )
        self._news(outcome.timings_ms)

    # What is asked

    @property
    def generation(self) -> int:
        return self._enforcement.generation if self._enforcement else 0

    @property
    def dhcp(self) -> Status | None:
        """None: nobody serves DHCP here."""
        dnsmasq = self._enforcement.dnsmasq if self._enforcement else None
        return dnsmasq.status if dnsmasq else None

    async def plan(self, view: View | None = None) -> PlanText:
        """For this view, or for the one wanted."""
        wanted, enforcement = view or (self.wanted.view if self.wanted else None), self._kernel
        async with self._turn:
            return await self._in_worker(lambda: enforcement.plan(wanted))

    async def ruleset(self) -> tuple[str, str]:
        """(desired, observed)"""
        enforcement = self._kernel
        async with self._turn:
            view = self.wanted.view if self.wanted else None
            return await self._in_worker(lambda: enforcement.ruleset(view))

    async def traffic(self) -> dict[InstanceId, Traffic]:
        """Read now. Empty where nothing is counted. Raises KernelRefused."""
        enforcement = self._enforcement
        return await self._in_worker(enforcement.traffic) if enforcement else {}

    async def dropped(self) -> dict[str, int]:
        """Packets beyond a limit, by limit; empty where the kernel does not say."""
        enforcement = self._kernel
        try:
            return await self._in_worker(enforcement.dropped)
        except (KernelRefused, OSError):
            return {}

    def close(self) -> None:
        """Wait for the step that runs; what is in the kernel stays."""
        self.suspects.close()
        self._worker.shutdown(wait=True, cancel_futures=True)
        if self._enforcement:
            self._enforcement.close()

    # A pass

    async def _pass(
        self, *, resync: bool = False, fresh: bool = False, floor: Wanted | None = None, quiet: bool = False
    ) -> Outcome:
        """Holding the turn: realise what is wanted, flush the disk beside it (if `fresh`), tell the outcome."""
        wanted = self.wanted
        settle = fresh and not self.disk.problem
        flushed = asyncio.ensure_future(self.disk.do(self.disk.checkpoint.settle)) if settle else None
        try:
            unfit = await self._unfit(wanted, thorough=resync)
            is_kept_out = bool(unfit) and not self._has_gone_in(wanted)
            if is_kept_out:
                outcome = Outcome("rejected", unfit)
            else:
                outcome = _with(unfit, await self._realise(wanted.view if wanted else None, resync=resync))
        finally:
            if flushed:
                await flushed
        self._note(outcome.self_test)
        if outcome.held_but_open:
            # what came before would be enforced no more than this is, and may allow what this revokes
            self.in_force = None
        elif outcome.state == "rejected":
            # The floor is in the kernel still, unless that was emptied meanwhile (a restart, a foreign flush).
            floor = floor or self._floor
            below = outcome
            if floor and floor is not wanted:
                below = await self._realise(floor.view, resync=resync)
            elif is_kept_out:
                await self._realise(None, resync=resync)  # the host is unfit, and yet no port may be open
            self.in_force = floor if below.state != "rejected" else None
        else:
            self.in_force = self._floor = wanted
            if wanted and wanted is self._proposed and not self.disk.problem:
                self._proposed = None
                await self.disk.do(self.disk.checkpoint.accept)
        self._attempts = self._attempts.after(time.monotonic(), _dice(), succeeded=outcome.state == "applied")
        self.outcome, self._ready = outcome, outcome.instances
        self.tally.count(outcome)
        if outcome.notes:
            self._journal.say("operator-rules", what="; ".join(outcome.notes))
        if not quiet:
            fetch = {"fetch": wanted.fetch_ms} if fresh and wanted and wanted.fetch_ms is not None else {}
            self._news(fetch | dict(outcome.timings_ms))
        return outcome

    def _note(self, verdict: Verdict | None) -> None:
        """Of the self-test: said when it is another than before."""
        if verdict is None:
            return
        before, self.self_test = self.self_test, verdict
        if before is None or (before.state, before.reason) != (verdict.state, verdict.reason):
            self._journal.say(probes.NAMES[verdict.state], reason=verdict.reason, took_ms=verdict.took_ms)

    async def _unfit(self, wanted: Wanted | None, *, thorough: bool) -> tuple[Failure, ...]:
        """What this host lacks for a view to be true on it. None while there is no view: to close ports it needs nothing."""
        view = wanted.view if wanted else None
        await self._in_worker(lambda: self.fitness.look(view, thorough=thorough))
        return self.fitness.failures if wanted else ()

    def _has_gone_in(self, wanted: Wanted | None) -> bool:
        """Was this content in force before? Then it stays, on a host that has become unfit: to take it away helps nobody."""
        known = (self._floor, self._accepted)
        return wanted is None or any(one and one.view.digest == wanted.view.digest for one in known)

    async def _realise(self, view: View | None, *, resync: bool) -> Outcome:
        """One call to the kernel. A fault in our own code is an outcome too: the agent stays, and says so."""
        enforcement = self._kernel
        step = enforcement.resync if resync else enforcement.apply
        try:
            return await self._in_worker(lambda: step(view, clock_seconds=int(time.time())))
        except Exception as failed:
            self._journal.say("pass-failed", reason=repr(failed), trace=traceback.format_exc(limit=-4))
            return Outcome("rejected", (Failure("view", "internal", repr(failed)),))

    def _news(self, timings: Mapping[str, float]) -> None:
        """Tell the outcome, unless nothing but time has passed."""
        woken, self.passed = self.passed, asyncio.Event()
        woken.set()
        assert self.outcome is not None
        came = news.enforced(
            self.outcome,
            in_force=self.in_force.etag if self.in_force else None,
            held=self.held.etag if self.held else None,
            pinned=self.pinned is not None and self.pinned is self.in_force,
            disk_problem=self.disk.problem,
            timings_ms=timings,
            drift=self.drift,
            preflight=told(self.checks),
        )
        before = self.told
        since = replace(came, timings_ms=before.timings_ms, sessions_cut=before.sessions_cut) if before else came
        if since == before:
            return
        self.told = came
        if before is None or replace(since, preflight=before.preflight) != before:
            event, facts = news.line(came, self.outcome, has_view=self.wanted is not None)
            self._journal.say(event, **facts)
        if before is None or came.preflight != before.preflight:
            self._journal.say("preflight", **news.preflight(self.checks))
        if self.wanted:
            self._tell(came)

    # The worker

    @property
    def _kernel(self) -> Enforcement:
        assert self._enforcement is not None, "start() comes first"
        return self._enforcement

    async def _in_worker(self, step: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, step)


def _with(unfit: tuple[Failure, ...], outcome: Outcome) -> Outcome:
    """The outcome on a host that has become unfit."""
    if not unfit:
        return outcome
    state = "degraded" if outcome.state == "applied" else outcome.state
    return replace(outcome, state=state, failures=(*unfit, *outcome.failures))
