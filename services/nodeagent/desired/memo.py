"""Keeps what was made from a part of a view while that part stays the same.

A cache and nothing else: with or without it the results are equal. It makes a whole-view function cost what changed,
and lets the plan skip whatever is the same object as before.
"""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Memo:
    def __init__(self) -> None:
        self._kept: dict[tuple[str, ...], tuple[tuple[Any, ...], Any]] = {}
        self._used: dict[tuple[str, ...], tuple[tuple[Any, ...], Any]] = {}

    def of(self, make: Callable[..., T], key: tuple[str, ...], *inputs: Any) -> T:
        """`make(*inputs)`, or what it gave for `key` last time if the inputs are equal."""
        slot = (make.__module__, make.__qualname__, *key)
        found = self._used.get(slot) or self._kept.get(slot)
        if found is None or found[0] != inputs:
            found = (inputs, make(*inputs))
        self._used[slot] = found
        result: T = found[1]
        return result

    def copy(self) -> "Memo":
        """To try something with, which is to be forgotten."""
        other = Memo()
        other._kept = self._kept | self._used
        return other

    def forget_unused(self) -> None:
        """Ends one pass: what it did not ask for goes."""
        self._kept, self._used = self._used, {}
