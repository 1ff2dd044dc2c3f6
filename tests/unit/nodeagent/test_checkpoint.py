"""What is on disk after each line of a pass, and that nothing torn or foreign is ever taken for a view."""

import pytest

from nodeagent.checkpoint import Checkpoint, CheckpointUnreadable, Stored
from tests.unit.nodeagent.views import body_of, etag_of, view_wire
from verge.contract.etag import At

OLD = Stored("nc-1", etag_of(view_wire(port=22), 5), At(1, 5), body_of(view_wire(port=22)), 3)
NEW = Stored("nc-1", etag_of(view_wire(port=80), 6), At(1, 9), body_of(view_wire(port=80)), 4)


@pytest.fixture
def disk(tmp_path):
    return Checkpoint(tmp_path, "nc-1")


def test_an_empty_directory_holds_nothing(disk):
    assert [disk.load(slot) for slot in ("next", "last", "pinned")] == [None, None, None]


def test_a_proposed_view_stands_beside_the_last_until_it_is_accepted(disk):
    disk.propose(OLD)
    disk.settle()
    disk.accept()
    disk.propose(NEW)
    assert (disk.load("next"), disk.load("last")) == (NEW, OLD)
    disk.settle()
    disk.accept()
    assert (disk.load("next"), disk.load("last")) == (None, NEW)


def test_a_newer_proposal_replaces_one_that_was_rejected(disk):
    disk.propose(OLD)
    disk.propose(NEW)
    assert disk.load("next") == NEW


def test_a_pinned_view_has_no_version_and_goes_away_when_taken_back(disk):
    by_hand = Stored("nc-1", None, None, OLD.body)
    disk.pin(by_hand)
    assert disk.load("pinned") == by_hand
    disk.unpin()
    disk.unpin()
    assert disk.load("pinned") is None


def test_a_write_that_was_killed_leaves_the_last_view(disk, tmp_path):
    disk.propose(OLD)
    disk.accept()
    (tmp_path / ".view.next.tmp").write_bytes(disk.path("last").read_bytes()[:50])
    assert (disk.load("next"), disk.load("last")) == (None, OLD)
    disk.propose(NEW)
    assert disk.load("next") == NEW


def test_every_torn_length_is_refused(disk):
    disk.propose(OLD)
    content = disk.path("next").read_bytes()
    for length in range(len(content)):
        disk.path("next").write_bytes(content[:length])
        with pytest.raises(CheckpointUnreadable, match=r"view\.next is torn or not a checkpoint"):
            disk.load("next")


def test_every_flipped_byte_is_refused(disk):
    disk.propose(OLD)
    content = disk.path("next").read_bytes()
    for position in range(len(content)):
        broken = bytearray(content)
        broken[position] ^= 0x20
        disk.path("next").write_bytes(broken)
        with pytest.raises(CheckpointUnreadable):
            disk.load("next")


def test_another_nodes_checkpoint_is_refused_by_name(disk, tmp_path):
    disk.propose(OLD)
    with pytest.raises(CheckpointUnreadable, match="belongs to node nc-1, this is nc-2"):
        Checkpoint(tmp_path, "nc-2").load("next")


def test_the_file_is_its_owners_alone(disk):
    disk.propose(OLD)
    assert disk.path("next").stat().st_mode & 0o777 == 0o600
