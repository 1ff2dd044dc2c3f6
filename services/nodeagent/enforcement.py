"""View in, kernel out: the one door between the agent's shell and everything that touches the kernel.

    desired(view) ──┐
                    ├─▶ plan ─▶ bridge flag, port settings ─▶ one nft transaction ─▶ verify
    believed ───────┘                                            │
       ▲  observe, when the kernel's generation moved            └─ refused: nothing went in, the last good stays
       └──────────────────────────────────────────────────────────── what the kernel now holds

Instances are admitted to DHCP before the transaction opens their ports, and dismissed after it has closed them.

Blocking, and for one thread at a time: the shell calls it from a worker thread.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Final, Literal

from nodeagent.desired.dhcp import Dhcp, dhcp
from nodeagent.desired.memo import Memo
from nodeagent.desired.node import Desired, desired
from nodeagent.dnsmasq.server import Dnsmasq
from nodeagent.kernel import KernelRefused
from nodeagent.kernel.links import HostLinks, can_filter_bridges
from nodeagent.kernel.ruleset import KernelRuleset
from nodeagent.nft.changes import AddElements, AddMappings, Change, DeleteElements, DeleteMappings
from nodeagent.nft.document import document
from nodeagent.nft.transaction import lines
from nodeagent.plan.assignment import highest
from nodeagent.plan.difference import HandlesUnknown
from nodeagent.plan.plan import FilterBridge, Plan, SilencePort, link_steps
from nodeagent.plan.plan import plan as make_plan
from nodeagent.state import generations, ownership
from nodeagent.state.host import HostFacts, Links
from nodeagent.state.ruleset import Observed
from verge.contract.report import Failure, Readiness
from verge.contract.view import InstanceId, View


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a view.

    applied   every object of it is in force
    degraded  every object is in force, or named in `failures` and closed
    rejected  nothing of it went in; what was in force before still is, and `failures` gives the kernel's reason
    """

    state: Literal["applied", "degraded", "rejected"]
    failures: tuple[Failure, ...] = ()
    instances: Mapping[InstanceId, Readiness] = field(default_factory=dict)
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    """`plan` (with observing, where that was needed), `apply`, `verify`."""
    changes: int = 0
    """Kernel objects added, removed or set; 0 when the kernel held it all already."""
    sessions_judged_again: int = 0
    """Instances whose sessions were put to a new judgement, because something that had allowed them was withdrawn."""


@dataclass(frozen=True, slots=True)
class PlanText:
    """What would change in the kernel now, for people: one line a step, the nft transaction last."""

    steps: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.steps)


_ATTEMPTS: Final = 4
"""How often a plan is made anew because somebody else changed the ruleset meanwhile."""


class Enforcement:
    """Makes the kernel match views, and remembers what the kernel holds so that nothing is read twice."""

    generation: int
    """The last policy generation used; keep it in the checkpoint and hand it to the next `Enforcement`."""

    def __init__(self, facts: HostFacts, *, last_generation: int = 0, dnsmasq: Dnsmasq | None = None) -> None:
        """Touches nothing. Uses the network namespace of the thread that makes it. Raises OSError. Without `dnsmasq` no
        instance gets its address by DHCP."""
        self.generation = last_generation
        self.dnsmasq = dnsmasq
        self._facts = facts
        self._memo = Memo()
        self._ruleset = KernelRuleset()
        self._links = HostLinks(facts)
        self._believed: Observed | None = None
        self._believed_at = -1
        """The kernel's generation (of rulesets, not of policy) at which `_believed` was true."""
        self._wanted: tuple[View | None, Desired] | None = None
        self._settled: frozenset[str] = frozenset()
        """Ports that have had their settings."""

    def apply(self, view: View | None, *, clock_seconds: int) -> Outcome:
        """Make the kernel match `view`; changes only what differs. `clock_seconds` (of the epoch) seeds policy
        generations, so that none is used twice for an address even when every memory was lost.

        None means that nothing is known: where our tables are absent the closed skeleton goes in; where they are
        present they stay as they are, since they are the last good state of an agent that died.
        """
        clock = _Clock()
        leases = dhcp(view, self._facts) if view and self.dnsmasq else None
        if leases and self.dnsmasq:
            self.dnsmasq.admit(leases)
        try:
            outcome = self._apply(view, clock_seconds, clock)
        except (KernelRefused, OSError) as refused:
            self._believed = None
            why = Failure("view", "ruleset", str(refused))
            return Outcome("rejected", (why,), timings_ms=clock.spent_ms)
        return self._served(leases, outcome) if leases else outcome

    def resync(self, view: View | None, *, clock_seconds: int) -> Outcome:
        """Like `apply`, after reading back everything that is ours."""
        self._believed = None
        if self.dnsmasq:
            self.dnsmasq.doubt()
        return self.apply(view, clock_seconds=clock_seconds)

    def _served(self, leases: Dhcp, outcome: Outcome) -> Outcome:
        """Of a view that was rejected nothing is served, but what is in force still is."""
        if outcome.state == "rejected" or self.dnsmasq is None:
            return outcome
        failures = self.dnsmasq.serve(leases)
        return replace(outcome, state="degraded", failures=(*outcome.failures, *failures)) if failures else outcome

    def _apply(self, view: View | None, clock_seconds: int, clock: "_Clock") -> Outcome:
        wanted = self._desired(view)
        host_failures = self._settle_links(clock)
        cannot = self._cannot_filter(clock)
        if cannot:
            # the view's rules would be evaded, so nothing may pass at all
            wanted = desired(None, self._facts)
        changes = again = 0
        for _ in range(_ATTEMPTS):
            observed = self._observe()
            if view is None and not cannot and observed.keys() >= set(ownership.TABLES):
                break
            plan = self._plan(observed, Links(None), wanted, self._next_generation(observed, clock_seconds))
            clock.lap("plan")
            if not plan.changes:
                break
            committed = self._commit(plan)
            clock.lap("apply")
            changes, again = changes + _count(plan.changes), again + plan.judged_again
            if committed:
                break
        else:
            raise KernelRefused("somebody else keeps changing the ruleset")
        links = self._links.read()
        clock.lap("verify")
        failures = (*host_failures, *wanted.failures)
        if cannot:
            return Outcome("rejected", (Failure("view", "links", cannot),), {}, clock.spent_ms, changes, again)
        state: Literal["applied", "degraded"] = "degraded" if failures else "applied"
        return Outcome(state, failures, self._readiness(wanted, links), clock.spent_ms, changes, again)

    def plan(self, view: View | None) -> PlanText:
        """What `resync` would change now. Nothing is touched. Raises KernelRefused, OSError."""
        observed, _ = self._ruleset.read()
        if view is None and observed.keys() >= set(ownership.TABLES):
            return PlanText(())
        plan = self._plan(observed, self._links.read(), self._desired(view), self._next_generation(observed, 0))
        return PlanText((*(_describe(step, self._facts) for step in plan.links), *lines(plan.changes)))

    def moved(self) -> bool:
        """Has somebody else changed a ruleset, our bridge's flag or a port's settings since our last commit, or has
        dnsmasq died? Cheap: call it each second. Any change of any ruleset counts, so True means `resync` (which may find
        nothing to do), not yet that ours differs. Raises OSError."""
        if self._believed is None or self._ruleset.generation() != self._believed_at:
            return True
        if self.dnsmasq and self.dnsmasq.ailing():
            return True
        links = self._links.read()
        return links.bridge_filtered is False or any(
            not port.ipv6_disabled for name, port in links.ports.items() if name in self._settled
        )

    def readiness(self, view: View | None) -> dict[InstanceId, Readiness]:
        """Per instance of `view`: is its interface there, on our bridge, or can it never be? Call `apply` when an
        answer changed: a port that shows up needs its settings. Raises OSError."""
        return self._readiness(self._desired(view), self._links.read())

    def ruleset(self, view: View | None) -> tuple[str, str]:
        """(desired, observed) as nft text. Policy generations are in the observed one only. Raises KernelRefused."""
        return document(self._desired(view).ruleset), self._ruleset.text()

    def close(self) -> None:
        """Let go of sockets, and end dnsmasq. What is in the kernel stays."""
        if self.dnsmasq:
            self.dnsmasq.close()
        self._ruleset.close()
        self._links.close()

    def _desired(self, view: View | None) -> Desired:
        if self._wanted is None or self._wanted[0] is not view:
            self._wanted = (view, desired(view, self._facts, self._memo))
        return self._wanted[1]

    def _observe(self) -> Observed:
        if self._believed is None or self._ruleset.generation() != self._believed_at:
            self._believed, self._believed_at = self._ruleset.read()
        return self._believed

    def _plan(self, observed: Observed, links: Links, wanted: Desired, next_generation: int) -> Plan:
        try:
            return make_plan(observed, links, wanted, next_generation)
        except HandlesUnknown:
            self._believed = self._ruleset.with_handles(observed)
            return make_plan(self._believed, links, wanted, next_generation)

    def _next_generation(self, observed: Observed, clock_seconds: int) -> int:
        """Above all that were ever used, as far as the kernel, the checkpoint or the clock can tell."""
        ours = max(self.generation, clock_seconds) + 1
        after = max(ours, highest(observed) + 1)
        return after if after <= generations.LAST else ours

    def _commit(self, plan: Plan) -> bool:
        """False if others changed the ruleset meanwhile, so that the plan must be made anew. Raises KernelRefused."""
        try:
            commits = self._ruleset.commit(plan.changes)
        except KernelRefused:
            was_right = self._ruleset.generation() == self._believed_at
            self._believed = None
            if was_right:
                raise
            return False
        if plan.new_generation:
            self.generation = max(self.generation, highest(plan.after))
        expected = self._believed_at + commits & 0xFFFF_FFFF
        if self._ruleset.generation() != expected:
            self._believed = None
            return False
        self._believed, self._believed_at = plan.after, expected
        return True

    def _settle_links(self, clock: "_Clock") -> list[Failure]:
        """The plan's steps outside nftables, which come first: they close."""
        links = self._links.read()
        failures = []
        if links.bridge_filtered is None:
            failures.append(Failure(f"host/{self._facts.bridge}", "links", "there is no such bridge"))
        for step in link_steps(links):
            try:
                match step:
                    case FilterBridge():
                        self._links.filter_bridge()
                    case SilencePort(port):
                        self._links.silence(port)
            except (KernelRefused, OSError) as refused:
                failures.append(Failure(f"host/{_object(step, self._facts)}", "links", str(refused)))
        self._settled = frozenset(links.ports)
        clock.lap("apply")
        return failures

    def _cannot_filter(self, clock: "_Clock") -> str | None:
        """Why bridged packets do not meet the ip table, if they do not."""
        if not can_filter_bridges():
            return "br_netfilter is not loaded: bridged packets would pass unjudged (modprobe br_netfilter)"
        if self._links.read().bridge_filtered is False:
            return f"nf_call_iptables of {self._facts.bridge} cannot be set: bridged packets would pass unjudged"
        clock.lap("verify")
        return None

    def _readiness(self, wanted: Desired, links: Links) -> dict[InstanceId, Readiness]:
        states: dict[InstanceId, Readiness] = dict.fromkeys(sorted(wanted.quarantined), "quarantined")
        for name, interface in wanted.interfaces.items():
            port = links.ports.get(interface)
            on_bridge = port is not None and port.bridge == self._facts.bridge
            states[name] = "ready" if on_bridge else "waiting-for-interface"
        return states


def _object(step: FilterBridge | SilencePort, facts: HostFacts) -> str:
    return step.port if isinstance(step, SilencePort) else facts.bridge


def _describe(step: FilterBridge | SilencePort, facts: HostFacts) -> str:
    match step:
        case FilterBridge():
            return f"ip link set {facts.bridge} type bridge nf_call_iptables 1"
        case SilencePort(port):
            return f"sysctl net.ipv6.conf.{port}.disable_ipv6=1"


def _count(changes: tuple[Change, ...]) -> int:
    """Kernel objects, elements included."""
    holders = AddElements | DeleteElements | AddMappings | DeleteMappings
    return sum(len(change.elements) if isinstance(change, holders) else 1 for change in changes)


class _Clock:
    """Milliseconds spent by stage."""

    def __init__(self) -> None:
        self.spent_ms: dict[str, float] = {"plan": 0.0, "apply": 0.0, "verify": 0.0}
        self._since = perf_counter()

    def lap(self, stage: str) -> None:
        now = perf_counter()
        self.spent_ms[stage] += (now - self._since) * 1000
        self._since = now
