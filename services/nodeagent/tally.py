"""What has happened since the agent started, in numbers that only grow: for its metrics."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from nodeagent.outcome import Outcome


@dataclass(slots=True)
class Tally:
    passes: Counter[str] = field(default_factory=Counter)
    """By the state that they ended in."""
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Spent in passes, by stage."""
    changes: int = 0
    """Kernel objects added, removed or set."""
    failures: int = 0
    """Objects that could not be made true, once for each pass over them."""
    judged_again: int = 0
    cut: int = 0
    drift: int = 0
    """Changes of others that were repaired."""
    views: Counter[str] = field(default_factory=Counter)
    """Taken from the server, by the form that they came in: `delta` or `whole`."""

    def count(self, outcome: Outcome) -> None:
        self.passes[outcome.state] += 1
        for stage, spent_ms in outcome.timings_ms.items():
            self.seconds[stage] += spent_ms / 1000
        self.changes += outcome.changes
        self.failures += len(outcome.failures)
        self.judged_again += outcome.sessions_judged_again
        self.cut += outcome.sessions_cut
