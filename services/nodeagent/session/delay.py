"""How long to wait after failures in a row: within a bound that doubles, anywhere (full jitter)."""

from typing import Final

_BOUND_S: Final = (0.5, 5.0)
"""Of the first delay and of the longest. Half a second, since when a replica dies thousands turn to another at once; and well
within the time after which a node counts as silent."""


def delay(failures: int, dice: float) -> float:
    """Seconds. `dice` is even in [0, 1)."""
    least, most = _BOUND_S
    return dice * min(most, least * 2.0 ** min(failures - 1, 16))
