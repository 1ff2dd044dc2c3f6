"""The agent's side of the protocol with the view server, as a state machine. Pure: time and dice arrive as arguments.

    next_view_request ──▶ GET view ──▶ answered ──▶ Offered   a newer view, checked: realise it, then ask again
            ▲                              │──▶ Current   nothing newer: ask again (after a pause, if told so)
            └──────────────────────────────┴──▶ Retry     something is wrong: ask again after the delay

    enforced ──▶ next_report ──▶ PUT report ──▶ report_answered ──▶ None, or the delay until the next attempt

One view request is open at a time, and none while a view is being realised: the request that follows carries
`Verge-Applied`, so the server learns of plain success on the route that it must serve anyway, with the least delay, and
answers with whatever is newest by then. The report with timings and readiness goes out beside it on its own connection;
only the newest report matters, so an unsent older one is replaced.

Held is the newest view that was received whole and found to be what its ETag says. It never moves back: an answer with an
older (epoch, version) is the mistake of a replica that is behind, and is refused whoever sends it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import orjson

from verge.contract.etag import At, ETag
from verge.contract.report import Failure, Readiness, Report, State
from verge.contract.view import InstanceId, View, ViewInvalid

WAIT_S: Final = 30
"""How long the server is asked to hold a request when nothing is newer."""
_BACKOFF_S: Final = (0.1, 5.0)
"""Bound of the first delay and of the longest; the dice choose within the bound (full jitter)."""
_HELD_AT_LEAST_S: Final = 1.0
"""A 304 sooner than this was not held by the server; asking again at once would be a busy loop."""

Standing = Literal["starting", "following", "unreachable", "unauthorized", "forbidden", "removed", "faulty"]
"""How the agent stands with the server. `removed`: the server knows no such node; the view is kept. `faulty`: the server
answers, but not with something this agent can accept."""

_REFUSALS: Final[Mapping[int, Standing]] = {401: "unauthorized", 403: "forbidden", 404: "removed"}
_HOPELESS: Final = frozenset({400, 413, 415, 422})
"""A report answered so is not sent again: the next one will differ."""


class Unreachable(Exception):
    """No answer came to a request: the text says why, in a few words."""


@dataclass(frozen=True, slots=True)
class ViewRequest:
    server: str
    bases: tuple[ETag, ...]
    """For If-None-Match; empty asks for the whole view at once."""
    wait_s: int
    seen: At | None
    applied: ETag | None
    """Plain success to be told in passing."""

    def headers(self) -> dict[str, str]:
        headers = {}
        if self.bases:
            headers["If-None-Match"] = ", ".join(str(base) for base in self.bases)
        if self.wait_s:
            headers["Prefer"] = f"wait={self.wait_s}"
        if self.seen:
            headers["Verge-Revision"] = str(self.seen)
        if self.applied:
            headers["Verge-Applied"] = str(self.applied)
        return headers


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a view request, with its body read."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes = b""
    content: View | ViewInvalid | None = None
    """Of a 200: what the body says."""
    detail: str = ""
    """Of a refusal: the problem in the server's words."""
    fetch_ms: float = 0.0
    """From the answer's first byte to its content."""


@dataclass(frozen=True, slots=True)
class Offered:
    etag: ETag
    view: View
    body: bytes
    fetch_ms: float


@dataclass(frozen=True, slots=True)
class Current:
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Retry:
    delay_s: float
    reason: str


Step = Offered | Current | Retry


@dataclass(frozen=True, slots=True)
class ReportRequest:
    server: str
    report: Report


@dataclass(frozen=True, slots=True)
class Enforced:
    """What came of a pass, as far as the server is told."""

    applied: ETag | None
    """In force now; None: no view that the server knows."""
    attempted: ETag | None
    state: State
    failures: tuple[Failure, ...] = ()
    instances: Mapping[InstanceId, Readiness] = field(default_factory=dict)
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    kernel_digest: str | None = None
    sessions_cut: int = 0


class Session:
    def __init__(
        self,
        *,
        node: str,
        servers: tuple[str, ...],
        agent_version: str,
        boot_id: str,
        held: ETag | None = None,
        seen: At | None = None,
    ) -> None:
        self.node = node
        self.held = held
        self.seen = seen
        self.refused: ETag | None = None
        """A view newer than the one held, whose content is not what its ETag says (asked for twice)."""
        self.standing: Standing = "starting"
        self.problem: str | None = None
        self.answered_at: float | None = None
        """When the server last confirmed or moved the view, by the caller's monotonic clock."""
        self.stale_s: float | None = None
        """The server's own word on how old its knowledge is (`Verge-Stale`)."""
        self._servers = servers
        self._turn = 0
        self._agent = (agent_version, boot_id)
        self._sequence = 0
        self._failures = 0
        self._report_failures = 0
        self._whole = False
        self._suspect: ETag | None = None
        self._asked: tuple[ViewRequest, float] | None = None
        self._unsaid: ETag | None = None
        self._enforced = Enforced(None, None, "applied")
        self._pending: Report | None = None

    @property
    def server(self) -> str:
        return self._servers[self._turn % len(self._servers)]

    # Views

    def next_view_request(self, now: float) -> ViewRequest:
        bases = () if self._whole else tuple(etag for etag in (self.held, self.refused) if etag)
        request = ViewRequest(self.server, bases, WAIT_S if bases else 0, self.seen, self._unsaid)
        self._asked = (request, now)
        return request

    def answered(self, answer: Answer, now: float, dice: float) -> Step:
        """`dice` is even in [0, 1)."""
        assert self._asked is not None, "an answer follows a request"
        request, asked_at = self._asked
        match answer.status:
            case 200 | 304:
                if request.applied and request.applied == self._unsaid:
                    self._unsaid = None
                step = self._whole_view(answer, now, dice) if answer.status == 200 else self._unchanged(answer, now)
                if isinstance(step, Current) and now - asked_at < _HELD_AT_LEAST_S:
                    return Current(pause_s=dice * _HELD_AT_LEAST_S)
                return step or self._fail("faulty", "304 without a view to compare with", dice, whole=True)
            case status if status in _REFUSALS:
                return self._fail(_REFUSALS[status], _says(answer), dice)
            case 409:
                # Most likely what was said in passing is unknown to this server, as when it was restored from a copy.
                # The report goes on saying it; following must not depend on it.
                self._unsaid = None
                return self._fail("faulty", _says(answer), dice)
            case status if status >= 500 or status == 429:
                return self._fail("unreachable", _says(answer), dice)
            case _:
                return self._fail("faulty", _says(answer), dice, whole=True)

    def unreachable(self, reason: str, dice: float) -> Retry:
        """No answer came: connection refused or lost, or a time limit passed."""
        return self._fail("unreachable", reason, dice)

    def _whole_view(self, answer: Answer, now: float, dice: float) -> Step:
        try:
            etag = ETag.parse(answer.headers.get("etag", ""))
        except ValueError as wrong:
            return self._fail("faulty", str(wrong), dice, whole=True)
        if self.held and (etag.epoch, etag.version) < (self.held.epoch, self.held.version):
            return self._fail("faulty", f"{self.server} offers {etag}, older than {self.held} which is held", dice)
        if self.held and (etag.epoch, etag.version) == (self.held.epoch, self.held.version) and etag != self.held:
            return self._fail("faulty", f"{self.server} offers {etag} under the version of {self.held}", dice)
        fault = self._fault_in(etag, answer)
        if fault:
            return self._distrust(etag, fault, dice)
        assert isinstance(answer.content, View)
        self._follow(answer, now)
        self._whole, self._suspect, self.refused = False, None, None
        if etag == self.held:
            return Current()
        self.held = etag
        return Offered(etag, answer.content, answer.body, answer.fetch_ms)

    def _fault_in(self, etag: ETag, answer: Answer) -> Failure | None:
        content = answer.content
        if not isinstance(content, View):
            return Failure(
                f"view{content.pointer if content else ''}", "parse", content.message if content else "empty"
            )
        if content.node != self.node:
            return Failure("view/node", "check", f"this is the view of {content.node}, not of {self.node}")
        if content.digest != etag.digest:
            return Failure("view", "digest", f"the content's digest is {content.digest}, its ETag is {etag}")
        return None

    def _distrust(self, etag: ETag, wrong: Failure, dice: float) -> Retry:
        """Once may be an accident on the way: ask for the whole view. Twice is what the server means: report it, keep
        what is held and wait for something newer than either (`refused` goes into If-None-Match beside `held`)."""
        if etag == self._suspect:
            self.refused, self._whole = etag, False
            self._report(
                Enforced(self._enforced.applied, etag, "rejected", (wrong,), self._enforced.instances, {"fetch": 0.0})
            )
        else:
            self._suspect, self._whole = etag, True
        return self._fail("faulty", f"{etag} refused: {wrong.object}: {wrong.reason}", dice, whole=self._whole)

    def _unchanged(self, answer: Answer, now: float) -> Current | None:
        request = self._asked[0] if self._asked else None
        if not request or not request.bases:
            return None
        try:
            named: ETag | None = ETag.parse(answer.headers.get("etag", ""))
        except ValueError:
            named = None  # a proxy may drop it; what was asked about is then what is confirmed
        if named and named == self.refused:
            # Nothing newer than the refused view. Forget the refusal, not the suspicion: it is fetched once more, so a
            # fault that was mended on the way heals without a new version.
            self.refused = None
            return Current()
        self._follow(answer, now)
        return Current()

    def _follow(self, answer: Answer, now: float) -> None:
        self.standing, self.problem, self.answered_at, self._failures = "following", None, now, 0
        try:
            at = At.parse(answer.headers.get("verge-revision", ""))
        except ValueError:
            at = None
        if at and (self.seen is None or at > self.seen):
            self.seen = at
        stale = answer.headers.get("verge-stale")
        self.stale_s = float(stale) if stale and stale.replace(".", "", 1).isdigit() else None

    def _fail(self, standing: Standing, reason: str, dice: float, *, whole: bool = False) -> Retry:
        """The next server's turn, after a delay that grows with the failures in a row."""
        self._failures += 1
        self._turn += 1
        self._whole = self._whole or whole
        self.standing, self.problem = standing, reason
        return Retry(_delay(self._failures, dice), reason)

    # Reports

    def enforced(self, came: Enforced) -> None:
        """A pass ended, or readiness changed: this is the truth to be told from now on."""
        self._enforced = came
        self._unsaid = came.applied if came.state == "applied" else None
        self._report(came)

    def _report(self, came: Enforced) -> None:
        self._sequence += 1
        self._report_failures = 0
        if came.state != "applied":
            self._unsaid = None
        self._pending = Report(
            applied=came.applied,
            state=came.state,
            attempted=came.attempted,
            failures=came.failures,
            instances={str(name): readiness for name, readiness in came.instances.items()},
            sequence=self._sequence,
            agent_version=self._agent[0],
            boot_id=self._agent[1],
            timings_ms=dict(came.timings_ms),
            kernel_digest=came.kernel_digest,
            sessions_cut=came.sessions_cut,
        )

    def next_report(self) -> ReportRequest | None:
        """The newest untold report; the caller sends one at a time."""
        return ReportRequest(self.server, self._pending) if self._pending else None

    def report_answered(self, sent: Report, status: int | None, dice: float) -> float | None:
        """Status None: no answer came. Returns the delay until it is to be sent again; None: it is done with."""
        if status is not None and (200 <= status < 300 or status in _HOPELESS):
            self._report_failures = 0
            if sent is self._pending:
                self._pending = None
                if status < 300:
                    self._unsaid = None
            return None
        self._report_failures += 1
        return _delay(self._report_failures, dice)


def read_view(body: bytes) -> View | ViewInvalid:
    """What the bytes of a whole view say."""
    try:
        return View.parse(orjson.loads(body))
    except orjson.JSONDecodeError as wrong:
        return ViewInvalid("", f"this is not JSON: {wrong}")
    except ViewInvalid as wrong:
        return wrong


def _says(answer: Answer) -> str:
    return f"{answer.status} {answer.detail}".rstrip()


def _delay(failures: int, dice: float) -> float:
    least, most = _BACKOFF_S
    return dice * min(most, least * 2.0 ** min(failures - 1, 16))
