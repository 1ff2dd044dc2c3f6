"""One request for a node's view, held open until the view moves: what is done with it, whoever carries it.

    begin ─ who asks? ─ is this replica as far as the node has seen? ─ take in Verge-Applied ─ look
                                  └─ look again in 20 ms                                        │
            answered ◀── newer: 226, 200 ◀──────────────────────────────────────────────────────┤
                     ◀── nothing newer and no time left: 304 ◀──────────────────────────────────┤
                                                            parked ◀── nothing newer: wait ─────┘
                                                              └── woken ─▶ its turn ─▶ look

Ten thousand of these are parked at any time, so a poll is one object without a task, a future or a copy of its request. Those
that a change has woken are answered in slices, between which the loop reads what came in meanwhile.
"""

import asyncio
import random
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qs

from verge.contract.delta import IM
from verge.contract.etag import At, ETag
from verge.contract.report import Report
from viewserver.api import problems
from viewserver.api.context import Server
from viewserver.errors import Malformed, NotReady, RequestError, UnknownObject
from viewserver.model.faults import Fault
from viewserver.replica import Replica
from viewserver.waiting import until

CATCH_UP_S: Final = 5.0
LOOK_AGAIN_S: Final = 0.02
SLICE_S: Final = 0.01
"""For so long woken polls are answered without a look at what else there is to do."""
PATIENCE_S: Final = 1.0
_PREFER_WAIT = re.compile(rb"(?:^|[,;\s])wait\s*=\s*\"?(\d+(?:\.\d+)?)")

Headers = Mapping[bytes, bytes]
"""Of the request: names in lower case."""
Reply = Callable[[int, bytes, bytes], object]
"""Takes status, the lines of the head without the status line, and the body."""


class Polls:
    """The polls of one server."""

    def __init__(self) -> None:
        self.answers: dict[int, int] = {}
        """How many answers of each status were given: tests assert who was not woken."""
        self._woken: deque[Poll] = deque()
        self._behind: set[asyncio.Future[None]] = set()
        """Those who let woken polls go first."""
        self._turn: asyncio.Handle | None = None

    def begin(self, server: Server, node: str, headers: Headers, query: bytes, reply: Reply) -> "Poll":
        """It replies at once or when there is something to say, unless it is told that the client is `gone`."""
        poll = Poll(self, server, node, reply)
        poll.attempt(lambda: poll.begin(headers, query))
        return poll

    def woken(self, poll: "Poll") -> None:
        self._woken.append(poll)
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._answer)

    def _answer(self) -> None:
        self._turn = None
        end = time.monotonic() + SLICE_S
        while self._woken:
            poll = self._woken.popleft()
            if not poll.over:
                poll.attempt(poll.look)
            if time.monotonic() >= end and self._woken:
                self._turn = asyncio.get_running_loop().call_soon(self._answer)
                return
        for waiting in self._behind:
            if not waiting.done():
                waiting.set_result(None)

    async def go_first(self) -> None:
        """Wait until those that are woken now have been answered, or a moment at the most: a change is to be known everywhere
        before the first who have it are heard of."""
        if not self._woken:
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._behind.add(waiting)
        try:
            await until(waiting, PATIENCE_S)
        finally:
            self._behind.discard(waiting)


class Poll:
    __slots__ = (
        "_deadline",
        "_held",
        "_is_agent",
        "_node",
        "_polls",
        "_reply",
        "_server",
        "_timer",
        "_wants_delta",
        "over",
    )

    def __init__(self, polls: Polls, server: Server, node: str, reply: Reply) -> None:
        self._polls = polls
        self._server = server
        self._node = node
        self._reply = reply
        self._timer: asyncio.TimerHandle | None = None
        self._is_agent = False
        self.over = False
        """It was answered, or nobody is there to be answered."""

    def begin(self, headers: Headers, query: bytes) -> None:
        """Raises RequestError."""
        replica = self._server.replica
        caller = self._server.credentials.caller_of(headers.get(b"authorization"))
        caller.may("node", "cloud")
        caller.may_speak_for(self._node)
        self._held = ETag.list_of(headers.get(b"if-none-match", b"").decode("latin-1"))
        self._wants_delta = b"verge-delta" in headers.get(b"a-im", b"")
        self._deadline = time.monotonic() + _wait(headers, query, replica.settings.max_wait_s)
        seen, applied = _seen(headers), headers.get(b"verge-applied")
        if caller.role == "node":
            self._is_agent = True
            replica.opened(self._node)
        self._catch_up(seen, applied, time.monotonic() + CATCH_UP_S)

    def _catch_up(self, seen: At | None, applied: bytes | None, until: float) -> None:
        """A node never goes back: a replica behind the revision it has seen waits until it has caught up. Across epochs
        revisions do not compare. Raises NotReady, Contradiction, Malformed."""
        held = self._server.replica.held
        if seen is not None and seen.epoch == held.epoch and seen.revision > held.revision:
            if time.monotonic() >= until:
                raise NotReady(f"this replica is at {held.at}, behind {seen}")
            self._timer = asyncio.get_running_loop().call_later(
                LOOK_AGAIN_S, self.attempt, lambda: self._catch_up(seen, applied, until)
            )
            return
        self._timer = None
        if applied is not None and self._is_agent:
            _take_report(self._server, self._node, applied.decode("latin-1"))
        self.look()

    def look(self) -> None:
        """Answer if there is something to say, else wait. Raises UnknownObject."""
        replica, node = self._server.replica, self._node
        etag = replica.held.etag(node)
        if etag is None:
            raise UnknownObject(f"node {node} does not exist")
        if etag not in self._held:
            self._answer(*_newer(replica, node, self._held if self._wants_delta else []))
            if self._is_agent:
                self._server.reports.answered(node, etag)
        elif replica.views.closed or time.monotonic() >= self._deadline:
            self._answer(304, _head(replica, etag), b"")
        else:
            replica.views.add(node, self._wake)
            if self._timer is None:
                left = self._deadline - time.monotonic()
                self._timer = asyncio.get_running_loop().call_later(left, self._late)

    def _wake(self) -> None:
        self._polls.woken(self)

    def _late(self) -> None:
        """Nothing has moved; by its own clock the loop may be a little early."""
        self._server.replica.views.remove(self._node, self._wake)
        self._deadline = 0.0
        self.attempt(self.look)

    def attempt(self, step: Callable[[], None]) -> None:
        """Do this, and answer what is wrong."""
        try:
            step()
        except RequestError as error:
            found = problems.of(error)
            assert found is not None
            status, headers, body = found
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            self._answer(status, lines.encode("latin-1"), body)

    def _answer(self, status: int, head: bytes, body: bytes) -> None:
        self._end()
        answers = self._polls.answers
        answers[status] = answers.get(status, 0) + 1
        self._reply(status, head, body)

    def gone(self) -> None:
        """The client closed the connection."""
        if not self.over:
            self._server.replica.views.remove(self._node, self._wake)
            self._end()

    def _end(self) -> None:
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_agent:
            self._server.replica.closed_by(self._node)


def _newer(replica: Replica, node: str, bases: list[ETag]) -> tuple[int, bytes, bytes]:
    """The delta from a base that the node holds, or the whole view; never a gap."""
    found = replica.delta(node, bases) if bases else None
    if found is not None:
        base, etag, body = found
        return (
            226,
            b"%bim: %b\r\ndelta-base: %b\r\n" % (_head(replica, etag), IM.encode(), str(base).encode()) + _JSON,
            body,
        )
    rendered = replica.rendered(node)
    if rendered is None:
        raise UnknownObject(f"node {node} does not exist")
    etag, body = rendered
    return 200, _head(replica, etag) + _JSON, body


_JSON: Final = b"content-type: application/json\r\n"


def _head(replica: Replica, etag: ETag) -> bytes:
    stale = "".join(f"{name}: {value}\r\n" for name, value in replica.stale_header().items())
    return f"etag: {etag}\r\nverge-revision: {replica.held.at}\r\ncache-control: no-cache\r\n{stale}".encode()


def _wait(headers: Headers, query: bytes, most: float) -> float:
    """Seconds, from `Prefer: wait=30` or `?wait=30`; capped, and shortened a little at random so that agents that came
    together do not go on coming together. Raises Malformed for a query that is no number."""
    found = _PREFER_WAIT.search(headers.get(b"prefer", b""))
    asked = found[1].decode() if found else None
    if query:
        for text in parse_qs(query.decode("latin-1")).get("wait", ()):
            asked = text
    if asked is None:
        return 0.0
    try:
        seconds = float(asked)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise Malformed((Fault(("query", "wait"), "must be a number of seconds"),))
    return min(seconds, most) * random.uniform(0.95, 1.0)  # noqa: S311 - jitter


def _seen(headers: Headers) -> At | None:
    """The revision that the node has seen. Raises Malformed."""
    text = headers.get(b"verge-revision")
    if text is None:
        return None
    try:
        return At.parse(text.decode("latin-1"))
    except ValueError as wrong:
        raise Malformed((Fault(("header", "verge-revision"), str(wrong)),)) from wrong


def _take_report(server: Server, node: str, applied: str) -> None:
    """`Verge-Applied: <etag>` reports plain success with the next request. Raises Contradiction, Malformed."""
    try:
        etag = ETag.parse(applied)
    except ValueError as wrong:
        raise Malformed((Fault(("header", "verge-applied"), str(wrong)),)) from wrong
    told = server.replica.told.get(node)
    report = Report(applied=etag, state="applied", instances=dict(told.instances) if told else {})
    try:
        server.reports.check(node, report)
    except UnknownObject:
        return
    if told is not None and (told.epoch, told.applied) == (etag.epoch, etag.version) and told.state != "rejected":
        return  # nothing new; and what a report said of this version beside, a header does not take back
    server.reports.submit(node, report)
