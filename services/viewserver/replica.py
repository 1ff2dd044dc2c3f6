"""What one replica holds in memory: the network at a revision, who has applied what, and who waits for news.

Reading a view or asking about convergence touches no database. Everything here can be lost and read again from Postgres;
nothing here is decided by it. All methods are synchronous, so that no reader sees half a change.
"""

import time
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from prometheus_client import Histogram

from verge.contract.etag import ETag
from viewserver.advance import Advances
from viewserver.bases import Bases
from viewserver.batches import Batches
from viewserver.compile.derived import Derived
from viewserver.compile.held import Held
from viewserver.model.change import Change
from viewserver.model.convergence import Facts, Pending, Told, touched_objects
from viewserver.model.presence import Claim, Presence
from viewserver.observed import Observed
from viewserver.settings import Settings
from viewserver.spread import Spreads
from viewserver.standings import Standings
from viewserver.store.clock import ServerClock
from viewserver.store.records.happenings import Happening
from viewserver.waiting import Waiting

RECENT_CHANGES = 1000
RECENT_ETAGS = 64
HAPPENINGS = 500
STALE_AFTER_S = 3.0
CONVERGENCE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
PROGRESS = "progress"
"""The key of those who wait for any node to advance, or any change to be committed."""


@dataclass(frozen=True, slots=True)
class Recent:
    """What a barrier needs to know of a change."""

    revision: int
    at: datetime
    affected: tuple[str, ...]
    """Ascending."""
    touched: frozenset[str]
    caused_by: int | None = None
    actor: str = ""

    @property
    def pending(self) -> Pending:
        return Pending(self.revision, self.at)

    def affects(self, node: str) -> bool:
        found = bisect_left(self.affected, node)
        return found < len(self.affected) and self.affected[found] == node

    @classmethod
    def of(cls, change: Change) -> "Recent":
        affected = tuple(sorted(change.affected))
        return cls(change.revision, change.at, affected, touched_objects(change), change.caused_by, change.actor)


class Replica:
    def __init__(self, settings: Settings, clock: ServerClock, held: Held, name: str = "here") -> None:
        """`name` is another for each process."""
        self.settings = settings
        self.clock = clock
        self.held = held
        self.views: Waiting[str] = Waiting()
        """By node: its view has moved, or the node is gone."""
        self.progress: Waiting[str] = Waiting()
        self.batches = Batches(0)
        """Of reports: which of them are in `told`."""
        self.told: dict[str, Told] = {}
        self.known_etags: dict[str, deque[ETag]] = defaultdict(lambda: deque(maxlen=RECENT_ETAGS))
        """By node: validators that its view has had, for judging reports."""
        self.recent: dict[int, Recent] = {}
        self.convergence_seconds = Histogram(
            "verge_convergence_seconds",
            "From a change's commit until the last node that it affects has told that it applied it.",
            registry=None,
            buckets=CONVERGENCE_BUCKETS,
        )
        self.spreads = Spreads(self.convergence_seconds.observe)
        """How the last changes spread, for the change log."""
        self.observed = Observed()
        self.advances = Advances()
        self.caused: dict[int, list[int]] = defaultdict(list)
        """By change: those of the recent ones that complete it."""
        self.late: dict[tuple[int, bool], list[str]] = {}
        """What barriers have found since there was last any news: who holds them up. A thousand that wait for one change are
        answered at once, and look once."""
        self.standings = Standings(self.facts, self.silent, self._unseen)
        self.happened: deque[Happening] = deque(maxlen=HAPPENINGS)
        """What befell nodes and addresses lately, as it came to be known here."""
        self.happened_through = 0
        """The number of the last of them."""
        self.changes_taken_in = 0
        self.barriers = 0
        """How many wait for a change to be in force."""
        self.fresh_at = time.monotonic()
        """When this replica last knew itself to be at the head."""
        self._pending: dict[str, deque[Pending]] = defaultdict(deque)
        self.presence = Presence(
            name,
            time.monotonic(),
            silence_grace_s=settings.silence_grace_s,
            start_grace_s=settings.start_grace_s,
        )
        self._rendered: dict[str, tuple[ETag, bytes]] = {}
        self.bases = Bases(held)
        for node in held.derived.digests:
            self._remember_etag(node)
            self.standings.disconnected(node)
        self.standings.renew(held.derived.digests)

    # --- the network moves on ---

    def adopt(self, change: Change, derived: Derived | None = None) -> None:
        """Take in the next change record; with `derived` if it is known already. Wakes those whose view it changes."""
        self.held = self.held.fold(change) if derived is None else self.held.committed(change, derived)
        self.bases.add(self.held, change.at)
        self.late.clear()
        self.remember(Recent.of(change))
        gone = [item.id for item in change.operations if item.kind == "node" and item.after is None]
        self.changes_taken_in += 1
        for item in change.operations:
            if item.kind == "node" and item.before is None:
                self.advances.joined(item.id, [one for one in self._affecting(item.id) if one < change.revision])
        for node in gone:
            pending = [one.revision for one in self._pending.get(node, ())]
            for revision in pending:
                self.spreads.gone(revision, node)
            self.advances.gone(node, self._affecting(node), pending)
            for book in (self.told, self.known_etags, self._pending, self._rendered):
                book.pop(node, None)
            self.presence.remove(node)
        for node in change.affected:
            self._remember_etag(node)
            self._rendered.pop(node, None)
        self._renew(change)
        self.views.wake([*change.affected, *gone])
        self.progress.wake([PROGRESS])

    def _renew(self, change: Change) -> None:
        """The nodes whose standing the change may touch: those it affects, those it speaks of, and those that gain or lose
        an instance."""
        nodes, waiting, lifted = set(change.affected), set(), set()
        for item in change.operations:
            if item.kind == "node":
                nodes.add(item.id)
                if item.before is None:
                    self._connection(item.id)
            for value in (item.before, item.after):
                if item.kind == "instance" and value and value.get("node"):
                    nodes.add(value["node"])
                elif item.kind == "withdrawal" and value:
                    waiting.add(value.get("fence"))
            if item.kind == "withdrawal" and item.before and item.after is None:
                lifted.add(item.before.get("fence"))
        unseen = len(self.standings.unseen)
        self.standings.renew(nodes)
        self.advances.news(waiting - {None})
        self.observed.lifted((self.recent[one].at for one in lifted if one in self.recent), change.at)
        if len(self.standings.unseen) != unseen:
            self.advances.news_of_nodes()

    def loaded(
        self, applications: Mapping[str, Sequence[tuple[int, datetime]]], affected: Mapping[int, Sequence[str]]
    ) -> None:
        """What was taken in so far is history: what comes from here on is counted as news."""
        self.changes_taken_in = 0
        self.observed = Observed()
        self.spreads.recall(applications, affected)

    def missed(self, older: Iterable[tuple[str, int, datetime]]) -> None:
        """Changes from before those taken in that nodes lack: node, revision and time of commit, ascending. A node that was
        away for a day is a day behind, whatever this replica remembers."""
        by_node: dict[str, list[Pending]] = {}
        for node, revision, at in older:
            by_node.setdefault(node, []).append(Pending(revision, at))
        for node, pending in by_node.items():
            self._pending[node].extendleft(reversed(pending))
        self.standings.renew(by_node)

    def begin_epoch(self, held: Held) -> None:
        """History was rewound, or records are missing: start again from what Postgres holds. Wakes everyone, those too
        whose node is no more."""
        everyone = {*self.held.derived.digests, *held.derived.digests}
        self.held = held
        self.bases = Bases(held)
        self.recent.clear()
        self.caused.clear()
        self.spreads.clear()
        self.advances.clear()
        self.standings.clear()
        self.late.clear()
        self._pending.clear()
        self._rendered.clear()
        self.known_etags.clear()
        now = self.clock.now()
        for node in held.derived.digests:
            self._remember_etag(node)
            version = held.versions.get(node, 0)
            if version > self.applied(node):
                self._pending[node].append(Pending(version, now))
        self.standings.renew(held.derived.digests)
        self.views.wake(everyone)
        self.progress.wake([PROGRESS])

    def remember(self, recent: Recent) -> None:
        """A change's effect, new or, at start, from the records."""
        self.recent[recent.revision] = recent
        if recent.caused_by is not None:
            self.caused[recent.caused_by].append(recent.revision)
        while len(self.recent) > RECENT_CHANGES:
            oldest = next(iter(self.recent))
            cause = self.recent.pop(oldest).caused_by
            if cause is not None:  # which came before, and may be waited for from its record
                self.caused[cause].remove(oldest)
                if not self.caused[cause]:
                    del self.caused[cause]
            self.advances.forget(oldest)
        network = self.held.network
        nodes = [node for node in recent.affected if node in self.held.derived.digests]
        self.spreads.begin(recent.revision, recent.at, nodes, lambda node: node in self.told or node in network.at_node)
        self.advances.begin(recent.revision, len(nodes), recent.caused_by)
        pending = recent.pending
        for node in nodes:
            if recent.revision > self.applied(node):
                self._pending[node].append(pending)
            else:  # its report was here before the record
                self.spreads.applied(recent.revision, node, self.told[node].at)
                self.advances.applied((recent.revision,))
                self._look_for_closed(node)

    def _affecting(self, node: str, above: int = 0) -> list[int]:
        """The recent changes above a revision that affect a node, ascending."""
        return [revision for revision, one in self.recent.items() if revision > above and one.affects(node)]

    def _remember_etag(self, node: str) -> None:
        etag = self.held.etag(node)
        if etag is not None and etag.version:
            self.known_etags[node].append(etag)

    # --- views ---

    def rendered(self, node: str) -> tuple[ETag, bytes] | None:
        """The node's view and its validator; rendered once per version. None: no such node."""
        etag = self.held.etag(node)
        if etag is None:
            return None
        found = self._rendered.get(node)
        if found is None or found[0] != etag:
            found = self._rendered[node] = (etag, self.held.derived.render(node))
        return found

    def delta(self, node: str, bases: "Iterable[ETag]") -> tuple[ETag, ETag, bytes] | None:
        """For the newest of these bases that is known: (that base, the view's validator now, the delta as JSON)."""
        etag = self.held.etag(node)
        if etag is None:
            return None
        for base in sorted(bases, key=lambda one: one.version, reverse=True):
            body = self.bases.delta(node, base, etag)
            if body is not None:
                return base, etag, body
        return None

    def committed_at(self, revision: int) -> str | None:
        """By Postgres's clock; None for a change that this replica no longer has in memory."""
        recent = self.recent.get(revision)
        return recent.at.isoformat() if recent is not None else None

    def stale_seconds(self) -> float:
        """How long this replica has not known whether it is at the head; below a few seconds it is."""
        return time.monotonic() - self.fresh_at

    def stale_header(self) -> dict[str, str]:
        """`Verge-Stale: <seconds>`, on answers from a replica that may be behind; nothing from one that is not."""
        stale = self.stale_seconds()
        return {"verge-stale": f"{stale:.0f}"} if stale > STALE_AFTER_S else {}

    # --- nodes ---

    def hear(self, node: str, told: Told) -> bool:
        """Take in a stored report; True if it says anything new."""
        before, had = self.told.get(node), self.applied(node)
        self.told[node] = told
        if before is not None and replace(told, at=before.at) == before:
            return False
        self.late.clear()
        applied, pending = self.applied(node), self._pending[node]
        if applied < had:
            self._fall_back(node, applied, had)
        reached = self.advances.caught_up(node) if applied else []
        while pending and pending[0].revision <= applied:
            reached.append(pending.popleft().revision)
            self.spreads.applied(reached[-1], node, told.at)
        self.advances.applied(reached)
        self._look_for_closed(node)
        self.standings.renew((node,))
        if before is None:
            self.advances.news_of_nodes()
        return True

    def _fall_back(self, node: str, applied: int, before: int) -> None:
        """The node tells of an older version than it did, or of none that counts, as one whose disk was lost or restored does:
        what it lost is pending again."""
        lost = [revision for revision in self._affecting(node, applied) if revision <= before]
        self._pending[node].extendleft(self.recent[revision].pending for revision in reversed(lost))
        self.advances.fell_back(lost)

    def _look_for_closed(self, node: str) -> None:
        """Which changes the node has applied without an object of theirs. What an attempt that was rejected could not make
        true says nothing of the version in force."""
        told = self.told[node]
        failed = {failure.object for failure in told.failures} if told.state != "rejected" else set()
        if not failed and not self.advances.closing(node):
            return
        applied = self.applied(node)
        self.advances.closes(
            node,
            {
                revision
                for revision, recent in self.recent.items()
                if revision <= applied and not failed.isdisjoint(recent.touched) and recent.affects(node)
            },
        )

    def opened(self, node: str) -> None:
        """One of the node's requests is open: until `closed_by`, it is not silent."""
        self.presence.came(node, time.monotonic())
        self._connection(node)

    def closed_by(self, node: str) -> None:
        self.presence.left(node, time.monotonic())
        self._connection(node)

    def hear_claims(self, claims: Iterable[Claim], *, anew: bool = False) -> None:
        """Take in which replica has which node; `anew`: what was known before counts for nothing."""
        before = list(self.presence.claims) if anew else []
        if anew:
            self.presence.claims.clear()
        for node in {*before, *self.presence.follow(claims, time.monotonic())}:
            self._connection(node)

    def _connection(self, node: str) -> None:
        if self.presence.connected(node):
            self.standings.connected(node)
        else:
            self.standings.disconnected(node)

    def applied(self, node: str) -> int:
        """The version that the node has applied, in this epoch; 0 for none."""
        told = self.told.get(node)
        return told.applied if told is not None and told.epoch == self.held.epoch else 0

    def closed(self, revision: int) -> list[str]:
        """Nodes that applied this recent change, but had to close an object which it touched."""
        return sorted(self.advances[revision].closed) if revision in self.recent else []

    def silent(self, node: str) -> bool:
        """Nothing is heard of the node, by any replica."""
        return self.presence.silent(node, time.monotonic())

    def heard(self, node: str) -> bool:
        """The node polls a replica, or did so here a moment ago."""
        return self.presence.heard(node, time.monotonic())

    def _unseen(self, node: str) -> bool:
        held = self.held
        return node not in self.told and node not in held.network.at_node and node in held.derived.digests

    def heard_at(self, node: str) -> datetime | None:
        """When the node was last connected to any replica, by Postgres's clock; None if nobody knows."""
        return self.presence.heard_at(node, time.monotonic(), self.clock.at)

    def facts(self, nodes: Iterable[str] | None = None) -> Iterator[Facts]:
        """What is known of these nodes, or of all; names that are no nodes (any more) are left out."""
        held = self.held
        for name in sorted(held.derived.digests) if nodes is None else nodes:
            node = held.derived.seen.get(name)
            if node is None:
                continue
            yield Facts(
                node=name,
                zone=node.zone,
                epoch=held.epoch,
                version=held.versions.get(name, 0),
                pending=self._pending.get(name, ()),
                hosts_instances=name in held.network.at_node,
                told=self.told.get(name),
                silent=self.silent(name),
            )
