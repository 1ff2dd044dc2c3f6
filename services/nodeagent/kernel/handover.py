"""What comes with addresses that arrive or leave, beside the ruleset: neighbours are told, flows of before are forgotten.

leaving ─▶ the transaction ─▶ left, arrived

Elastic IPs are announced on the public interface; private addresses that the host speaks for, on the bridge.
"""

from collections.abc import Collection, Iterable
from itertools import chain
from typing import Final

from nodeagent.kernel.announcement import Announcer
from nodeagent.kernel.conntrack import Conntrack, Flow
from nodeagent.state.host import HostFacts
from nodeagent.state.ruleset import Span

_FEW: Final = 2000
"""Flows of the host for each elastic IP: the kernel walks its table (10 ms) twice to pick those of one out of it, in which
time we read so many."""

_MOST: Final = 16
"""Elastic IPs for which the kernel goes through its table, twice for each: for more, reading all of it once takes less time."""

Pair = tuple[int, int]
"""An elastic IP and the private address that has it."""


class Handover:
    """Raises OSError."""

    def __init__(self, facts: HostFacts) -> None:
        self._announcer = Announcer(facts.public_interface)
        self._on_bridge = Announcer(facts.bridge)
        self._conntrack = Conntrack()

    def close(self) -> None:
        self._announcer.close()
        self._on_bridge.close()
        self._conntrack.close()

    def leaving(self, pairs: Iterable[Pair], private: Iterable[int]) -> None:
        """Nothing is said of them any more: another node may have them as soon as they are gone."""
        self._announcer.withdraw(elastic for elastic, _ in pairs)
        self._on_bridge.withdraw(private)

    def left(self, pairs: Iterable[Pair]) -> int:
        """Flows that were translated so are forgotten; about how many (others of the host may have come or gone meanwhile).
        Raises KernelRefused."""
        gone = set(pairs)
        before = self._conntrack.count()
        if len(gone) <= _MOST and self._forgotten(gone):
            return max(0, before - self._conntrack.count())
        return self._left(gone)

    def _forgotten(self, gone: Collection[Pair]) -> bool:
        """False: this kernel leaves it to us. Who sends there reaches the new holder as soon as the first half is done."""
        flows = self._conntrack
        return all(flows.forget(sent_to=elastic, answered_by=private) for elastic, private in gone) and all(
            flows.forget_sources(sent_by=private, seen_as=elastic) for elastic, private in gone
        )

    def _left(self, gone: set[Pair]) -> int:
        """Likewise, where the kernel does not do it by itself."""
        if self._conntrack.count() < _FEW * len(gone):
            return self._forget(self._conntrack.everything(), gone)
        sent_to = self._forget(chain.from_iterable(self._conntrack.sent_to(elastic) for elastic, _ in gone), gone)
        return sent_to + self._forget(
            chain.from_iterable(self._conntrack.sent_as(elastic) for elastic, _ in gone), gone
        )

    def _forget(self, flows: Iterable[Flow], gone: set[Pair]) -> int:
        keys = {
            flow.key: flow
            for flow in flows
            if (flow.first_dst, flow.reply_src) in gone or (flow.reply_dst, flow.first_src) in gone
        }
        return self._conntrack.delete(keys.values())

    def tidied(self, pairs: Iterable[Pair], pool: tuple[Span, ...]) -> int:
        """Likewise, of any pair but these: what one who died between the transaction and `left` has left behind. Reads all
        flows of the host once. Raises KernelRefused."""
        valid = set(pairs)

        def stale(elastic: int, private: int) -> bool:
            return any(low <= elastic <= high for low, high in pool) and (elastic, private) not in valid

        flows = [
            flow
            for flow in self._conntrack.everything()
            if flow.translated and (stale(flow.first_dst, flow.reply_src) or stale(flow.reply_dst, flow.first_src))
        ]
        return self._conntrack.delete(flows)

    def arrived(self, pairs: Iterable[Pair], private: Iterable[int]) -> None:
        """Neighbours are told, now and a few times more."""
        self._announcer.announce(elastic for elastic, _ in pairs)
        self._on_bridge.announce(private)
