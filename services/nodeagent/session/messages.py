"""What the session is told and what it asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from verge.contract.delta import IM
from verge.contract.etag import At, ETag
from verge.contract.report import Check, Drift, Failure, Readiness, Report, State
from verge.contract.view import InstanceId, View, ViewInvalid

WAIT_S: Final = 30
"""How long the server is asked to hold a request when nothing is newer."""

Standing = Literal["starting", "following", "unreachable", "unauthorized", "forbidden", "removed", "faulty"]
"""How the agent stands with the server. `removed`: the server knows no such node; the view is kept. `faulty`: the server
answers, but not with something this agent can accept."""


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
    base: View | None = None
    """The view of the one ETag in `bases`: a delta from it will do. None: only a whole view will."""

    def headers(self) -> dict[str, str]:
        headers = {}
        if self.bases:
            headers["If-None-Match"] = ", ".join(str(base) for base in self.bases)
        if self.base:
            headers["A-IM"] = IM
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
    """Of a 200: what the body says. Of a 226: where it leads from the request's `base`."""
    detail: str = ""
    """Of a refusal: the problem in the server's words."""
    fetch_ms: float = 0.0
    """From the answer's first byte to its content."""


@dataclass(frozen=True, slots=True)
class Offered:
    etag: ETag
    view: View
    body: bytes
    """As received."""
    fetch_ms: float
    base: ETag | None = None
    """`body` is the delta from this one; None: it is the whole view."""


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
    drift: tuple[Drift, ...] = ()
    """What others changed and this agent repaired, the latest few."""
    preflight: tuple[Check, ...] = ()
    """What the host lacks, and how much it has."""
