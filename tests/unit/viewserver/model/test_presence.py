"""What is heard here, what is read of others, and what is written because of it."""

from datetime import UTC, datetime, timedelta

import pytest

from viewserver.model.presence import Claim, Presence

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds):
    return BEGAN + timedelta(seconds=seconds)


def always(_):
    return True


@pytest.fixture
def here():
    return Presence("here", 0.0, silence_grace_s=2.0, start_grace_s=10.0)


def claim(seq, replica="there", *, connected=True, node="n", when=0.0):
    return Claim(node, replica, connected, at(when), seq)


def write(presence, now, seq):
    """What is to be written is written, and read back."""
    news = presence.news(now, always)
    presence.follow([claim(seq, presence.me, node=node, when=now) for node in news.came], now)
    presence.follow(
        [claim(seq, presence.me, connected=False, node=node, when=heard) for node, heard in news.lost.items()], now
    )
    return news


def test_a_node_is_claimed_once_however_often_it_polls(here):
    for now in range(5):
        here.came("n", now)
        assert write(here, now, now + 1).came == ({"n": 0} if now == 0 else {})
        here.left("n", now + 0.9)


def test_one_that_stays_away_is_lost_once_and_was_last_heard_of_when_it_left(here):
    here.came("n", 0.5)
    write(here, 1.0, 1)
    here.left("n", 3.0)
    assert not write(here, 5.0, 2)
    assert write(here, 5.1, 2).lost == {"n": 3.0}
    assert not write(here, 9.0, 3)
    assert here.silent("n", 9.0)
    assert here.heard_at("n", 9.0, at) == at(3.0)


def test_one_that_another_has_claimed_is_not_lost_by_the_first(here):
    here.came("n", 0.5)
    write(here, 1.0, 1)
    here.follow([claim(2)], 1.5)
    here.left("n", 2.0)
    assert not write(here, 100.0, 3)
    assert not here.silent("n", 100.0)


def test_it_comes_back_and_is_claimed_anew(here):
    here.came("n", 0.5)
    write(here, 1.0, 1)
    here.left("n", 2.0)
    here.follow([claim(2)], 3.0)
    here.came("n", 0.5)
    assert write(here, 4.0, 3).came == {"n": 0.5}


def test_what_another_lost_is_claimed_by_who_has_it_open(here):
    here.came("n", 0.5)
    write(here, 1.0, 1)
    here.follow([claim(2)], 2.0)
    assert not here.news(2.0, always), "both have it; nobody writes"
    here.follow([claim(3, connected=False)], 3.0)
    assert not here.silent("n", 100.0)
    assert write(here, 3.5, 4).came == {"n": 3.0}


def test_a_claim_read_late_does_not_undo_a_newer_one(here):
    here.follow([claim(5, connected=False, when=7.0)], 8.0)
    assert here.follow([claim(4)], 8.0) == []
    assert here.silent("n", 8.0)
    assert here.heard_at("n", 8.0, at) == at(7.0)


def test_one_that_left_before_its_claim_was_read_is_lost_in_time(here):
    here.came("n", 0.5)
    here.left("n", 1.0)
    write(here, 1.1, 1)
    assert write(here, 3.2, 2).lost == {"n": 1.0}


def test_a_claim_of_ours_without_a_request_is_given_up(here):
    here.follow([claim(1, "here")], 1.0)
    assert not write(here, 2.0, 2)
    assert write(here, 3.1, 2).lost == {"n": 1.0}


def test_nobody_is_silent_just_after_a_start_but_who_is_known_to_be(here):
    assert not here.silent("n", 9.0)
    assert here.silent("n", 10.1)
    here.follow([claim(1, connected=False)], 1.0)
    assert here.silent("n", 1.0)


def test_what_could_not_be_written_is_written_later(here):
    here.came("n", 0.5)
    write(here, 1.0, 1)
    here.left("n", 1.0)
    here.came("m", 1.5)
    here.follow([claim(1, node="gone")], 1.0)
    here.remove("gone")
    news = here.news(5.0, always)
    assert (news.came, news.lost, news.gone) == ({"m": 1.5}, {"n": 1.0}, {"gone": 1})
    assert not here.news(5.0, always)
    here.again(news)
    assert here.news(5.0, always) == news


def test_a_node_that_does_not_exist_is_not_claimed(here):
    here.came("n", 0.5)
    assert not here.news(1.0, lambda _: False)
