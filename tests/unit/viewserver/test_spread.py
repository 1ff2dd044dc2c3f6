"""How a change spreads, against a naive account of the same events."""

from datetime import UTC, datetime, timedelta

import pytest

from viewserver.spread import RECENT, Spreads

START = datetime(2026, 1, 1, tzinfo=UTC)


def after(ms):
    return START + timedelta(milliseconds=ms)


def everyone(_):
    return True


@pytest.fixture
def heard():
    return []


@pytest.fixture
def spreads(heard):
    found = Spreads(heard.append)
    found.recall({}, {})
    return found


def test_percentiles_are_observed_values_and_the_last_node_completes_it(spreads, heard):
    spreads.begin(7, START, ["a", "b", "c"], everyone)
    spreads.applied(7, "b", after(30))
    spreads.applied(7, "a", after(10))
    assert heard == []
    assert spreads[7].to_wire() == {"affected": 3, "applied": 2, "ms": {"p50": 10, "p90": 30, "p99": 30, "max": 30}}
    spreads.applied(7, "c", after(250))
    assert heard == [0.25]
    assert spreads[7].complete


def test_a_node_that_was_never_seen_and_hosts_nothing_is_not_waited_for(spreads, heard):
    spreads.begin(1, START, ["seen", "new"], lambda node: node == "seen")
    spreads.applied(1, "new", after(5))
    assert spreads[1].to_wire()["applied"] == 0
    spreads.applied(1, "seen", after(9))
    assert heard == [pytest.approx(0.009)]


def test_a_node_that_is_removed_is_not_waited_for(spreads, heard):
    spreads.begin(1, START, ["a", "b"], everyone)
    spreads.applied(1, "a", after(20))
    spreads.gone(1, "b")
    assert heard == [pytest.approx(0.02)]
    assert spreads[1].to_wire()["affected"] == 1


def test_a_change_that_affects_nobody_is_complete_and_says_nothing(spreads, heard):
    spreads.begin(1, START, [], everyone)
    assert spreads[1].complete
    assert spreads[1].to_wire()["ms"]["max"] is None
    assert heard == []


def test_only_the_last_changes_are_kept(spreads):
    for revision in range(1, RECENT + 3):
        spreads.begin(revision, START, ["a"], everyone)
    assert spreads[2] is None
    assert spreads[3] is not None
    spreads.applied(2, "a", after(1))  # forgotten: nothing happens


def test_a_restart_recalls_the_first_version_at_or_past_each_change(heard):
    spreads = Spreads(heard.append)
    for revision in (3, 4, 5):
        spreads.begin(revision, START, ["a", "b"], everyone)
    spreads.applied(3, "a", after(99_999))  # history, told again at start: the log knows when it was
    log = {"a": [(3, after(10)), (5, after(40))], "b": [(4, after(70))]}
    spreads.recall(log, {3: ["a", "b"], 4: ["a", "b"], 5: ["a", "b"]})
    assert [sorted(spreads[revision].ms) for revision in (3, 4, 5)] == [[10, 70], [40, 70], [40]]
    assert heard == [], "what is recalled is not observed anew"
    spreads.applied(5, "b", after(80))
    assert heard == [pytest.approx(0.08)]
