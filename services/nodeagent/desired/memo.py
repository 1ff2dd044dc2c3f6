"""Keeps what was made from a part of a view while that part stays the same.

A cache and nothing else: with or without it the results are equal. It makes a whole-view function cost what changed,
and lets the plan skip whatever is the same object as before.
"""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_Slot = tuple[Any, ...]


class Memo:
    def __init__(self) -> None:
        self._kept: dict[_Slot, tuple[tuple[Any, ...], Any]] = {}
        self._used: dict[_Slot, tuple[tuple[Any, ...], Any]] = {}
        self._inner: dict[_Slot, Memo] = {}

    def of(self, make: Callable[..., T], key: tuple[str, ...], *inputs: Any) -> T:
        """`make(*inputs)`, or what it gave for `key` last time if the inputs are equal."""
        return self._of((make, *key), inputs, lambda: make(*inputs))

    def within(self, make: Callable[..., T], *inputs: Any) -> T:
        """Likewise for a whole section, of which the parts are kept apart: `make(memo, *inputs)`."""
        slot = (make,)
        return self._of(slot, inputs, lambda: self._section(slot, make, inputs))

    def _section(self, slot: _Slot, make: Callable[..., T], inputs: tuple[Any, ...]) -> T:
        inner = self._inner.setdefault(slot, Memo())
        result = make(inner, *inputs)
        inner.forget_unused()
        return result

    def _of(self, slot: _Slot, inputs: tuple[Any, ...], make: Callable[[], T]) -> T:
        found = self._used.get(slot) or self._kept.get(slot)
        result: T = make() if found is None or found[0] != inputs else found[1]
        # these inputs, though they be equal: the same objects again are compared at no cost
        self._used[slot] = (inputs, result)
        return result

    def copy(self) -> "Memo":
        """To try something with, which is to be forgotten."""
        other = Memo()
        other._kept = self._kept | self._used
        other._inner = {slot: inner.copy() for slot, inner in self._inner.items()}
        return other

    def forget_unused(self) -> None:
        """Ends one pass: what it did not ask for goes."""
        self._kept, self._used = self._used, {}
        self._inner = {slot: inner for slot, inner in self._inner.items() if slot in self._kept}
