"""One update of the network, from a request to a revision.

    lock the head ─ fold what this replica lacks ─ recall the idempotency key ─ check If-Match ─ apply and check
      ─ work out which nodes' digests change ─ write rows, change record, head, NOTIFY ─ commit ─ adopt, wake

All of it under the head's lock and in one transaction, which updates that wait at the same time share: revisions are gapless
and in commit order, and what was checked is what is committed. Dying anywhere before the commit leaves nothing; after it,
everything: a client that got no answer asks again with the same idempotency key.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from prometheus_client import Histogram
from sqlalchemy.ext.asyncio import AsyncConnection

from viewserver.compile.derived import Derived
from viewserver.compile.difference import difference
from viewserver.compile.placement import touched_nodes
from viewserver.errors import HeadMoved, InUse, KeyReused, Malformed, NotReady, RequestError, TooWide
from viewserver.follow import Follower
from viewserver.model import fences
from viewserver.model.between import edited
from viewserver.model.blast import NO_LIMITS, Limits, Reach
from viewserver.model.change import Change, NewChange, Recorded
from viewserver.model.ingress import losses
from viewserver.model.network import Network
from viewserver.model.objects import Key
from viewserver.model.updates import Parsed, Refused, apply
from viewserver.store import Unavailable
from viewserver.store.changes import append
from viewserver.store.engine import Database
from viewserver.store.head import Head, lock_head
from viewserver.store.idempotency import recall, remember
from viewserver.store.reports import forget_reports

log = logging.getLogger(__name__)

COMMIT_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Lift:
    """Fences to be lifted; those that are no more are passed over."""

    addresses: tuple[str, ...]


Check = Callable[[Network], Parsed | Lift]
"""What the request asks of the network as it is under the lock; raises what it refuses."""


@dataclass(frozen=True, slots=True)
class Request:
    actor: str
    """How the change record names who asked."""
    operations: Check
    key_scope: str = ""
    """Whose idempotency keys these are: the token's id, since two tokens may have one name."""
    idempotency_key: str | None = None
    body_digest: bytes = b""
    if_match: int | None = None
    caused_by: int | None = None
    """The change that this one completes."""
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class Answer:
    revision: int
    """The revision that the request made, or the head if it changed nothing."""
    epoch: int
    changed: bool
    affected: tuple[str, ...]
    """Nodes whose view it changes."""
    warnings: tuple[dict[str, str], ...] = ()
    """Pointer and message of what the author of an imported document ought to know."""
    concerned: tuple[str, ...] = ()
    """Of an update that changed nothing: the nodes that see what it speaks of."""
    committed_at: str | None = None
    """When that revision was committed, by Postgres's clock (RFC 3339); None where its record is long gone."""
    commit_ms: float = field(default=0.0, compare=False)
    """From the request's turn to the commit."""

    def to_wire(self) -> dict[str, Any]:
        wire = {
            "revision": self.revision,
            "epoch": self.epoch,
            "changed": self.changed,
            "affected_nodes": len(self.affected),
            "affected": list(self.affected),
            "committed_at": self.committed_at,
        }
        return wire | ({"warnings": list(self.warnings)} if self.warnings else {})

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> "Answer":
        lists = {name: tuple(wire.get(name, ())) for name in ("affected", "warnings")}
        return cls(**{name: value for name, value in wire.items() if name != "affected_nodes"} | lists)


MOST_GROUPED: Final = 32
"""Updates in one transaction: it holds the head, which other replicas' writers wait for."""


@dataclass(slots=True, eq=False)
class _Queued:
    request: Request
    answer: "asyncio.Future[Answer]"

    def succeed(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Updates:
    def __init__(self, database: Database, follower: Follower) -> None:
        self.database = database
        self.follower = follower
        self.commit_seconds = Histogram(
            "verge_commit_seconds",
            "From an update's turn to its commit, for updates that made a revision here.",
            registry=None,
            buckets=COMMIT_BUCKETS,
        )
        self._queue: list[_Queued] = []
        """Writers of this replica queue here, not in Postgres, where each would hold a connection."""
        self._committer: asyncio.Task[None] | None = None

    async def commit(self, request: Request) -> Answer:
        """Raises Malformed, InUse, HeadMoved, KeyReused, TooWide; Unavailable when Postgres is; OutcomeUnknown if it vanished
        during the commit."""
        queued = _Queued(request, asyncio.get_running_loop().create_future())
        self._queue.append(queued)
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit_queued(), name="commit")
        try:
            return await queued.answer
        finally:
            if queued in self._queue:  # nobody waits for it any more, and nothing was done
                self._queue.remove(queued)

    async def _commit_queued(self) -> None:
        """While one group is being committed the next one gathers: a lone update waits for nobody, and many share the locking,
        the round trips and the fsync of one transaction."""
        alone = 0
        while self._queue:
            many = 1 if alone else MOST_GROUPED
            alone = max(0, alone - 1)
            group, self._queue = self._queue[:many], self._queue[many:]
            try:
                await self._commit_group(group)
            except Unavailable as error:
                for queued in group:
                    queued.fail(error)
            except Exception as error:
                if len(group) == 1:
                    group[0].fail(error)
                else:
                    self._queue, alone = [*group, *self._queue], len(group)

    async def _commit_group(self, group: "list[_Queued]") -> None:
        """One after the other, each on the network that the one before leaves, in one transaction. Who is refused has written
        nothing. Raises what befalls all of them; then none is in force."""
        replica, began = self.follower.replica, time.monotonic()
        answers: list[tuple[_Queued, Answer]] = []
        steps: list[tuple[Change, Derived]] = []
        async with self.database.begin() as conn:
            head = await lock_head(conn)
            await self.follower.fold_missing(conn, head)
            base = replica.held
            if (base.epoch, base.revision) != (head.epoch, head.revision):
                raise NotReady("this replica cannot reach the head of the change records; try again")
            derived = base.derived
            for queued in group:
                try:
                    answer, step = await self._write(conn, head, derived, steps, queued.request)
                except RequestError as error:
                    queued.fail(error)
                    continue
                answers.append((queued, answer))
                if step is not None:
                    steps.append(step)
                    self.follower.expected[step[0].revision] = step
                    head, derived = Head(head.epoch, step[0].revision), step[1]
        took = (time.monotonic() - began) * 1000
        for change, after in steps:
            if replica.held.revision == change.revision - 1 and replica.held.epoch == change.epoch:
                replica.adopt(change, after)
            replica.fresh_at = time.monotonic()
            self.commit_seconds.observe(took / 1000)
            log.info(
                "committed revision=%d actor=%s operations=%d affected=%d ms=%.1f",
                change.revision,
                change.actor,
                len(change.operations),
                len(change.affected),
                took,
            )
        self.follower.expected.clear()
        for queued, answer in answers:
            queued.succeed(replace(answer, commit_ms=took))

    async def _write(
        self,
        conn: AsyncConnection,
        head: Head,
        base: Derived,
        steps: "list[tuple[Change, Derived]]",
        request: Request,
    ) -> "tuple[Answer, tuple[Change, Derived] | None]":
        """One request on `base`, the network at `head`, to which `steps` have led within this transaction. Raises
        RequestError before it writes anything."""
        replica = self.follower.replica
        if request.idempotency_key is not None:
            known = await recall(conn, request.key_scope, request.idempotency_key)
            if known is not None:
                if known.body_digest != request.body_digest:
                    raise KeyReused("this Idempotency-Key came with another request before")
                return Answer.from_wire(known.answer), None
        if request.if_match is not None and request.if_match != head.revision:
            raise HeadMoved(f"the head is at revision {head.revision}, not {request.if_match}")
        if request.limits == NO_LIMITS:
            asked = request.operations(base.network)
            outcome = evaluate(base, asked, head.revision + 1, replica.applied)
        else:  # of a large cloud seconds, in which views are served and reports taken
            asked, outcome = await asyncio.to_thread(_within_limits, request, base, head.revision + 1, replica.applied)
        change, warnings = None, _warnings(asked)
        at = steps[-1][0].at.isoformat() if steps else replica.committed_at(head.revision)
        answer = Answer(
            head.revision,
            head.epoch,
            changed=False,
            affected=(),
            warnings=warnings,
            concerned=outcome.concerned,
            committed_at=at,
        )
        if outcome.changed:
            record = NewChange(request.actor, outcome.changed, outcome.affected, request.caused_by)
            change = await append(conn, head, record)
            removed = [item.id for item in outcome.changed if item.kind == "node" and item.after is None]
            if removed:
                await forget_reports(conn, removed)
            answer = replace(
                answer,
                revision=change.revision,
                changed=True,
                affected=outcome.affected,
                committed_at=change.at.isoformat(),
            )
        if request.idempotency_key is not None:
            await remember(conn, request.key_scope, request.idempotency_key, request.body_digest, answer.to_wire())
        return answer, None if change is None else (change, outcome.derived)

    def dry_run(self, request: Request) -> dict[str, Any]:
        """Everything is checked and nothing kept: what `commit` would answer, and how far it reaches. May be called in
        a thread: what it looks at does not change.

        Raises Malformed, InUse, HeadMoved.
        """
        held = self.follower.replica.held
        if request.if_match is not None and request.if_match != held.revision:
            raise HeadMoved(f"the head is at revision {held.revision}, not {request.if_match}")
        parsed = request.operations(held.network)
        outcome = evaluate(held.derived, parsed, held.revision + 1, self.follower.replica.applied)
        warnings = _warnings(parsed)
        found = reach(held.derived, outcome)
        return {
            "revision": held.revision,
            "epoch": held.epoch,
            "changed": bool(outcome.changed),
            "affected_nodes": len(outcome.affected),
            "affected": list(outcome.affected),
            "dry_run": True,
            **found.to_wire(),
            "exceeded": request.limits.exceeded(found),
            "objects": [edited(item).to_wire() for item in outcome.changed],
            "views": {node: difference(held.derived, outcome.derived, node) for node in outcome.affected},
            **({"warnings": list(warnings)} if warnings else {}),
        }


def _warnings(asked: Parsed | Lift) -> tuple[dict[str, str], ...]:
    return tuple(warning.to_wire() for warning in asked.warnings) if isinstance(asked, Parsed) else ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What operations make of a network, and which nodes' views they change."""

    changed: tuple[Recorded, ...]
    """The cloud's objects, and the withdrawals that follow from them."""
    derived: Derived
    affected: tuple[str, ...]
    concerned: tuple[str, ...] = ()
    """Where nothing changed: the nodes that see the objects named."""


def _within_limits(
    request: Request, base: Derived, revision: int, applied: fences.Applied
) -> tuple[Parsed | Lift, Outcome]:
    """Raises Malformed, InUse, TooWide."""
    asked = request.operations(base.network)
    outcome = evaluate(base, asked, revision, applied)
    too_wide = request.limits.exceeded(reach(base, outcome))
    if too_wide:
        raise TooWide("; ".join(too_wide))
    return asked, outcome


def reach(base: Derived, outcome: Outcome) -> Reach:
    """How far it goes, of how much there is."""
    before, after = base.network, outcome.derived.network
    keys: list[Key] = [(item.kind, item.id) for item in outcome.changed]  # type: ignore[misc]
    placed = sum(len(found) for found in before.at_node.values())
    return Reach(len(outcome.affected), len(base.digests), placed, losses(before, after, keys))


def evaluate(base: Derived, parsed: Parsed | Lift, revision: int, applied: fences.Applied) -> Outcome:
    """`revision` is the one that the change would make. Raises Malformed, InUse."""
    before = base.network
    if isinstance(parsed, Lift):
        network = fences.granted(before, parsed.addresses)
        changed = fences.differences(before, network, parsed.addresses)
    else:
        result = apply(before, parsed)
        if isinstance(result, Refused):
            raise (InUse if all(fault.in_use for fault in result.faults) else Malformed)(result.faults)
        network = fences.consequences(before, result.network, result.changed, revision, applied)
        addresses = fences.moved(before, network, result.changed)
        changed = [*result.changed, *fences.differences(before, network, addresses)]
        if not changed:
            named: list[Key] = [(one.kind, one.id) for one in parsed.operations]
            return Outcome((), base, (), tuple(sorted(touched_nodes(before, before, named))))
    keys: list[Key] = [(item.kind, item.id) for item in changed]  # type: ignore[misc]
    derived, affected = base.advance(network, keys)
    return Outcome(tuple(changed), derived, affected)
