"""A host that lacks something is tried again, later and later, and never in step with others."""

from __future__ import annotations

from itertools import pairwise

from nodeagent.attempts import Attempts


def delays(dice: float, count: int = 8) -> list[float]:
    found, attempts, now = [], Attempts(), 1000.0
    for _ in range(count):
        attempts = attempts.after(now, dice, succeeded=False)
        found.append(attempts.not_before - now)
        assert not attempts.is_due(now)
        assert attempts.is_due(attempts.not_before)
        now = attempts.not_before
    return found


def test_the_first_attempt_waits_for_nothing() -> None:
    assert Attempts().is_due(0.0)


def test_delays_double_from_a_second_to_half_a_minute() -> None:
    longest = delays(0.999999)
    assert [round(one) for one in longest] == [1, 2, 4, 8, 16, 30, 30, 30]


def test_no_delay_is_shorter_than_half_of_its_bound() -> None:
    shortest = delays(0.0)
    assert shortest == [0.5, 1, 2, 4, 8, 15, 15, 15]
    assert all(later >= sooner for sooner, later in pairwise(shortest))


def test_dice_tell_nodes_apart() -> None:
    assert len({tuple(delays(dice / 10)) for dice in range(10)}) == 10


def test_a_success_begins_anew() -> None:
    failing = Attempts()
    for _ in range(5):
        failing = failing.after(0.0, 0.5, succeeded=False)
    done = failing.after(50.0, 0.5, succeeded=True)
    assert done.is_due(50.0)
    assert done.after(50.0, 0.0, succeeded=False).not_before == 50.5
