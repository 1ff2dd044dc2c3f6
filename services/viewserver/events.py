"""What operators watch live: revisions, nodes whose standing changed, how changes spread, and the whole cloud's convergence.

One loop looks at the replica for all who listen, and not at all while nobody does. It is woken by changes and reports, looks
a few times a second at most, and rests sixty times as long as a look has cost, so watching takes less than 2 % of a core
whatever the size of the cloud. What happened between two looks is told together; revisions are each told.

    hello        {"epoch", "revision", "at"}          first, and whenever history was rewound: forget what you know
    nodes        {"set": [node, …], "gone": [name, …]}   all of them after hello, then those that changed;
                                                      in several events where they are many, and then `convergence`
    revision     {"revision", "epoch", "at", "actor", "objects", "operations", "affected", "nodes", "caused_by"}
    progress     {"revision", "affected", "applied", "ms": {"p50", "p90", "p99", "max"}, "exceptions": [name, …]}
    happening    {"id", "at", "kind", "node", "what", "culprit", "revision", "more"}   as GET /v1/happenings has them
    convergence  as GET /v1/convergence answers it, with the fences that wait, and for how long Postgres has been away
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import orjson

from viewserver.model.convergence import Facts, Standing, standing
from viewserver.replica import PROGRESS, Recent, Replica
from viewserver.waiting import until

PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 5.0
REST: Final = 60
LOOK_EVERY_S: Final = 1.0
"""Silence comes by itself: no report tells of it."""
CHUNK: Final = 200
MOST_NODES: Final = 500
"""In one event."""
NAMES: Final = 12
LAGGARDS: Final = 20
NEWCOMER: Final = "events: newcomer"
CLOSING: Final = "events: closing"
"""A key that nothing wakes but the end."""


@dataclass(slots=True, eq=False)
class Listener:
    """One who listens: rendered events, and None when there will be no more."""

    since: int | None
    """The last revision that was heard of before; what came after it is told again, as far as it is remembered."""
    waiting: "asyncio.Queue[bytes | None]" = field(default_factory=lambda: asyncio.Queue(64))
    fresh: bool = True

    def tell(self, events: bytes) -> None:
        """One that does not keep up hears the end, and may come again: its picture is then drawn anew."""
        if self.waiting.qsize() >= self.waiting.maxsize - 1:
            self.end()
        else:
            self.waiting.put_nowait(events)

    def end(self) -> None:
        if not self.waiting.full():
            self.waiting.put_nowait(None)


class Events:
    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.spent_s = 0.0
        """What looking and telling has cost, ever."""
        self._listeners: set[Listener] = set()
        self._epoch = replica.held.epoch
        self._revision = replica.held.revision
        self._nodes: dict[str, dict[str, Any]] = {}
        self._happened = replica.happened_through
        self._applied: dict[int, tuple[int, int, list[str]]] = {}
        self._summary: dict[str, Any] = {}
        self._summary_at = 0.0

    def __len__(self) -> int:
        return len(self._listeners)

    @contextmanager
    def listen(self, since: int | None = None) -> Iterator[Listener]:
        listener = Listener(since)
        self._listeners.add(listener)
        self.replica.progress.wake([NEWCOMER])
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def run(self) -> None:
        """For as long as the server lives; ends, and lets all who listen go, when it stops."""
        progress = self.replica.progress
        while not progress.closed:
            with progress.ticket(NEWCOMER) as newcomer:
                if not self._listeners:
                    await asyncio.wait((newcomer,))
                    continue
                with progress.ticket(PROGRESS) as ticket, progress.ticket(CLOSING) as closing:
                    await until(closing, await self._look())
                    await asyncio.wait((ticket, newcomer), timeout=LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        for listener in self._listeners:
            listener.end()

    async def _look(self) -> float:
        """Look once and tell; how long to rest."""
        spent, began = 0.0, time.perf_counter()
        replica = self.replica
        now = replica.clock.now()
        replica.standings.silent()  # those that fell silent, or are back, are news as well
        changed, replica.standings.changed = replica.standings.changed, set()
        rows: dict[str, dict[str, Any]] = {}
        each = replica.facts(changed)
        while chunk := list(islice(each, CHUNK)):
            rows |= {facts.node: node_wire(replica, facts, standing(facts, now)) for facts in chunk}
            spent += time.perf_counter() - began
            await asyncio.sleep(0)  # others first: a large cloud takes many of these
            began = time.perf_counter()
        self._tell(rows, changed - rows.keys())
        spent += time.perf_counter() - began
        self.spent_s += spent
        return min(max(PAUSE_S, REST * spent), LONGEST_PAUSE_S)

    def _tell(self, rows: dict[str, dict[str, Any]], missing: set[str]) -> None:
        """`rows` of nodes that may look different now; `missing` are no nodes any more."""
        held = self.replica.held
        rewound = held.epoch != self._epoch or held.revision < self._revision
        if rewound:
            self._epoch, self._revision = held.epoch, held.revision
            self._applied = {}
        news = [one for one in self._since(self._revision) if one.revision <= held.revision]
        changed = [row for name, row in rows.items() if self._nodes.get(name) != row]
        gone = [name for name in missing if self._nodes.pop(name, None) is not None]
        self._nodes |= rows
        told = b"".join(
            [
                b"".join(map(_revision, news)),
                _nodes(changed, gone) if changed or gone else b"",
                b"".join(self._progress()),
                b"".join(self._happenings()),
                self._convergence(always=bool(news or changed or gone)),
            ]
        )
        self._revision = held.revision
        hello = _event("hello", {"epoch": held.epoch, "revision": held.revision, "at": self.replica.clock.now()})
        for listener in self._listeners:
            if rewound or listener.fresh:
                missed = self._since(listener.since) if listener.since is not None and not rewound else ()
                every = [self._nodes[name] for name in sorted(self._nodes)]
                listener.tell(
                    hello + b"".join(map(_revision, missed)) + _nodes(every, []) + _event("convergence", self._summary)
                )
                listener.fresh = False
            elif told:
                listener.tell(told)

    def _since(self, revision: int) -> list[Recent]:
        """Ascending, without those that are no longer remembered."""
        found = []
        for number in range(self.replica.held.revision, revision, -1):
            recent = self.replica.recent.get(number)
            if recent is None:
                break
            found.append(recent)
        return found[::-1]

    def _progress(self) -> Iterator[bytes]:
        """Changes that spread further since the last look."""
        now = {
            revision: (*count, self.replica.closed(revision))
            for revision, count in self.replica.spreads.counts().items()
        }
        for revision, count in now.items():
            if self._applied.get(revision) != count:
                spread = self.replica.spreads[revision]
                assert spread is not None
                yield _event("progress", {"revision": revision, **spread.to_wire(), "exceptions": count[2]})
        self._applied = now

    def _happenings(self) -> Iterator[bytes]:
        """What has befallen nodes and addresses since the last look."""
        news = [one for one in self.replica.happened if one.id > self._happened]
        self._happened = self.replica.happened_through
        return (_event("happening", one.to_wire()) for one in news)

    def _convergence(self, *, always: bool) -> bytes:
        """Lag grows by itself, and is told once a second for that; the rest when it changes."""
        held = self.replica.held
        time_now = self.replica.clock.now()
        body = self.replica.standings.cloud(time_now, LAGGARDS).to_wire(held.revision, held.epoch, time_now)
        body["fences"] = [
            {"address": address, "from": withdrawal.node, "since": withdrawal.fence}
            for address, withdrawal in sorted(held.network.fenced.items())
        ]
        body["stale_s"] = stale_whole_seconds(self.replica)
        now = time.monotonic()
        if body == self._summary or not (always or now - self._summary_at >= LOOK_EVERY_S):
            return b""
        self._summary, self._summary_at = body, now
        return _event("convergence", body)


def stale_whole_seconds(replica: Replica) -> int:
    """0 while the replica knows that it is at the head."""
    stale = replica.stale_seconds()
    return int(stale) if stale > 3 else 0


def node_wire(replica: Replica, facts: Facts, found: Standing) -> dict[str, Any]:
    """A node as it is drawn: nothing in it moves with the clock alone."""
    heard = None
    if found.state == "silent":
        heard = replica.heard_at(facts.node) or (facts.told.at if facts.told else None)
    return {
        "node": found.node,
        "zone": found.zone,
        "state": found.state,
        "version": found.version,
        "applied_version": found.applied_version or None,
        "attempted_version": facts.told.attempted if facts.told else None,
        "lag_versions": found.lag_versions,
        "behind_since": facts.pending[0].at if facts.pending else None,
        "reason": found.reason,
        "last_seen": heard,
        "matters": found.matters,
    }


def _revision(recent: Recent) -> bytes:
    body = {
        "revision": recent.revision,
        "at": recent.at,
        "actor": recent.actor,
        "objects": sorted(recent.touched)[:NAMES],
        "operations": len(recent.touched),
        "affected": len(recent.affected),
        "nodes": recent.affected[:NAMES],
        "caused_by": recent.caused_by,
    }
    return b"id: %d\n" % recent.revision + _event("revision", body)


def _nodes(changed: Iterable[dict[str, Any]], gone: list[str]) -> bytes:
    """In several events where they are many: whoever hears them draws in between."""
    each = iter(changed)
    told = [_event("nodes", {"set": list(islice(each, MOST_NODES)), "gone": gone})]
    while more := list(islice(each, MOST_NODES)):
        told.append(_event("nodes", {"set": more, "gone": []}))
    return b"".join(told)


def _event(name: str, body: Mapping[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(body))


async def told_to(listener: Listener, beat_s: float) -> AsyncIterator[bytes | None]:
    """Events as they come; None after each `beat_s` without one. Ends when there will be no more."""
    while True:
        try:
            async with asyncio.timeout(beat_s):
                events = await listener.waiting.get()
        except TimeoutError:
            yield None
            continue
        if events is None:
            return
        yield events
