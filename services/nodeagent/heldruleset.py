"""What the kernel holds of ours, as it was last read or left, so that nothing is read twice; and the transactions that change it.

    believed ── true while the kernel's generation is `left_at`; else it is read again
        │
        ├─ plan      with what operators keep in our tables
        └─ commit    one transaction, behind which what the plan leads to is believed; refused, nothing is

Blocking, and for one thread at a time.
"""

from collections import deque
from dataclasses import replace
from typing import Final

from nodeagent.desired.node import Desired, desired
from nodeagent.kernel import KernelRefused, TooLong
from nodeagent.kernel.ruleset import KernelRuleset
from nodeagent.nft.changes import DeleteTable
from nodeagent.operatorrules import OperatorRules
from nodeagent.plan.assignment import highest
from nodeagent.plan.difference import HandlesUnknown
from nodeagent.plan.plan import Plan
from nodeagent.plan.plan import plan as make_plan
from nodeagent.state import generations
from nodeagent.state.host import HostFacts, Links
from nodeagent.state.ruleset import Observed

_WRAPS: Final = 0xFFFF_FFFF
_REMEMBERED: Final = 64


class HeldRuleset:
    generation: int
    """The last policy generation used."""
    left_at: int = -1
    """The kernel's generation (of rulesets, not of policy) as it was last read or left: what was committed later is
    others'."""

    def __init__(self, facts: HostFacts, operators: OperatorRules, *, last_generation: int) -> None:
        """Touches nothing. Raises OSError."""
        self.generation = last_generation
        self.kernel = KernelRuleset()
        self.operators = operators
        self.ours: deque[int] = deque(maxlen=_REMEMBERED)
        """The kernel's generations that our last transactions made."""
        self._facts = facts
        self._believed: Observed | None = None

    def close(self) -> None:
        self.kernel.close()

    def doubt(self) -> None:
        """Read it again before the next plan."""
        self._believed = None

    def is_as_left(self) -> bool:
        """Cheap. Any change of any ruleset counts."""
        return self._believed is not None and self.kernel.generation() == self.left_at

    def observe(self) -> Observed:
        """Raises KernelRefused."""
        if self._believed is None or self.kernel.generation() != self.left_at:
            self._believed, self.left_at = self.kernel.read()
            self.operators.seen(self._believed)
        return self._believed

    def calling(self, wanted: Desired) -> Desired:
        """With calls of the operators' chains, as far as is known what these hold."""
        return self.operators.calling(wanted, self._believed or {}, self._facts.ports)

    def plan(self, observed: Observed, links: Links, wanted: Desired, clock_seconds: int) -> Plan:
        """Raises KernelRefused."""
        wanted = self.operators.calling(wanted, observed, self._facts.ports)
        next_generation = self._next_generation(observed, clock_seconds)
        if self.operators.evicting:
            made = make_plan({}, links, wanted, next_generation)
            return replace(made, changes=(*map(DeleteTable, sorted(observed)), *made.changes))
        try:
            return make_plan(observed, links, wanted, next_generation)
        except HandlesUnknown:
            self._believed = self.kernel.with_handles(observed)
            return make_plan(self._believed, links, wanted, next_generation)

    def commit(self, plan: Plan, behind: str, observed: Observed) -> bool:
        """False if others changed the ruleset meanwhile, or what operators keep in it is in the way: the plan must be made
        anew. Raises KernelRefused."""
        try:
            commits = self.kernel.commit(plan.changes, behind)
        except KernelRefused as refused:
            was_right = self.kernel.generation() == self.left_at
            self._believed = None
            if was_right and isinstance(refused, TooLong):
                raise
            if was_right and not self.operators.blamed(str(refused), behind, observed, self.kernel):
                self.operators.acquitted()
                raise
            return False
        self.operators.loaded(behind)
        if plan.new_generation:
            self.generation = max(self.generation, highest(plan.after))
        if not self._moved_by(commits):
            return False
        self._believed = None if behind else plan.after
        self.observe()
        return True

    def close_first(self, links: Links, clock_seconds: int) -> None:
        """What is made anew is made closed; the rest can then go in piece by piece. Raises KernelRefused."""
        observed = self.observe()
        plan = self.plan(observed, links, desired(None, self._facts), clock_seconds)
        self.commit(plan, self.operators.addition(plan.changes, observed, self.kernel), observed)

    def committed_beside(self) -> None:
        """One transaction of ours went in that changed nothing of what is kept here."""
        if self._believed is not None:
            self._moved_by(1)

    def _moved_by(self, commits: int) -> bool:
        """Were these the only ones since? If not, nothing is believed."""
        expected = self.left_at + commits & _WRAPS
        if self.kernel.generation() != expected:
            self._believed = None
            return False
        self.ours.extend(expected - back & _WRAPS for back in range(commits))
        self.left_at = expected
        return True

    def _next_generation(self, observed: Observed, clock_seconds: int) -> int:
        """Above all that were ever used, as far as the kernel, the checkpoint or the clock can tell."""
        ours = max(self.generation, clock_seconds) + 1
        after = max(ours, highest(observed) + 1)
        return after if after <= generations.LAST else ours & generations.LAST or 1
