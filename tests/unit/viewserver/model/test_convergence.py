"""Who has applied what, of given facts at a given time."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verge.contract.report import Failure
from viewserver.model.convergence import Facts, Pending, Told, barrier, percentiles, standing

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def told(applied, state="applied", *, epoch=1, attempted=None, failures=()):
    return Told(epoch, applied, state, attempted, tuple(Failure(one, "ruleset", "no") for one in failures), {}, NOW)


def facts(node="nc-1", *, version=5, said=None, hosts=True, silent=False, behind=()):
    pending = tuple(Pending(revision, NOW - timedelta(seconds=age)) for revision, age in behind)
    return Facts(node, "zone-a", 1, version, pending, hosts, said, silent)


@pytest.mark.parametrize(
    ("found", "state", "applied"),
    [
        (facts(), "never-seen", 0),
        (facts(said=told(5)), "converged", 5),
        (facts(said=told(9)), "converged", 9),
        (facts(said=told(4)), "lagging", 4),
        (facts(said=told(5, epoch=0)), "lagging", 0),
        (facts(said=told(5, epoch=2)), "lagging", 0),
        (facts(said=told(5, "degraded", failures=["instances/i-1"])), "degraded", 5),
        (facts(said=told(4, "degraded", failures=["instances/i-1"])), "lagging", 4),
        (facts(said=told(4, "rejected", attempted=5)), "rejected", 4),
        (facts(said=told(5), silent=True), "silent", 5),
        (facts(silent=True), "never-seen", 0),
    ],
)
def test_the_state_of_a_node(found, state, applied):
    now = standing(found, NOW)
    assert (now.state, now.applied_version) == (state, applied)
    assert (now.reason is None) == (state == "converged")


def test_lag_is_the_age_of_the_oldest_change_it_lacks():
    now = standing(facts(said=told(2), behind=[(3, 7.5), (5, 1)]), NOW)
    assert (now.lag_versions, now.lag_seconds) == (2, 7.5)
    assert standing(facts(said=told(5), behind=[(5, -3)]), NOW).lag_seconds == 0


@pytest.mark.parametrize(("share", "enough"), [(1.0, 10), (0.99, 10), (0.9, 9), (0.5, 5), (0.01, 1)])
def test_a_quorum_is_rounded_up(share, enough):
    for applied in (enough - 1, enough):
        nodes = [facts(f"nc-{number}", said=told(5 if number < applied else 4)) for number in range(10)]
        assert barrier(5, nodes, frozenset(), NOW, quorum=share).converged == (applied >= enough)


def test_a_barrier_on_nobody_is_passed():
    found = barrier(5, [], frozenset(), NOW)
    assert (found.converged, found.affected, found.laggards) == (True, 0, ())


def test_an_exception_counts_where_the_change_touched_it():
    node = facts(said=told(5, "degraded", failures=["instances/i-1"]))
    for touched, allowed, passed in (
        ("instances/i-1", False, False),
        ("instances/i-1", True, True),
        ("instances/i-2", False, True),
    ):
        found = barrier(5, [node], frozenset({touched}), NOW, allow_degraded=allowed)
        assert found.converged == passed
        assert found.exceptions == (("nc-1",) if touched == "instances/i-1" else ())


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_percentiles_were_observed_and_ascend(values):
    found = percentiles(values)
    assert all(one in values for one in found.values())
    assert found["p50"] <= found["p90"] <= found["p99"] <= found["max"] == max(values)
    assert sum(one <= found["p50"] for one in values) * 2 >= len(values)
