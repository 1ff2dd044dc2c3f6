"""Which nodes are heard of, here or by another replica, so that every replica gives the same answer.

A node holds its request open at one replica. That one says so once, when the node comes (a claim), and once more when the
node has been away for longer than the grace (a loss). What stands in Postgres is the last claim of each node, and nothing is
written while nothing changes. The last to have come counts, in whichever order claims are written: a node that changes
replica is claimed by the new one, after which the old one's loss says nothing, so it is not silent in between. The nodes of
a replica that is no more are lost to all when another one buries it (`heartbeat`).

What is seen here is truer than what is read: a node with an open request here is heard of, whoever claims otherwise.
All times are readings of this process's monotonic clock, given by the caller.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Claim:
    node: str
    replica: str
    connected: bool
    """False: it was lost; `at` is when it was last heard of."""
    at: datetime
    """By Postgres's clock."""
    seq: int
    """Of the batch that wrote it. A row read late does not undo a newer one."""


class Presence:
    def __init__(self, me: str, started: float, *, silence_grace_s: float, start_grace_s: float) -> None:
        self.me = me
        self.claims: dict[str, Claim] = {}
        """By node: the last, as far as it is known here."""
        self._silence_grace_s = silence_grace_s
        self._unclaimed_grace_s = max(silence_grace_s, start_grace_s)
        self._started = started
        self._open: dict[str, int] = {}
        self._heard: dict[str, float] = {}
        self._left: set[str] = set()
        """Nodes without a request here whose claim may still be ours."""
        self._came: dict[str, float] = {}
        """Nodes to be claimed, and since when."""
        self._gone: dict[str, int] = {}
        """Nodes that are no more, with the claim that is to be deleted: none that is newer."""

    # --- seen here ---

    def came(self, node: str, now: float) -> None:
        """A request of the node's has begun."""
        self._open[node] = self._open.get(node, 0) + 1
        self._left.discard(node)
        claim = self.claims.get(node)
        if claim is None or claim.replica != self.me or not claim.connected:
            self._came[node] = now

    def left(self, node: str, now: float) -> None:
        """A request of the node's has ended."""
        self._heard[node] = now
        self._open[node] -= 1
        if not self._open[node]:
            del self._open[node]
            self._left.add(node)

    def remove(self, node: str) -> None:
        """The node is no more; one that comes under its name begins anew."""
        self._heard.pop(node, None)
        claim = self.claims.pop(node, None)
        if claim is not None:
            self._gone[node] = claim.seq

    # --- read ---

    def follow(self, claims: Iterable[Claim], now: float) -> list[str]:
        """Take in claims of any replica's; the nodes that they are news of."""
        moved = []
        for claim in claims:
            node, known = claim.node, self.claims.get(claim.node)
            if known is not None and known.seq >= claim.seq:
                continue
            self.claims[node] = claim
            moved.append(node)
            if node in self._open and not claim.connected:
                self._came[node] = now  # lost by whoever had it before, and here all the time
            elif node not in self._open and self._is_mine(node):  # it left before this was read
                self._left.add(node)
                self._heard.setdefault(node, now)
        return moved

    # --- to be written ---

    def news(self, now: float, exists: Callable[[str], bool]) -> "News":
        """What is to be written; taken out of the books, into which `again` puts it back if it could not be."""
        away = {node for node in self._left if now - self._heard.get(node, now) > self._silence_grace_s}
        self._left -= away
        lost = {node: self._heard[node] for node in away if node not in self._came and self._is_mine(node)}
        came = {node: since for node, since in self._came.items() if exists(node)}
        self._came = {}
        gone, self._gone = self._gone, {}
        return News(came, lost, gone)

    def again(self, news: "News") -> None:
        self._came = {**news.came, **self._came}
        self._left.update(node for node in news.lost if node not in self._open)
        self._gone.update(news.gone)

    def _is_mine(self, node: str) -> bool:
        claim = self.claims.get(node)
        return claim is not None and claim.replica == self.me and claim.connected

    # --- asking ---

    def here(self, node: str) -> bool:
        """The node has a request open at this replica."""
        return node in self._open

    def connected(self, node: str) -> bool:
        """Here, or at another replica as far as is known."""
        return node in self._open or self._elsewhere(node)

    def _elsewhere(self, node: str) -> bool:
        claim = self.claims.get(node)
        return claim is not None and claim.connected and claim.replica != self.me

    def heard(self, node: str, now: float) -> bool:
        """The node is connected, or was a moment ago."""
        return self.connected(node) or now - self._heard.get(node, float("-inf")) <= self._silence_grace_s

    def silent(self, node: str, now: float) -> bool:
        """Nothing is heard of the node. One that was never claimed has some time after the start."""
        if self.heard(node, now):
            return False
        if node not in self.claims and node not in self._heard:
            return now - self._started > self._unclaimed_grace_s
        return True

    def heard_at(self, node: str, now: float, at: Callable[[float], datetime]) -> datetime | None:
        """When the node was last heard of, by Postgres's clock, into which `at` turns a reading of ours; None: not known."""
        if self.connected(node):
            return at(now)
        heard = self._heard.get(node)
        claim = self.claims.get(node)
        known = [] if heard is None else [at(heard)]
        return max([*known, claim.at] if claim is not None else known, default=None)


@dataclass(frozen=True, slots=True)
class News:
    """What one replica has to tell the others."""

    came: dict[str, float]
    """Since when."""
    lost: dict[str, float]
    """Away for longer than the grace: when each was last heard of."""
    gone: dict[str, int]

    def __bool__(self) -> bool:
        return bool(self.came or self.lost or self.gone)
