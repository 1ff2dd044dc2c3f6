from datetime import UTC, datetime, timedelta

from verge.contract.etag import ETag
from verge.contract.report import Failure, Report
from viewserver.model.change import Change
from viewserver.store.records.detail import change_on_nodes, rejections_of
from viewserver.store.records.happenings import happenings_since
from viewserver.store.reports import NewReport, load_reports, reports_since, store_reports

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def etag(version, epoch=1):
    return ETag(epoch, version, f"{version:032x}")


def report(version, sequence=None, boot="boot-1", epoch=1, **given):
    applied = None if version is None else etag(version, epoch)
    return Report(applied, given.pop("state", "applied"), sequence=sequence, boot_id=boot, **given)


async def store(database, *reports, at=0):
    async with database.begin() as conn:
        return await store_reports(conn, [NewReport(node, one, T0 + timedelta(seconds=at)) for node, one in reports])


async def loaded(database):
    async with database.snapshot() as conn:
        return {stored.node: stored for stored in await load_reports(conn)}


async def first_applied(database, revision, nodes, epoch=1):
    async with database.snapshot() as conn:
        return {
            one.node: (one.applied_version, (one.applied_at - T0).seconds)
            for one in await change_on_nodes(conn, Change(revision, epoch, T0, "clc", (), tuple(nodes)))
            if one.applied_at is not None
        }


async def test_a_report_is_read_back(database):
    full = Report(
        etag(3), "rejected", attempted=etag(5), instances={"i-1": "ready"}, sequence=9, agent_version="1",
        boot_id="b", timings_ms={"apply": 1.5},
    )  # fmt: skip
    await store(database, ("nc-1", full))
    found = (await loaded(database))["nc-1"]
    assert (found.applied, found.attempted, found.state) == (etag(3), etag(5), "rejected")
    assert (found.report, found.sequence, found.boot_id, found.seen_at) == (full.to_wire(), 9, "b", T0)


async def test_a_node_whose_first_view_was_rejected_has_applied_nothing(database):
    await store(database, ("nc-1", report(None, 1, state="rejected", attempted=etag(2))))
    found = (await loaded(database))["nc-1"]
    assert (found.applied, found.attempted) == (None, etag(2))
    assert await first_applied(database, 0, ["nc-1"]) == {}


async def test_an_older_sequence_of_the_same_boot_is_ignored(database):
    await store(database, ("nc-1", report(5, 10)))
    await store(database, ("nc-1", report(4, 9)), at=1)
    assert (await loaded(database))["nc-1"].applied == etag(5)
    assert await first_applied(database, 4, ["nc-1"]) == {"nc-1": (5, 0)}
    await store(database, ("nc-1", report(6, 10)), at=2)
    assert (await loaded(database))["nc-1"].applied == etag(6)
    await store(database, ("nc-1", report(3, 1, boot="boot-2")), at=3)
    assert (await loaded(database))["nc-1"].applied == etag(3)


async def test_plain_success_keeps_the_sequence_that_is_known(database):
    await store(database, ("nc-1", report(5, 10)))
    await store(database, ("nc-1", report(6, boot=None)))
    found = (await loaded(database))["nc-1"]
    assert (found.applied, found.sequence, found.boot_id) == (etag(6), 10, "boot-1")
    await store(database, ("nc-1", report(5, 9)))
    assert (await loaded(database))["nc-1"].applied == etag(6)


async def test_of_two_reports_in_a_batch_the_newer_counts(database):
    await store(
        database, ("nc-1", report(5, 2)), ("nc-1", report(4, 1)), ("nc-2", report(1, 1)), ("nc-2", report(2, 2))
    )
    assert {node: found.applied for node, found in (await loaded(database)).items()} == {
        "nc-1": etag(5),
        "nc-2": etag(2),
    }


async def test_a_rejection_that_lasted_a_moment_is_logged_though_one_batch_holds_its_end_as_well(database):
    short = report(5, 3, state="rejected", attempted=etag(6), failures=(Failure("groups/sg-1", "ruleset", "no"),))
    await store(database, ("nc-1", report(5, 2)))
    await store(database, ("nc-1", short), ("nc-2", report(6, 1)), ("nc-1", report(6, 4)))
    async with database.snapshot() as conn:
        (found,) = await rejections_of(conn, Change(6, 1, T0, "clc", (), ("nc-1", "nc-2")))
        happened = await happenings_since(conn, 0)
    assert (found.node, found.failures[0]["reason"]) == ("nc-1", "no")
    assert [(one.kind, one.node) for one in happened] == [("rejected", "nc-1"), ("accepted", "nc-1")]
    assert (await loaded(database))["nc-1"].applied == etag(6)


async def test_success_told_in_passing_and_its_report_are_one_whichever_came_first(database):
    timed = report(5, 2, timings_ms={"apply": 2.0})
    for node, pair in (("nc-1", (report(5, boot=None), timed)), ("nc-2", (timed, report(5, boot=None)))):
        stored = await store(database, *((node, one) for one in pair))
        assert (len(stored.numbers), [new.report for new in stored.taken]) == (1, [timed])
        found = (await loaded(database))[node]
        assert (found.sequence, found.report["timings_ms"]) == (2, {"apply": 2.0})


async def test_what_is_passed_over_as_older_is_named(database):
    await store(database, ("nc-1", report(5, 10)))
    stored = await store(database, ("nc-1", report(4, 9)), ("nc-2", report(4, 9)))
    assert [new.node for new in stored.taken] == ["nc-2"]


async def test_followers_do_not_read_the_batches_that_they_wrote(database):
    (first,) = (await store(database, ("nc-1", report(1, 1)), ("nc-2", report(1, 1)))).numbers
    (second,) = (await store(database, ("nc-2", report(2, 2)))).numbers
    async with database.snapshot() as conn:
        assert [found.node for found in await reports_since(conn, 0, {first})] == ["nc-2"]
        assert [found.node for found in await reports_since(conn, 0, {second})] == ["nc-1"]


async def test_followers_continue_from_the_last_batch(database):
    await store(database, ("nc-1", report(1, 1)), ("nc-2", report(1, 1)))
    await store(database, ("nc-2", report(2, 2)))
    await store(database)
    await store(database, ("nc-2", report(1, 1)), ("nc-3", report(1, 1)))
    async with database.snapshot() as conn:
        everything = await reports_since(conn, 0)
        assert [(found.node, found.seq) for found in everything] == [("nc-1", 1), ("nc-2", 2), ("nc-3", 3)]
        assert [found.node for found in await reports_since(conn, 2)] == ["nc-3"]
        assert await reports_since(conn, 3) == []


async def test_the_log_names_the_first_application_at_or_past_a_revision(database):
    for at, version in enumerate((2, 2, 5, 3, 5, 8)):
        await store(database, ("nc-1", report(version, at)), at=at)
    await store(database, ("nc-2", report(4, 1)), at=9)
    nodes = ["nc-1", "nc-2", "nc-3"]
    assert await first_applied(database, 1, nodes) == {"nc-1": (2, 0), "nc-2": (4, 9)}
    assert await first_applied(database, 3, nodes) == {"nc-1": (5, 2), "nc-2": (4, 9)}
    assert await first_applied(database, 6, nodes) == {"nc-1": (8, 5)}
    assert await first_applied(database, 6, ["nc-2"]) == {}


async def test_what_was_applied_in_an_earlier_epoch_does_not_count(database):
    await store(database, ("nc-1", report(9, 1)))
    assert await first_applied(database, 5, ["nc-1"], epoch=2) == {}
    await store(database, ("nc-1", report(6, 2, epoch=2)), at=4)
    assert await first_applied(database, 5, ["nc-1"], epoch=2) == {"nc-1": (6, 4)}
