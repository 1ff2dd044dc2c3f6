"""Whatever the host refuses, and however it hangs together: what is left out is to blame, and the rest goes in."""

from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as st

from nodeagent.plan.search import blamed


@given(st.integers(0, 300), st.data())
def test_exactly_the_refused_are_found(size: int, data: st.DataObject) -> None:
    refused = data.draw(st.sets(st.integers(0, max(size - 1, 0)), max_size=min(size, 8)))
    attempts = 0

    def attempt(left_out: Collection[int]) -> str | None:
        nonlocal attempts
        attempts += 1
        found = sorted(refused - set(left_out))
        return f"{found[0]} and others" if found else None

    found = blamed(range(size), attempt)
    assert found is not None
    assert found.keys() == refused
    assert all(why.startswith(f"{part} ") for part, why in found.items()), "the reason is its own"
    assert attempts <= 2 + len(refused) * 2 * max(size, 2).bit_length()


@given(st.integers(2, 60), st.data())
def test_two_that_do_not_go_together(size: int, data: st.DataObject) -> None:
    pairs = data.draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=5))

    def attempt(left_out: Collection[int]) -> str | None:
        together = [pair for pair in pairs if not set(pair) & set(left_out)]
        return "no" if together else None

    found = blamed(range(size), attempt)
    assert found is not None
    assert attempt(found.keys()) is None, "what is left goes in"
    assert all(attempt(found.keys() - {part}) is not None for part in found), "and nothing was left out for nothing"


@given(st.integers(0, 20))
def test_where_it_is_none_of_them(size: int) -> None:
    assert blamed(range(size), lambda _: "Operation not permitted") is None
