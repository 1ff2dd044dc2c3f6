"""A kernel in memory behind the interface of `nodeagent.enforcement.Enforcement`.

It keeps what was put in across agents (as a kernel does across processes), takes nothing while its bridge is missing,
refuses chosen views as a whole, and can be touched by others.
"""

from dataclasses import dataclass, field

from nodeagent.enforcement import Outcome, PlanText
from verge.contract.report import Failure
from verge.contract.view import View


@dataclass
class Kernel:
    content: str | None = None
    """The digest of the view in force; "closed" for the skeleton; None when there is nothing of ours."""
    bridge: bool = True
    interfaces: set[str] | None = None
    """None: every interface that a view names is there."""
    refused: set[str] = field(default_factory=set)
    """Digests of views that it takes nothing of."""
    touched: bool = False
    history: list[str] = field(default_factory=list)

    def flush(self) -> None:
        self.content, self.touched = None, True


class MemoryEnforcement:
    dnsmasq = None
    left_at = 0
    ours = ()

    def __init__(self, kernel: Kernel, last_generation: int) -> None:
        self.kernel = kernel
        self.generation = last_generation

    def apply(self, view: View | None, *, clock_seconds: int) -> Outcome:
        assert clock_seconds > 1_600_000_000
        kernel = self.kernel
        if not kernel.bridge:
            return Outcome("rejected", (Failure("view", "bridge", "br0 does not exist"),))
        if view is None:
            kernel.content = kernel.content or "closed"
            return Outcome("applied")
        if view.digest in kernel.refused:
            return Outcome("rejected", (Failure("view", "ruleset", "the kernel refuses it"),))
        changes = int(kernel.content != view.digest)
        kernel.content = view.digest
        kernel.history += [view.digest] * changes
        self.generation += changes
        timings = {"plan": 0.1, "apply": 0.2, "verify": 0.1}
        return Outcome("applied", (), self.readiness(view), timings, changes)

    def resync(self, view: View | None, *, clock_seconds: int) -> Outcome:
        self.kernel.touched = False
        return self.apply(view, clock_seconds=clock_seconds)

    def plan(self, view: View | None) -> PlanText:
        wanted = view.digest if view else "closed"
        return PlanText(() if self.kernel.content == wanted else (f"{self.kernel.content} → {wanted}",))

    def traffic(self):
        return {}

    def dropped(self) -> dict[str, int]:
        return {}

    def tidy(self) -> None:
        pass

    def moved(self) -> bool:
        return self.kernel.touched

    def readiness(self, view: View | None):
        there = self.kernel.interfaces
        return {
            instance.id: "ready" if there is None or instance.interface in there else "waiting-for-interface"
            for instance in (view.instances.values() if view else ())
        }

    def ruleset(self, view: View | None) -> tuple[str, str]:
        return (view.digest if view else "closed", self.kernel.content or "")

    def close(self) -> None:
        self.kernel.history.append("released")
