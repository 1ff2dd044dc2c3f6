"""Noticing at once what others do to what is ours, and by whom.

The kernel's notifications say who committed what; that it is not what we want is for the pass to find. They are a hint: what
they miss (sysctls, a bridge's flag, what was lost on the way) is found by looking once a second.
"""

import asyncio
import time
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from nodeagent.kernel.watch import Commit, Lost, RulesetWatch
from nodeagent.state.ownership import is_operators
from verge.contract.report import Drift

_NAMED: Final = 5
"""Objects that are named; of more the number is said."""
_WRAPS: Final = 0xFFFF_FFFF
_TABLE_GONE: Final = "table deleted "
_REMEMBERED: Final = 100
"""Transactions of others, until they are looked into."""


@dataclass(frozen=True, slots=True)
class Notice:
    """The first sign of a change, and all that is known of it."""

    at: datetime
    began: float
    """By the monotonic clock, seconds."""
    commits: tuple[Commit, ...] = ()

    @classmethod
    def now(cls) -> "Notice":
        return cls(datetime.now(UTC), time.monotonic())

    def joined(self, later: "Notice | None") -> "Notice":
        return replace(self, commits=(*self.commits, *later.commits)) if later else self

    @property
    def is_operators(self) -> bool:
        """Was nothing touched but what operators keep in our tables? That is their right."""
        touched = [what for commit in self.commits for what in commit.touched]
        return bool(touched) and all(is_operators(what.rsplit(" ", 1)[-1]) for what in touched)

    def after(self, generation: int) -> "Notice":
        """Without the commits that led up to this generation of rulesets, which is as we left them."""
        later = (one for one in self.commits if 0 < one.generation - generation & _WRAPS < _WRAPS // 2)
        return replace(self, commits=tuple(later))

    def before(self, generation: int, ours: Container[int]) -> "Notice":
        """Without the commits that made this generation of rulesets, those behind it, and those that are ours."""
        earlier = (
            one
            for one in self.commits
            if 0 < generation - one.generation & _WRAPS < _WRAPS // 2 and one.generation not in ours
        )
        return replace(self, commits=tuple(earlier))

    def repaired(self, changes: int, settings: tuple[str, ...], notes: tuple[str, ...] = ()) -> Drift:
        """It is put right, by so many changes of the ruleset and these outside it; `notes` are further news of it."""
        touched = _without_parts(what for commit in self.commits for what in commit.touched) if changes else []
        if not touched and changes:
            touched = [f"{changes} object{'s' if changes > 1 else ''} of the ruleset"]
        culprits = dict.fromkeys(f"{commit.process} (pid {commit.pid})" for commit in self.commits)
        return Drift(
            at=self.at,
            what="; ".join([_some([*touched, *(f"set back: {one}" for one in settings)]), *notes]),
            culprit=_some(list(culprits)) if culprits and changes else None,
            repaired_ms=round((time.monotonic() - self.began) * 1000, 3),
        )


class Suspects:
    """Reads notifications as they come; `stirred` is set when somebody else has touched our tables.

    Our own commits are passed over by their thread's pid. In a pid namespace, where the kernel's pids are others than ours,
    they stir as well: looking finds nothing, and `Notice.after` leaves them out."""

    def __init__(self, watch: RulesetWatch | None, ours: Callable[[], int | None]) -> None:
        """`ours` tells the kernel's id of the thread whose commits are our own. Without a watch nobody is suspected."""
        self.stirred = asyncio.Event()
        self._watch = watch
        self._ours = ours
        self._notice: Notice | None = None

    def listen(self) -> None:
        """From now on, in the running event loop."""
        if self._watch:
            asyncio.get_running_loop().add_reader(self._watch.fileno(), self._hear)

    def take(self) -> Notice | None:
        """What was noticed since it was last taken, up to now."""
        if self._watch:
            self._hear()
        self.stirred.clear()
        taken, self._notice = self._notice, None
        return taken

    def before(self, generation: int, ours: Container[int]) -> Notice | None:
        """What has been noticed meanwhile of commits before this generation. It goes on stirring, so nothing goes unseen."""
        if self._watch:
            self._hear()
        return self._notice.before(generation, ours) if self._notice else None

    def close(self) -> None:
        if self._watch:
            asyncio.get_running_loop().remove_reader(self._watch.fileno())
            self._watch.close()
            self._watch = None

    def _hear(self) -> None:
        assert self._watch
        heard: list[Commit] = []
        lost = False
        try:
            heard += (commit for commit in self._watch.read() if commit.pid != self._ours())
        except Lost:
            lost = True
        if heard or lost:  # whose what was lost is not known, so look
            first = self._notice or Notice.now()
            self._notice = replace(first, commits=(*first.commits, *heard)[-_REMEMBERED:])
            self.stirred.set()


def _without_parts(touched: Iterable[str]) -> list[str]:
    """Each once, and of a table that was deleted nothing but that."""
    each = list(dict.fromkeys(touched))
    whole = tuple(f" {what.removeprefix(_TABLE_GONE)} " for what in each if what.startswith(_TABLE_GONE))
    return [what for what in each if not any(table in what for table in whole)]


def _some(texts: list[str]) -> str:
    more = len(texts) - _NAMED
    return "; ".join(texts[:_NAMED]) + (f" and {more} more" if more > 0 else "")
