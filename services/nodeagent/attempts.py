"""When to try again what did not succeed: a delay that doubles, from a second to half a minute, and is jittered.

Pure: time and dice arrive as arguments. Of many nodes that fail alike at one moment, no two ask again in one.
"""

from dataclasses import dataclass
from typing import Final

_BOUND_S: Final = (1.0, 30.0)


@dataclass(frozen=True, slots=True)
class Attempts:
    not_before: float = 0.0
    _bound_s: float = 0.0

    def is_due(self, now: float) -> bool:
        return now >= self.not_before

    def after(self, now: float, dice: float, *, succeeded: bool) -> "Attempts":
        """Behind an attempt. `dice` is even in [0, 1): the delay is between half of its bound and all of it."""
        if succeeded:
            return Attempts(now)
        least, most = _BOUND_S
        bound = min(max(self._bound_s * 2, least), most)
        return Attempts(now + bound * (1 + dice) / 2, bound)
