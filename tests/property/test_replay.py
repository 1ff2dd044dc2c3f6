"""Replaying the change records from empty gives the same model, versions and ETags, wherever one begins."""

from datetime import UTC, datetime

import orjson
from hypothesis import given
from hypothesis import strategies as st

from tests.property.random_network import histories, rebuilt, walk
from viewserver.compile.derived import Derived
from viewserver.compile.held import Held
from viewserver.model.change import Change, Recorded
from viewserver.model.network import Network
from viewserver.model.updates import replay, rewind

AT = datetime(2026, 1, 1, tzinfo=UTC)


def committed(history):
    """What the writing replica holds after each revision, and the records it wrote, as JSON gives them back."""
    held, records = Held.empty(), []
    for _, outcome in walk(history):
        if not outcome.changed:
            continue
        derived, affected = held.derived.advance(outcome.network, [(one.kind, one.id) for one in outcome.changed])
        change = Change(held.revision + 1, 1, AT, "cloud", stored(outcome.changed), affected)
        held = held.committed(change, derived)
        records.append((change, held))
    return records


def stored(changed):
    return tuple(Recorded(**one) for one in orjson.loads(orjson.dumps([item.to_wire() for item in changed])))


def etags(held):
    return {node: held.etag(node) for node in held.derived.digests}


@given(histories)
def test_a_follower_holds_what_the_writer_holds(history):
    follower = Held.empty()
    for change, writer in committed(history):
        follower = follower.fold(change)
        assert follower == writer
        assert etags(follower) == etags(writer)


@given(histories, st.data())
def test_a_replica_that_starts_holds_what_the_others_hold(history, data):
    """It loads the rows and each node's version, goes back over the records it has, and folds them again."""
    records = committed(history)
    head = records[-1][1]
    versions = {}
    for change, _ in records:
        versions |= dict.fromkeys(change.affected, change.revision)
    assert etags(Held.of(1, head.revision, rebuilt(head.network), versions)) == etags(head)

    kept = data.draw(st.integers(0, len(records)))
    network = rebuilt(head.network)
    for change, _ in reversed(records[len(records) - kept :]):
        network = rewind(network, change.operations)
    revision = head.revision - kept
    older = {node: version for node, version in versions.items() if version <= revision}
    held = Held.of(1, revision, network, older)
    for change, writer in records[len(records) - kept :]:
        held = held.fold(change)
        assert held.network == writer.network
    assert etags(held) == etags(head)


@given(histories)
def test_records_lead_from_nothing_to_each_revision_and_back(history):
    network, records = Network(), committed(history)
    for change, held in records:
        before = network
        network = replay(network, change.operations)
        assert network == held.network == rebuilt(network)
        assert rewind(network, change.operations) == before


@given(histories)
def test_a_version_is_the_last_revision_at_which_the_digest_changed(history):
    digests, versions = {}, {}
    for change, held in committed(history):
        full = Derived.of(held.network).digests
        for node, digest in full.items():
            if digests.get(node) != digest:
                versions[node] = change.revision
        digests = dict(full)
        assert {node: held.etag(node).version for node in digests} == {node: versions[node] for node in digests}


@given(histories)
def test_no_record_may_be_left_out(history):
    records = committed(history)
    for change, held in records:
        for other, _ in records:
            if other.revision != held.revision + 1:
                try:
                    held.fold(other)
                except ValueError:
                    continue
                raise AssertionError(f"{other.revision} was folded into {held.revision}", change)
