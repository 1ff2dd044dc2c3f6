"""Bases of deltas: what is found is what the node held; otherwise nothing is."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.viewserver.clouds import accepted, changed, cloud
from verge.contract.etag import ETag
from viewserver import bases
from viewserver.bases import Bases
from viewserver.compile.held import Held
from viewserver.model.change import Change

START = datetime(2026, 1, 1, tzinfo=UTC)


def history(many, every=timedelta(seconds=1)):
    """(what is held, when) from revision 10 on; each odd one changes nc-3's view, each even one nobody's."""
    held = Held.of(1, 10, cloud(), dict.fromkeys(("nc-1", "nc-2", "nc-3"), 7))
    yield held, START
    for number in range(1, many + 1):
        operation = (
            changed("nc-3", address=f"192.0.2.{100 + number}") if number % 2 else changed("sg-idle", name=f"{number}")
        )
        outcome = accepted(operation, network=held.network)
        derived, affected = held.derived.advance(outcome.network, [(one.kind, one.id) for one in outcome.changed])
        at = START + number * every
        held = held.committed(Change(held.revision + 1, 1, at, "cloud", outcome.changed, affected), derived)
        yield held, at


def filled(steps):
    kept = Bases(steps[0][0])
    for held, at in steps[1:]:
        kept.add(held, at)
    return kept


def test_every_view_that_was_is_found():
    steps = list(history(8))
    kept = filled(steps)
    for held, _ in steps:
        for node in ("nc-1", "nc-2", "nc-3"):
            etag = held.etag(node)
            assert kept.find(node, etag).digests[node] == etag.digest


def test_what_never_was_is_not_found():
    steps = list(history(4))
    kept, etag = filled(steps), steps[2][0].etag("nc-3")
    for other in (
        ETag(2, etag.version, etag.digest),
        ETag(1, etag.version, "0" * 32),
        ETag(1, etag.version + 2, etag.digest),
        ETag(1, 99, etag.digest),
        ETag(1, etag.version, steps[2][0].etag("nc-1").digest),
    ):
        assert kept.find("nc-3", other) is None
    assert kept.find("nc-9", etag) is None


@pytest.mark.parametrize(("every", "left"), [(timedelta(minutes=2), 4), (timedelta(seconds=1), 21)])
def test_old_ones_go_when_they_are_many_and_old(monkeypatch, every, left):
    monkeypatch.setattr(bases, "REVISIONS", 3)
    steps = list(history(20, every))
    kept = filled(steps)
    assert len(kept) >= left
    assert (kept.find("nc-3", steps[1][0].etag("nc-3")) is None) == (every > timedelta(minutes=1))
    assert kept.find("nc-3", steps[-3][0].etag("nc-3")) is not None
    assert kept.find("nc-1", steps[0][0].etag("nc-1")) is not None, "a quiet node's view is as good as ever"


def test_there_is_an_end_to_it(monkeypatch):
    monkeypatch.setattr(bases, "MOST", 5)
    steps = list(history(20))
    kept = filled(steps)
    assert len(kept) == 5
    assert kept.find("nc-3", steps[-5][0].etag("nc-3")) is not None
    assert kept.find("nc-3", steps[-8][0].etag("nc-3")) is None
