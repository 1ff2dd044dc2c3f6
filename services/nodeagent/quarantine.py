"""What of a view the host has refused: remembered, so that it is not tried again with every pass.

A part is tried again when the view says something else about it, and after a while, which doubles: what stood against it
may have gone. Meanwhile it costs nothing; a refusal that was expected costs one attempt more than a success.

Memory only: an agent that starts tries everything once.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from nodeagent.desired.parts import Part, digest, parts, rules_of
from nodeagent.plan.search import Attempt, blamed
from verge.contract.digest import Digest
from verge.contract.report import Failure
from verge.contract.view import View

_WAIT_S: Final = (30, 1800)
_RULES: Final = 8
"""So many refused rules close the whole group: what remains of it is not what anybody meant."""


@dataclass(frozen=True, slots=True)
class _Refused:
    digest: Digest | None
    failure: Failure
    since: int
    wait_s: int


class Quarantine:
    """Times are seconds of any clock; one that jumps back only makes the next attempt come early."""

    def __init__(self) -> None:
        self._refused: dict[Part, _Refused] = {}

    def known(self, view: View) -> dict[Part, Failure]:
        """What was refused and is the same in this view."""
        return {part: one.failure for part, one in self._refused.items() if digest(view, part) == one.digest}

    def due(self, view: View, now: int) -> dict[Part, Failure]:
        """What is to be left out of this pass: what is known, save that whose time has come."""
        return {
            part: failure
            for part, failure in self.known(view).items()
            if self._refused[part].since <= now < self._refused[part].since + self._refused[part].wait_s
        }

    def keep(self, view: View, left_out: Mapping[Part, Failure], tried: Collection[Part], now: int) -> None:
        """The pass went through without these; `tried` were refused in it, the rest was not tried."""
        kept: dict[Part, _Refused] = {}
        for part, failure in left_out.items():
            known = self._refused.get(part)
            content = digest(view, part)
            if known is None or known.digest != content:
                kept[part] = _Refused(content, failure, now, _WAIT_S[0])
            elif part in tried:
                kept[part] = _Refused(content, failure, now, min(known.wait_s * 2, _WAIT_S[1]))
            else:
                kept[part] = known
        self._refused = kept

    def search(self, view: View, attempt: Attempt[Part], stage: str) -> dict[Part, Failure] | None:
        """What must be left out. None: it is not for any part of the view."""
        known = self.known(view)
        if known and attempt(known) is None:
            return known
        found = blamed(parts(view), attempt)
        if not found:
            return None
        failures: dict[Part, Failure] = {}
        for part, why in found.items():
            others = [other for other in found if other is not part]
            for closer, reason in (_rules(view, part, others, attempt) or {part: why}).items():
                text = f"{closer.described}: {reason}" if closer.rule else reason
                failures[closer] = Failure(closer.object, stage, text)
        return failures


def _rules(view: View, group: Part, others: Collection[Part], attempt: Attempt[Part]) -> dict[Part, str] | None:
    """The rules for which a group is refused; None: it is not for its rules, or for too many."""
    if group.section != "groups":
        return None
    found = blamed(rules_of(view, group), lambda left_out: attempt([*others, *left_out]))
    return found if found and len(found) <= _RULES else None
