"""View in, kernel out: the one door between the agent's shell and everything that touches the kernel.

    desired(view) ──┐
                    ├─▶ plan ─▶ settings that close ─▶ one nft transaction ─▶ settings that open ─▶ verify
    believed ───────┘                                            │ elastic IPs: handover
       ▲  observe, when the kernel's generation moved            ├─ refused: nothing went in. `quarantine` finds what it
       │                                                         │  is refused for: that is closed, and the rest goes in
       └─────────────────────────────────────────────────────────┴─ what the kernel now holds

Where it is refused for no part of the view, the last good stays. Instances are admitted to DHCP before the transaction
opens their ports, and dismissed after it has closed them.

Blocking, and for one thread at a time: the shell calls it from a worker thread.
"""

from collections.abc import Collection, Container
from dataclasses import replace
from typing import Final, Literal

from nodeagent.desired import elastic
from nodeagent.desired.dhcp import Dhcp, dhcp
from nodeagent.desired.memo import Memo
from nodeagent.desired.node import Desired, desired
from nodeagent.desired.parts import NOTHING, LeftOut, Part
from nodeagent.dnsmasq.server import Dnsmasq
from nodeagent.formersettings import FormerSettings
from nodeagent.heldruleset import HeldRuleset
from nodeagent.hostsettings import HostSettings
from nodeagent.kernel import KernelRefused, TooLong, Unsettled
from nodeagent.kernel.handover import Handover, Pair
from nodeagent.kernel.links import HostLinks
from nodeagent.metering import Metering, Traffic
from nodeagent.nft.changes import count
from nodeagent.nft.document import document
from nodeagent.nft.pieces import can_be_cut
from nodeagent.nft.transaction import lines
from nodeagent.operatorrules import OperatorRules
from nodeagent.outcome import Clock, Outcome, PlanText, port_states
from nodeagent.plan.plan import changes_structure
from nodeagent.quarantine import Quarantine
from nodeagent.selftest import SelfTest
from nodeagent.state import ownership
from nodeagent.state.host import HostFacts, Identity
from verge.contract.report import Failure, Readiness
from verge.contract.view import InstanceId, View

__all__ = ["Enforcement", "Outcome", "PlanText"]

_ATTEMPTS: Final = 4
"""How often a plan is made anew because somebody else changed the ruleset meanwhile."""
_SAYS_NOTHING: Final = (TooLong, Unsettled)
"""Refusals that no part of a view is to blame for."""


class Enforcement:
    """Makes the kernel match views, and remembers what the kernel holds so that nothing is read twice."""

    def __init__(
        self,
        facts: HostFacts,
        *,
        last_generation: int = 0,
        dnsmasq: Dnsmasq | None = None,
        operator_rules: OperatorRules | None = None,
        formers: FormerSettings | None = None,
    ) -> None:
        """Touches nothing. Uses the network namespace of the thread that makes it. Raises OSError. Without `dnsmasq` no
        instance gets its address by DHCP."""
        self._operators = operator_rules or OperatorRules()
        self._held = HeldRuleset(facts, self._operators, last_generation=last_generation)
        self._ruleset = self._held.kernel
        self.dnsmasq = dnsmasq
        self._facts = facts
        self._memo = Memo()
        self._links = HostLinks(facts)
        self._settings = HostSettings(facts, self._links, formers)
        self._handover = Handover(facts)
        self._self_test = SelfTest(facts)
        self._metering = Metering(self._ruleset)
        self._quarantine = Quarantine()
        self._wanted: tuple[View | None, Identity, LeftOut, Desired] | None = None
        self._spoken_for: frozenset[int] = frozenset()
        """Private addresses that neighbours were told of."""
        self._is_first = True

    def apply(self, view: View | None, *, clock_seconds: int) -> Outcome:
        """Make the kernel match `view`; changes only what differs. `clock_seconds` (of the epoch) seeds policy
        generations, so that none is used twice for an address even when every memory was lost.

        None means that nothing is known: where our tables are absent the closed skeleton goes in; where they are
        present they stay as they are, since they are the last good state of an agent that died.
        """
        clock = Clock()
        left_out = self._quarantine.due(view, clock_seconds) if view else NOTHING
        tried: Collection[Part] = ()
        try:
            try:
                outcome = self._pass(view, left_out, clock_seconds, clock)
            except Exception as refused:
                self._held.doubt()
                blamed = self._blamed(view, refused)
                if blamed is None:
                    raise
                left_out, tried = blamed, blamed.keys() - left_out.keys()
                outcome = self._pass(view, left_out, clock_seconds, clock)
        except (KernelRefused, OSError) as refused:
            self._held.doubt()
            return Outcome("rejected", (Failure("view", "ruleset", str(refused)),), timings_ms=clock.spent_ms)
        if view:
            self._quarantine.keep(view, left_out, tried, clock_seconds)
        return outcome

    def _pass(self, view: View | None, left_out: LeftOut, clock_seconds: int, clock: Clock) -> Outcome:
        """Raises whatever stands against it."""
        leases = dhcp(view, self._facts, left_out) if view and self.dnsmasq else None
        if leases and self.dnsmasq:
            self.dnsmasq.admit(leases)
        outcome = self._apply(view, left_out, clock_seconds, clock)
        return self._served(leases, outcome) if leases else outcome

    def _blamed(self, view: View | None, refused: Exception) -> LeftOut | None:
        """What the view can be realised without, if it can. A fault of our own that one object provokes is treated like a
        refusal: it must not take the others' protection away."""
        if view is None or isinstance(refused, _SAYS_NOTHING):
            return None
        memo = self._memo.copy()

        def attempt(left_out: Collection[Part]) -> str | None:
            closed = {part: Failure(part.object, "ruleset", "") for part in left_out}
            try:
                self._try(view, closed, memo)
            except _SAYS_NOTHING:
                raise
            except (KernelRefused, OSError) as reason:
                return str(reason)
            except Exception as reason:  # whatever it is, an object that provokes it is to blame
                return repr(reason)
            return None

        stage = "ruleset" if isinstance(refused, KernelRefused | OSError) else "internal"
        try:
            return self._quarantine.search(view, attempt, stage)
        except _SAYS_NOTHING:  # the kernel cannot be asked
            return None

    def _try(self, view: View, left_out: LeftOut, memo: Memo) -> None:
        """Would it go in? Nothing changes."""
        links = self._links.read()
        dhcp(view, self._facts, left_out)
        wanted = desired(view, self._facts, memo, identity=links.identity, left_out=left_out)
        observed = self._held.observe()
        changes = self._held.plan(observed, links, wanted, 0).changes
        if changes:
            self._ruleset.check(changes)

    def resync(self, view: View | None, *, clock_seconds: int) -> Outcome:
        """Like `apply`, after reading back everything that is ours."""
        self._held.doubt()
        self._self_test.doubt()
        self._metering.doubt()
        self._settings.doubt()
        if self.dnsmasq:
            self.dnsmasq.doubt()
        return self.apply(view, clock_seconds=clock_seconds)

    def _served(self, leases: Dhcp, outcome: Outcome) -> Outcome:
        """Of a view that was rejected nothing is served, but what is in force still is."""
        if outcome.state == "rejected" or self.dnsmasq is None:
            return outcome
        failures = self.dnsmasq.serve(leases)
        return replace(outcome, state="degraded", failures=(*outcome.failures, *failures)) if failures else outcome

    def _apply(self, view: View | None, left_out: LeftOut, clock_seconds: int, clock: Clock) -> Outcome:
        links = self._links.read()
        wanted = self._desired(view, links.identity, left_out)
        clock.lap("plan")
        taken, failures = self._settings.close(links)
        clock.lap("apply")
        cannot = self._settings.cannot_filter(links)
        if cannot:
            # the view's rules would be evaded, so nothing may pass at all
            wanted = desired(None, self._facts)
        self._operators.begin()
        changes = again = 0
        before: set[Pair] = set()
        for _ in range(_ATTEMPTS):
            observed = self._held.observe()
            before |= elastic.in_force(observed)
            if view is None and not cannot and observed.keys() >= set(ownership.TABLES):
                break
            plan = self._held.plan(observed, links, wanted, clock_seconds)
            clock.lap("plan")
            behind = self._operators.addition(plan.changes, observed, self._ruleset)
            if not plan.changes and not behind:
                break
            self._handover.leaving(before - set(wanted.elastic), self._spoken_for - wanted.speaks_for)
            try:
                committed = self._held.commit(plan, behind, observed)
            except TooLong:
                if can_be_cut(plan.changes):
                    raise
                self._held.close_first(links, clock_seconds)
                continue
            clock.lap("apply")
            changes, again = changes + count(plan.changes), again + plan.judged_again
            if changes_structure(plan.changes):
                self._self_test.doubt()
            if committed:
                break
        else:
            raise Unsettled("somebody else keeps changing the ruleset")
        if view and not cannot:
            self._meter(wanted, failures)
        cut = self._hand_over(view, wanted, before, failures)
        opened = self._settings.open(links, wanted, failures)
        clock.lap("apply")
        readiness = port_states(wanted, self._links.read() if opened else links, self._facts.bridge)
        clock.lap("verify")
        if cannot:
            why = Failure("view", "links", cannot)
            return Outcome("rejected", (why,), {}, clock.spent_ms, changes, again, cut, taken)
        failures += (*wanted.failures, *self._operators.failures)
        if taken or opened:
            self._self_test.doubt()
        verdict = self._self_test.due() if view else None
        failures += verdict.failures if verdict else ()
        clock.lap("verify")
        state: Literal["applied", "degraded", "rejected"] = "degraded" if failures else "applied"
        if verdict and verdict.state == "leaks":
            state = "rejected"
        return Outcome(
            state,
            tuple(failures),
            readiness,
            clock.spent_ms,
            changes,
            again,
            cut,
            (*taken, *opened),
            notes=self._operators.notes,
            self_test=verdict,
        )

    def _meter(self, wanted: Desired, failures: list[Failure]) -> None:
        """In a transaction of its own, and only where instances come or go: what it counts must outlive all others."""
        try:
            if not self._metering.realise(wanted.metered):
                return
        except KernelRefused as refused:
            failures.append(Failure("host/metering", "metering", str(refused)))
            return
        self._held.committed_beside()

    def traffic(self) -> dict[InstanceId, Traffic]:
        """What passed to and from each instance since it came to this node. Raises KernelRefused."""
        return self._metering.traffic()

    def tidy(self) -> None:
        """Takes down what was put up for passes, now that nobody waits for one."""
        self._self_test.tidy()

    def plan(self, view: View | None) -> PlanText:
        """What `resync` would change now. Nothing is touched. Raises KernelRefused, OSError."""
        observed, _ = self._ruleset.read()
        if view is None and observed.keys() >= set(ownership.TABLES):
            return PlanText(())
        links = self._links.read()
        wanted = self._desired(view, links.identity)
        plan = self._held.plan(observed, links, wanted, 0)
        first, last = self._settings.described(links, wanted)
        return PlanText((*first, *lines(plan.changes), *last))

    def moved(self) -> bool:
        """Has somebody else changed a ruleset since our last commit, or a setting or address of the host that we answer
        for, or has dnsmasq died? Cheap: call it each second. Any change of any ruleset counts, so True means `resync`
        (which may find nothing to do), not yet that ours differs. Raises OSError."""
        if self.dnsmasq and self.dnsmasq.ailing():
            return True
        if self._wanted is None or not self._held.is_as_left():
            return True
        _, identity, _, wanted = self._wanted
        links = self._links.read()
        if links.identity != identity:
            return True
        return self._settings.moved(links, wanted)

    @property
    def generation(self) -> int:
        """The last policy generation used; keep it in the checkpoint and hand it to the next `Enforcement`."""
        return self._held.generation

    @property
    def left_at(self) -> int:
        """The kernel's generation of rulesets as it was last read or left: what was committed later is others'."""
        return self._held.left_at

    @property
    def ours(self) -> Container[int]:
        """The kernel's generations of rulesets that our last transactions made."""
        return self._held.ours

    def readiness(self, view: View | None) -> dict[InstanceId, Readiness]:
        """Per instance of `view`: is its interface there, on our bridge, or can it never be? Call `apply` when an
        answer changed: a port that shows up needs its settings. Raises OSError."""
        links = self._links.read()
        return port_states(self._desired(view, links.identity), links, self._facts.bridge)

    def dropped(self) -> dict[str, int]:
        """Packets of instances that were beyond a limit, by limit. Raises KernelRefused, OSError."""
        return self._ruleset.dropped()

    def ruleset(self, view: View | None) -> tuple[str, str]:
        """(desired, observed) as nft text. Policy generations are in the observed one only. Raises KernelRefused."""
        identity = self._links.read().identity
        wanted = self._held.calling(self._desired(view, identity))
        return document(wanted.ruleset), self._ruleset.text()

    def close(self) -> None:
        """Let go of sockets, and end dnsmasq. What is in the kernel stays."""
        if self.dnsmasq:
            self.dnsmasq.close()
        self._held.close()
        self._self_test.close()
        self._links.close()
        self._handover.close()

    def _desired(self, view: View | None, identity: Identity, left_out: LeftOut | None = None) -> Desired:
        """Without what is quarantined, unless `left_out` says without what."""
        if left_out is None:
            left_out = self._quarantine.known(view) if view else NOTHING
        if self._wanted is None or self._wanted[0] is not view or self._wanted[1:3] != (identity, left_out):
            made = desired(view, self._facts, self._memo, identity=identity, left_out=left_out)
            self._wanted = (view, identity, left_out, made)
        return self._wanted[3]

    def _hand_over(self, view: View | None, wanted: Desired, before: set[Pair], failures: list[Failure]) -> int:
        """Behind the transaction. Of a predecessor nobody knows what it has told and forgotten, so the first time all is
        told, and all flows are looked at."""
        if view is None:
            return 0
        now = set(wanted.elastic)
        is_first, self._is_first = self._is_first, False
        moved = wanted.speaks_for ^ self._spoken_for
        self._handover.arrived(sorted(now if is_first else now - before), sorted(wanted.speaks_for - self._spoken_for))
        self._spoken_for = wanted.speaks_for
        try:
            if is_first:
                return self._handover.tidied(now, wanted.elastic_ranges)
            # as others know it by this host's MAC address, so this host has known it by another's, or will
            self._links.forget_neighbours(moved)
            gone = before - now
            return self._handover.left(gone) if gone else 0
        except (KernelRefused, OSError) as refused:
            failures.append(Failure("host/conntrack", "links", str(refused)))
            return 0
