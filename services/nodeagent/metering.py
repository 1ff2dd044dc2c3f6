"""What instances send and receive, counted by the kernel, read when somebody asks.

Nothing here takes part in judging packets; see `nft.meters` for what is counted and where.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nodeagent.desired.names import token
from nodeagent.kernel.ruleset import KernelRuleset
from nodeagent.nft import meters
from nodeagent.nft.meters import Count, Direction, Meters, Scope
from nodeagent.state.metered import Metered
from verge.contract.view import InstanceId

Traffic = Mapping[tuple[Direction, Scope], Count]


@dataclass(slots=True)
class Metering:
    """Remembers who is counted, so that a pass that changes no instance asks nothing."""

    ruleset: KernelRuleset
    _now: Metered | None = field(default=None)
    """What the kernel was left with; None: look."""

    def doubt(self) -> None:
        self._now = None

    def realise(self, wanted: Metered) -> bool:
        """Was anything committed? Raises KernelRefused, and then looks again the next time."""
        if wanted == self._now:
            return False
        before, self._now = self._now, None
        commands = meters.differing(self._seen() if before is None else _without_counts(before), wanted)
        if commands:
            self.ruleset.run(commands)
        self._now = wanted
        return bool(commands)

    def traffic(self) -> dict[InstanceId, Traffic]:
        """Of each instance that is counted, since it came to this node. Raises KernelRefused."""
        now = self._now
        seen = self._seen() if now else None
        if now is None or seen is None:
            return {}
        return {
            name: {which: seen.counts[address, *which] for which in meters.SETS}
            for address, name in now.instances.items()
            if address in seen.names
        }

    def _seen(self) -> Meters | None:
        return meters.read(self.ruleset.meters())


def _without_counts(known: Metered) -> Meters:
    names = {address: token(name) for address, name in known.instances.items()}
    return Meters(names, known.cloud, {})
