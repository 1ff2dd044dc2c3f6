"""Is this host fit for its view? The newest preflight, looked at before each pass and at all of the host now and then."""

import traceback

from nodeagent.journal import Journal
from nodeagent.preflight.judging import judge
from nodeagent.preflight.preflight import Preflight
from verge.contract.report import Check, Failure
from verge.contract.view import View


class Fitness:
    checks: tuple[Check, ...] = ()
    """The newest."""

    def __init__(self, preflight: Preflight | None, journal: Journal) -> None:
        """Without a `preflight` every host will do."""
        self._preflight = preflight
        self._journal = journal

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What keeps new views out."""
        return judge.failures(self.checks)

    def look(self, view: View | None, *, thorough: bool) -> None:
        """Blocks for a millisecond or two."""
        if self._preflight is None:
            return
        look = self._preflight.local if thorough or any(one.blocks for one in self.checks) else self._preflight.quick
        try:
            self.checks = look(view)
        except Exception as failed:  # a fault of ours is no reason to keep views out
            self._journal.say("preflight-failed", reason=repr(failed), trace=traceback.format_exc(limit=-4))

    def whole(self, view: View | None) -> tuple[Check, ...]:
        """Everything; may block for seconds, and changes nothing here."""
        return self._preflight.whole(view) if self._preflight else ()

    def learn(self, checks: tuple[Check, ...]) -> bool:
        """Does what was found keep out other views than before?"""
        before, self.checks = self.failures, checks
        return self.failures != before
