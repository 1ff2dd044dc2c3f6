"""The half of the session that follows: which view is asked for, and what is accepted as one.

Held is the newest view that was received, whole or as a delta from the one held before, and found to be what its ETag
says. It never moves back: an answer with an older (epoch, version) is the mistake of a replica that is behind, and is
refused whoever sends it.

A delta saves bytes and nothing else. One that is not based on the view held, cannot be read or leads to another digest is
forgotten, and the whole view is asked for; if that is wrong too, it is what the server means, and is reported.
"""

from collections.abc import Mapping
from typing import Final

from nodeagent.session.delay import delay
from nodeagent.session.messages import (
    WAIT_S,
    Answer,
    Current,
    Enforced,
    Offered,
    ReportRequest,
    Retry,
    Standing,
    Step,
    ViewRequest,
)
from nodeagent.session.reporting import Reporting
from verge.contract.delta import IM
from verge.contract.etag import At, ETag
from verge.contract.report import Failure, Report
from verge.contract.view import View

_LONGEST_WAIT_S: Final = 30.0
"""Whatever a server asks for."""
_HELD_AT_LEAST_S: Final = 1.0
"""A 304 sooner than this was not held by the server; asking again at once would be a busy loop."""
_HOME_AFTER_S: Final = 300.0
"""After so long, and up to twice as long, an agent that fell back to another server tries the one of its choice again."""
_REFUSALS: Final[Mapping[int, Standing]] = {401: "unauthorized", 403: "forbidden", 404: "removed"}


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
        view: View | None = None,
        deltas: bool = True,
    ) -> None:
        """`view` is the one held, if its content is at hand; without `deltas` only whole views are asked for."""
        self.node = node
        self.held = held
        self.view = view
        self.seen = seen
        self.refused: ETag | None = None
        """A view newer than the one held, whose content is not what its ETag says (asked for twice)."""
        self.standing: Standing = "starting"
        self.problem: str | None = None
        self.answered_at: float | None = None
        """When the server last confirmed or moved the view, by the caller's monotonic clock."""
        self.stale_s: float | None = None
        """The server's own word on how old its knowledge is (`Verge-Stale`)."""
        self.reporting = Reporting(agent_version=agent_version, boot_id=boot_id)
        self._servers = servers
        self._deltas = deltas
        self._turn = 0
        """The first is the server of choice."""
        self._home_at: float | None = None
        self._failures = 0
        self._whole = False
        self._suspect: ETag | None = None
        self._asked: tuple[ViewRequest, float] | None = None

    @property
    def server(self) -> str:
        return self._servers[self._turn % len(self._servers)]

    # Telling

    def enforced(self, came: Enforced) -> None:
        """A pass ended, or readiness changed: this is the truth to be told from now on."""
        self.reporting.enforced(came)

    def next_report(self) -> ReportRequest | None:
        """The newest untold report; the caller sends one at a time."""
        pending = self.reporting.pending
        return ReportRequest(self.server, pending) if pending else None

    def report_answered(self, sent: Report, status: int | None, dice: float) -> float | None:
        """Status None: no answer came. Returns the delay until it is to be sent again; None: it is done with."""
        return self.reporting.answered(sent, status, dice)

    # Following

    def next_view_request(self, now: float) -> ViewRequest:
        bases = () if self._whole else tuple(etag for etag in (self.held, self.refused) if etag)
        # beside a refused view, which cannot be the base of anything, the server might choose that one
        base = self.view if self._deltas and bases == (self.held,) else None
        request = ViewRequest(self.server, bases, WAIT_S if bases else 0, self.seen, self.reporting.unsaid, base=base)
        self._asked = (request, now)
        return request

    def answered(self, answer: Answer, now: float, dice: float) -> Step:
        """`dice` is even in [0, 1)."""
        assert self._asked is not None, "an answer follows a request"
        request, asked_at = self._asked
        match answer.status:
            case 200 | 226 | 304:
                self.reporting.heard(request.applied)
                if answer.status == 304:
                    step = self._unchanged(request, answer, now, dice)
                else:
                    step = self._newer(request, answer, now, dice)
                if not isinstance(step, Retry):
                    self._choose(answer, now, dice)
                if isinstance(step, Current) and now - asked_at < _HELD_AT_LEAST_S:
                    return Current(pause_s=dice * _HELD_AT_LEAST_S)
                return step
            case status if status in _REFUSALS:
                return self._fail(_REFUSALS[status], _says(answer), dice)
            case 409:
                # Most likely what was said in passing is unknown to this server, as when it was restored from a copy.
                # The report goes on saying it; following must not depend on it.
                self.reporting.unsaid = None
                return self._fail("faulty", _says(answer), dice)
            case status if status >= 500 or status == 429:
                retry = self._fail("unreachable", _says(answer), dice)
                return Retry(max(retry.delay_s, self._asked_to_wait(answer, dice)), retry.reason)
            case _:
                return self._fail("faulty", _says(answer), dice, whole=True)

    def unreachable(self, reason: str, dice: float) -> Retry:
        """No answer came: connection refused or lost, or a time limit passed."""
        return self._fail("unreachable", reason, dice)

    def _newer(self, request: ViewRequest, answer: Answer, now: float, dice: float) -> Step:
        """A whole view, or a delta."""
        try:
            etag = ETag.parse(answer.headers.get("etag", ""))
        except ValueError as wrong:
            return self._fail("faulty", str(wrong), dice, whole=True)
        if self.held and (etag.epoch, etag.version) < (self.held.epoch, self.held.version):
            return self._fail("faulty", f"{self.server} offers {etag}, older than {self.held} which is held", dice)
        if self.held and (etag.epoch, etag.version) == (self.held.epoch, self.held.version) and etag != self.held:
            return self._fail("faulty", f"{self.server} offers {etag} under the version of {self.held}", dice)
        is_delta = answer.status == 226
        if is_delta and etag == self.held:  # said again: nothing of it is news
            self._follow(answer, now)
            return Current()
        misled = self._misled(request, answer) if is_delta else None
        if misled:
            return self._fail("faulty", misled, dice, whole=True)
        fault = self._fault_in(etag, answer)
        if fault:
            return self._distrust(etag, fault, dice, is_delta=is_delta)
        assert isinstance(answer.content, View)
        self._follow(answer, now)
        self._whole, self._suspect, self.refused = False, None, None
        if etag == self.held:
            return Current()
        base, self.held, self.view = self.held if is_delta else None, etag, answer.content
        return Offered(etag, answer.content, answer.body, answer.fetch_ms, base)

    def _misled(self, request: ViewRequest, answer: Answer) -> str | None:
        """Why this is no delta from the view held, if it is none."""
        headers = answer.headers
        if request.base is None or self.view is not request.base:
            return f"{self.server} answers with a delta that was not asked for"
        if headers.get("im", IM).strip() != IM:
            return f"{self.server} answers with {headers['im']!r}, which was not asked for"
        try:
            base = ETag.parse(headers.get("delta-base", ""))
        except ValueError as wrong:
            return f"Delta-Base: {wrong}"
        return None if base == self.held else f"{self.server} sends a delta from {base}; {self.held} is held"

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

    def _distrust(self, etag: ETag, wrong: Failure, dice: float, *, is_delta: bool) -> Retry:
        """Once may be an accident on the way, or a delta gone wrong: ask for the whole view. A whole view that is wrong
        after that is what the server means: report it, keep what is held and wait for something newer than either
        (`refused` goes into If-None-Match beside `held`)."""
        if etag == self._suspect and not is_delta:
            self.refused, self._whole = etag, False
            self.reporting.refused(etag, wrong)
        else:
            self._suspect, self._whole = etag, True
        return self._fail("faulty", f"{etag} refused: {wrong.object}: {wrong.reason}", dice, whole=self._whole)

    def _unchanged(self, request: ViewRequest, answer: Answer, now: float, dice: float) -> Step:
        if not request.bases:
            return self._fail("faulty", "304 without a view to compare with", dice, whole=True)
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

    def _choose(self, answer: Answer, now: float, dice: float) -> None:
        """The server for the next request. One that closes the connection takes its leave: the next is asked, before it
        refuses. Away from the one of choice, that is tried again some time, each agent at another moment, so that a
        server that was restarted gets its share back."""
        if answer.headers.get("connection", "").lower() == "close":
            self._turn += 1
        away = self._turn % len(self._servers)
        if not away:
            self._home_at = None
        elif self._home_at is None:
            self._home_at = now + _HOME_AFTER_S * (1 + dice)
        elif now >= self._home_at:
            self._turn, self._home_at = 0, None

    def _asked_to_wait(self, answer: Answer, dice: float) -> float:
        """Seconds, by `Retry-After`; 0 where another server can be asked instead."""
        asked = answer.headers.get("retry-after", "")
        if len(self._servers) > 1 or not asked.isdecimal():
            return 0.0
        return min(_LONGEST_WAIT_S, float(asked)) * (0.5 + 0.5 * dice)

    def _fail(self, standing: Standing, reason: str, dice: float, *, whole: bool = False) -> Retry:
        """The next server's turn, after a delay that grows with the failures in a row."""
        self._failures += 1
        self._turn += 1
        self._whole = self._whole or whole
        self.standing, self.problem = standing, reason
        return Retry(delay(self._failures, dice), reason)


def _says(answer: Answer) -> str:
    return f"{answer.status} {answer.detail}".rstrip()
