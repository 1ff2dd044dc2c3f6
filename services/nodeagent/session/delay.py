"""How long to wait after failures in a row: within a bound that doubles, anywhere (full jitter)."""

from typing import Final

_BOUND_S: Final = (0.1, 5.0)
"""Of the first delay and of the longest."""


def delay(failures: int, dice: float) -> float:
    """Seconds. `dice` is even in [0, 1)."""
    least, most = _BOUND_S
    return dice * min(most, least * 2.0 ** min(failures - 1, 16))
