"""What the disk says after deltas were kept: the state after the last whole record, wherever the file ends or is broken."""

from itertools import pairwise

import orjson
import pytest

from nodeagent import deltalog
from nodeagent.checkpoint import Checkpoint
from nodeagent.session import Offered, read_delta, read_view
from tests.unit.nodeagent.views import view_wire
from verge.contract.delta import diff
from verge.contract.etag import At, ETag
from verge.contract.view import View

VIEWS = [View.parse(view_wire(port=port)) for port in range(1, 30)]
ETAGS = [ETag(1, 2 * n, view.digest) for n, view in enumerate(VIEWS, 1)]
NEWER = [
    Offered(new_etag, new, orjson.dumps(diff(old, new)), 0.0, old_etag)
    for (old, old_etag), (new, new_etag) in pairwise(zip(VIEWS, ETAGS, strict=True))
]
"""NEWER[n] leads from VIEWS[n] to VIEWS[n + 1]."""


def keep(disk: Checkpoint, offered: Offered, *, accept: bool = True) -> None:
    disk.keep(offered, At(1, offered.etag.version), 7)
    disk.settle()
    if accept:
        disk.accept()


@pytest.fixture
def disk(tmp_path):
    """It holds VIEWS[0], whole."""
    disk = Checkpoint(tmp_path, "nc-1")
    keep(disk, Offered(ETAGS[0], VIEWS[0], VIEWS[0].to_bytes(), 0.0))
    return disk


def after_a_restart(tmp_path, slot="last"):
    """(etag, view); None if there is nothing."""
    stored = Checkpoint(tmp_path, "nc-1").load(slot)
    if stored is None:
        return None
    view = read_view(stored.body)
    for delta in stored.deltas:
        view = read_delta(delta, view)
    assert view.digest == stored.etag.digest
    return stored.etag, view


def disk_says(tmp_path) -> ETag:
    return Checkpoint(tmp_path, "nc-1").load("last").etag


def held(number: int):
    return ETAGS[number], VIEWS[number]


def test_deltas_follow_the_whole_view_and_nothing_of_it_is_written_again(disk, tmp_path):
    whole = disk.path("last").read_bytes()
    for offered in NEWER[:5]:
        keep(disk, offered)
    assert after_a_restart(tmp_path) == held(5)
    assert after_a_restart(tmp_path, "next") is None
    assert disk.path("last").read_bytes() == whole
    assert Checkpoint(tmp_path, "nc-1").load("last").generation == 7
    assert Checkpoint(tmp_path, "nc-1").load("last").seen == At(1, ETAGS[5].version)


def test_what_did_not_go_in_stands_beside_what_did(disk, tmp_path):
    keep(disk, NEWER[0])
    keep(disk, NEWER[1], accept=False)
    keep(disk, NEWER[2], accept=False)
    assert (after_a_restart(tmp_path, "next"), after_a_restart(tmp_path)) == (held(3), held(1))
    disk.accept()
    assert (after_a_restart(tmp_path, "next"), after_a_restart(tmp_path)) == (None, held(3))


def test_a_restarted_agent_goes_on_where_the_log_ends(disk, tmp_path):
    keep(disk, NEWER[0])
    keep(disk, NEWER[1], accept=False)
    again = Checkpoint(tmp_path, "nc-1")
    again.load("next")
    again.load("last")
    again.accept()
    keep(again, NEWER[2])
    assert after_a_restart(tmp_path) == held(3)
    assert not again.path("next").exists()


def test_wherever_the_file_ends_the_last_whole_record_counts(disk, tmp_path):
    log = tmp_path / "view.deltas"
    ends = {0: 0}
    """How long the file is when that many went in."""
    for number, offered in enumerate(NEWER[:2], 1):
        keep(disk, offered)
        ends[number] = log.stat().st_size
    content = log.read_bytes()
    for length in [*range(0, len(content), 3), len(content)]:
        log.write_bytes(content[:length])
        there = max(number for number, end in ends.items() if end <= length)
        assert disk_says(tmp_path) == ETAGS[there]


def test_whichever_byte_is_broken_the_records_before_it_count(disk, tmp_path):
    log = tmp_path / "view.deltas"
    for offered in NEWER[:2]:
        keep(disk, offered)
    content = log.read_bytes()
    before = [log.stat().st_size]
    for position in range(0, len(content), 3):
        log.write_bytes(content[:position] + bytes([content[position] ^ 0x20]) + content[position + 1 :])
        etag = disk_says(tmp_path)
        before.append(etag.version)
        assert etag in ETAGS[:2]
    assert before[1:] == sorted(before[1:])


def test_a_torn_tail_is_cut_off_before_anything_follows(disk, tmp_path):
    log = tmp_path / "view.deltas"
    keep(disk, NEWER[0])
    whole = log.read_bytes()
    keep(disk, NEWER[1])
    log.write_bytes(log.read_bytes()[: len(whole) + 90])
    again = Checkpoint(tmp_path, "nc-1")
    again.load("last")
    keep(again, NEWER[1])
    keep(again, NEWER[2])
    assert after_a_restart(tmp_path) == held(3)


def test_a_delta_that_does_not_follow_is_kept_as_a_whole_view(disk, tmp_path):
    keep(disk, NEWER[0])
    keep(disk, NEWER[4])
    assert after_a_restart(tmp_path) == held(5)
    keep(disk, NEWER[5])
    assert after_a_restart(tmp_path) == held(6)


def test_while_a_whole_view_waits_to_go_in_the_next_is_kept_whole_too(disk, tmp_path):
    keep(disk, NEWER[0])
    keep(disk, Offered(ETAGS[4], VIEWS[4], VIEWS[4].to_bytes(), 0.0), accept=False)
    keep(disk, NEWER[4], accept=False)
    assert (after_a_restart(tmp_path, "next"), after_a_restart(tmp_path)) == (held(5), held(1))
    disk.accept()
    assert after_a_restart(tmp_path) == held(5)


def test_a_log_that_a_newer_whole_view_left_behind_says_nothing(disk, tmp_path):
    """As after a crash between the lines of `accept`."""
    log = tmp_path / "view.deltas"
    keep(disk, NEWER[0])
    left = log.read_bytes()
    keep(disk, Offered(ETAGS[4], VIEWS[4], VIEWS[4].to_bytes(), 0.0))
    assert not log.exists()
    log.write_bytes(left)
    assert after_a_restart(tmp_path) == held(4)
    again = Checkpoint(tmp_path, "nc-1")
    again.load("last")
    keep(again, NEWER[4])
    assert after_a_restart(tmp_path) == held(5)


def test_a_long_log_ends_in_a_whole_view(disk, tmp_path, monkeypatch):
    monkeypatch.setattr(deltalog, "_MOST", 3)
    sizes = []
    for number, offered in enumerate(NEWER, 1):
        keep(disk, offered)
        log = tmp_path / "view.deltas"
        sizes.append(log.stat().st_size if log.exists() else 0)
        assert after_a_restart(tmp_path) == held(number)
    assert sizes.count(0) == len(NEWER) // 4
    assert max(sizes) < 4000


def test_a_log_that_cannot_be_written_is_done_with(disk, tmp_path):
    keep(disk, NEWER[0])
    (tmp_path / "view.deltas").unlink()
    disk._log._close()
    (tmp_path / "view.deltas").mkdir()
    with pytest.raises(OSError, match=r"view\.deltas"):
        keep(disk, NEWER[1])
    (tmp_path / "view.deltas").rmdir()
    keep(disk, NEWER[2])
    assert after_a_restart(tmp_path) == held(3)


def test_the_file_is_its_owners_alone(disk, tmp_path):
    keep(disk, NEWER[0])
    assert (tmp_path / "view.deltas").stat().st_mode & 0o777 == 0o600
