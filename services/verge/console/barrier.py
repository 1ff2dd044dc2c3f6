"""Waiting until a change is in force: the barrier of `GET /v1/convergence`, asked again until it holds or time is up.

A server that goes away meanwhile (a restart, an upgrade) is asked again too: what was committed stays committed. Only the
deadline ends the wait.
"""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from verge.console.console import Console
from verge.console.outcome import Deadline, Exit, Refused, Unauthorised, Unreachable
from verge.console.standing import barrier_note, in_force_at
from verge.console.tables import duration, plain

HOLD_S = 50.0
"""The server holds a barrier for 60 s at most."""
LIVE_HOLD_S = 1.0
"""Where somebody watches."""
PAUSE_S = 0.25
"""Before whoever answered at once is asked again."""


@dataclass(frozen=True, slots=True)
class Wanted:
    revision: int
    timeout_s: float
    quorum: float | None = None
    allow_degraded: bool = False


@dataclass(frozen=True, slots=True)
class Waited:
    document: dict[str, Any]
    """The last answer; `converged` says how it ended."""
    seconds: float

    @property
    def exit(self) -> Exit:
        return Exit.OK if self.document["converged"] else Exit.DEADLINE


Look = Callable[[float], tuple[dict[str, Any] | None, str]]
"""Seconds the server may hold it → the answer, if there is one to wait upon, and a line for who watches."""


def wait_in_force(console: Console, wanted: Wanted) -> Waited:
    """Until every node that the revision affects has applied it. A revision that is still to come is waited for.

    Raises Deadline if it never came, Refused if its record is no longer kept, and other ConsoleErrors.
    """

    def ask(hold_s: float) -> dict[str, Any]:
        found: dict[str, Any] = console.server.get(
            "/v1/convergence",
            hold_s=hold_s,
            revision=wanted.revision,
            wait=round(hold_s, 3),
            quorum=wanted.quorum,
            allow="degraded" if wanted.allow_degraded else None,
        )
        return found

    def look(hold_s: float) -> tuple[dict[str, Any] | None, str]:
        try:
            found = ask(hold_s)
        except Refused as unknown:
            if unknown.status != 404:
                raise
            head = console.server.get("/v1/convergence")["revision"]
            if wanted.revision > head:
                return None, f"does not exist yet; the head is {head}"
            found = ask(0.0)  # it came meanwhile, or its record is gone
        return found, barrier_note(found)

    return _until(console, f"revision {wanted.revision}", wanted.timeout_s, look)


def wait_settled(console: Console, wanted: Wanted) -> Waited:
    """Until every node has applied all that it was meant to enforce at this revision, whichever change that came with.

    For an update that changed nothing: the change that made the network so may be any earlier one, and may still be on
    its way to a node that the head does not affect.
    """

    def look(_: float) -> tuple[dict[str, Any] | None, str]:
        found = console.server.get("/v1/convergence")
        late = [one for one in found["laggards"] if not in_force_at(one, wanted.revision, wanted.allow_degraded)]
        hidden = found["laggards_total"] > len(found["laggards"])
        fences = _fences(console)
        document = {
            "converged": not late and not hidden and not fences,
            "laggards": late,
            "fences": [{"address": one["address"], "waits_for": one["from"]} for one in fences],
        }
        return document, barrier_note(document)

    return _until(console, f"the network of revision {wanted.revision}", wanted.timeout_s, look)


def _fences(console: Console) -> list[dict[str, Any]]:
    """Those that this token may see: a cloud's sees none."""
    try:
        found: list[dict[str, Any]] = console.server.get("/v1/fences")["fences"]
    except Unauthorised:
        return []
    return found


def _until(console: Console, what: str, timeout_s: float, look: Look) -> Waited:
    began = time.monotonic()
    document: dict[str, Any] | None = None
    with _progress(console) as progress:
        while True:
            asked = time.monotonic()
            left = max(0.0, began + timeout_s - asked)
            try:
                document, note = look(min(left, LIVE_HOLD_S if console.live else HOLD_S))
            except Unreachable as gone:
                if left <= 0:
                    raise
                document, note = None, f"the server is away: {gone}"
            now = time.monotonic()
            if document is not None and (document["converged"] or now >= began + timeout_s):
                return Waited(document, now - began)
            if left <= 0:
                raise Deadline(f"{what} {note}; {duration(now - began)} have passed")
            progress(f"{what}, {duration(now - began)}: {note}")
            if now - asked < PAUSE_S:
                time.sleep(max(0.0, min(PAUSE_S, began + timeout_s - now)))


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[str], None]]:
    """One line that is drawn over itself on a terminal, and gone afterwards; nothing elsewhere."""
    if not console.live:
        yield lambda _: None
        return

    def draw(text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r\x1b[K{plain(text)[:width]}")
        sys.stderr.flush()

    try:
        yield draw
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
