"""Text for people: columns that line up, durations that can be read, nothing that a terminal would obey."""

import re

import pytest

from verge.console.tables import Painted, count, duration, fields, listed, paint, plain, state, table, when


def test_columns_line_up_whatever_is_painted():
    rows = [["nc-1", Painted("converged", "green"), 1], ["a-long-node", Painted("silent", "red"), 1234]]
    without = table(("node", "state", "lag"), rows, colour=False, right=("lag",))
    painted = table(("node", "state", "lag"), rows, colour=True, right=("lag",))
    assert without.splitlines() == [
        "NODE         STATE       LAG",
        "nc-1         converged     1",
        "a-long-node  silent     1234",
    ]
    assert re.sub(r"\x1b\[\d*m", "", painted) == without
    assert painted != without


def test_a_missing_cell_is_shown_as_such():
    assert table(("a", "b"), [[None, "x"]], colour=False).splitlines()[1] == "–  x"


@pytest.mark.parametrize("nasty", ["\x1b[2J", "a\rb", "a\nb", "\x9b31m", "\u202eabc", "\x00"])
def test_what_others_say_cannot_steer_the_terminal(nasty):
    for shown in (
        plain(nasty),
        table(("x",), [[nasty]], colour=False).splitlines()[1],
        paint(Painted(nasty, None), colour=True),
        fields([("x", nasty)], colour=False).removeprefix("x  "),
        listed([nasty]),
    ):
        assert shown.isprintable()
        assert shown != ""


def test_words_of_every_script_stay_readable():
    assert plain("instance „Büro“ 東京") == "instance „Büro“ 東京"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0"),
        (0.0213, "21 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (12.34, "12.3 s"),
        (59.96, "1m00s"),
        (250, "4m10s"),
        (3599.7, "1h00m"),
        (11100, "3h05m"),
        (86400 * 2 + 3600 * 4, "2d04h"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_times_are_utc_whatever_the_server_writes():
    assert when("2026-07-02T12:00:05.123456+02:00") == "2026-07-02 10:00:05Z"
    assert when(None) == "–"
    assert when("yesterday") == "yesterday"


def test_counts_and_lists():
    assert (count(1, "node"), count(0, "node"), count(1200, "node")) == ("1 node", "0 nodes", "1,200 nodes")
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefgh"), 3) == "a, b, c and 5 more"


def test_a_state_of_a_later_version_is_shown_without_colour():
    assert paint(state("hovering"), colour=True) == "hovering"
