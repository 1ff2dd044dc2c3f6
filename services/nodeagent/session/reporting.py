"""The half of the session that tells: what is in force, until the server is known to have heard it.

Only the newest report matters, so an unsent older one is replaced. Plain success is also said in passing, with the next
view request (`unsaid`), whichever is heard first.
"""

from dataclasses import replace
from typing import Final

from nodeagent.session.delay import delay
from nodeagent.session.messages import Enforced
from verge.contract.etag import ETag
from verge.contract.report import Failure, Report

_HOPELESS: Final = frozenset({400, 413, 415, 422})
"""A report answered so is not sent again: the next one will differ."""


class Reporting:
    def __init__(self, *, agent_version: str, boot_id: str) -> None:
        self.pending: Report | None = None
        """The newest untold report."""
        self.unsaid: ETag | None = None
        """Plain success that the server may not have heard of."""
        self.sent = 0
        """Reports that were taken."""
        self.failed = 0
        """Attempts that were not."""
        self._agent = (agent_version, boot_id)
        self._sequence = 0
        self._failures = 0
        self._enforced = Enforced(None, None, "applied")

    def enforced(self, came: Enforced) -> None:
        """A pass ended, or readiness changed: this is the truth to be told from now on."""
        self._enforced = came
        self.unsaid = came.applied if came.state == "applied" else None
        self._report(came)

    def refused(self, etag: ETag, wrong: Failure) -> None:
        """A view's content is not what its ETag says, so nothing of it was tried; what is in force stays."""
        self.unsaid = None
        came = replace(self._enforced, attempted=etag, state="rejected", failures=(wrong,))
        self._report(replace(came, timings_ms={"fetch": 0.0}, sessions_cut=0))

    def heard(self, said: ETag | None) -> None:
        """An answer shows that the server has read what was said in passing."""
        if said and said == self.unsaid:
            self.unsaid = None

    def answered(self, sent: Report, status: int | None, dice: float) -> float | None:
        """Status None: no answer came. Returns the delay until it is to be sent again; None: it is done with."""
        taken = status is not None and 200 <= status < 300
        self.sent, self.failed = self.sent + taken, self.failed + (not taken)
        if taken or status in _HOPELESS:
            self._failures = 0
            if sent is self.pending:
                self.pending = None
                if taken:
                    self.unsaid = None
            return None
        self._failures += 1
        return delay(self._failures, dice)

    def _report(self, came: Enforced) -> None:
        self._sequence += 1
        self._failures = 0
        self.pending = Report(
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
            drift=came.drift,
            preflight=came.preflight,
        )
