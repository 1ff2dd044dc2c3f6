"""Which parts of a view does the host refuse? It takes a transaction whole or not at all, and seldom says what was wrong.

Halving: what goes in beside all that went in before is taken whole; what does not is halved, until one part alone is
left, which is to blame. With c to blame of n that takes about 2·c·log₂(n/c) attempts, and none of what is left out in the
end could have gone in beside what was taken before it.
"""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

T = TypeVar("T")

Attempt = Callable[[Collection[T]], str | None]
"""Would the host take it all, but for these? None, or its reason why not."""


def blamed(parts: Sequence[T], attempt: Attempt[T]) -> dict[T, str] | None:
    """Each part that must be left out, with the reason. None where leaving out all of them does not help. A part may rely
    on those before it, which are tried first."""
    if attempt(parts) is not None:
        return None
    found: dict[T, str] = {}
    out = dict.fromkeys(parts)  # not taken so far, in order
    waiting = [parts] if parts else []
    while waiting:
        segment = waiting.pop()
        with_it = set(segment)
        why = attempt([part for part in out if part not in with_it])
        if why is None:
            for part in segment:
                del out[part]
        elif len(segment) == 1:
            found[segment[0]] = why
        else:
            middle = len(segment) // 2
            waiting += [segment[middle:], segment[:middle]]
    return found
