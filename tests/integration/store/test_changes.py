import asyncio
from datetime import UTC

import asyncpg
import pytest

from tests.integration.store.changing import commit, instance, new
from viewserver.model.change import NewChange, Recorded
from viewserver.store import Conflict, HistoryPruned
from viewserver.store.changes import append, changes_page, changes_since, prune, read_change
from viewserver.store.engine import Database
from viewserver.store.head import Head, lock_head, read_head
from viewserver.store.network import load


async def stored(database):
    async with database.snapshot() as conn:
        return await load(conn)


async def test_a_change_is_read_back_as_it_was_written(database):
    value = {
        "mac": "d0:0d:00:00:00:01",
        "private_ip": "10.0.0.5",
        "groups": ["sg-1"],
        "n": None,
        "text": 'é"\\ ☃',
        "port": 0,
    }
    written = await commit(
        database,
        NewChange(
            "token:1",
            (Recorded("instance", "i-1", None, value), Recorded("group", "sg-1", {"a": 1}, None)),
            ("nc-1", "nc-2"),
            7,
        ),
    )
    assert (written.revision, written.epoch, written.at.tzinfo, written.caused_by) == (1, 1, UTC, 7)
    async with database.snapshot() as conn:
        assert await read_change(conn, 1) == written
        assert await read_change(conn, 2) is None
        assert await changes_since(conn, 0) == [written]
        assert await read_head(conn) == Head(1, 1)
        found = await load(conn)
    assert found.objects == [("instance", "i-1", value)]
    assert found.versions == {"nc-1": 1, "nc-2": 1}
    assert (found.epoch, found.revision) == (1, 1)


async def test_objects_are_replaced_and_deleted(database):
    await commit(database, new(instance(1), instance(2), instance(3)))
    await commit(
        database, new(instance(1, groups=["sg-1"]), Recorded("instance", "i-00000002", {}, None), affected=("nc-2",))
    )
    found = await stored(database)
    assert {name: value.get("groups") for _, name, value in found.objects} == {
        "i-00000001": ["sg-1"],
        "i-00000003": None,
    }
    assert found.versions == {"nc-1": 1, "nc-2": 2}


async def test_a_change_that_touches_no_node_and_no_object_is_still_a_revision(database):
    await commit(database, new(affected=()))
    found = await stored(database)
    assert (found.revision, found.objects, found.versions) == (1, [], {})


async def test_a_refused_transaction_leaves_nothing(database):
    async def refuse():
        async with database.begin() as conn:
            await append(conn, await lock_head(conn), new(instance(1)))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await refuse()
    async with database.snapshot() as conn:
        assert await read_head(conn) == Head(1, 0)
        assert await changes_since(conn, 0) == []
        assert (await load(conn)).objects == []


async def test_two_instances_cannot_have_one_mac_or_address(database):
    await commit(database, new(instance(1)))
    for taken in ({"mac": "d0:0d:1"}, {"private_ip": "10.1"}):
        with pytest.raises(Conflict, match="conflicts with existing key"):
            await commit(database, new(instance(2, **taken)))
    assert (await stored(database)).revision == 1


async def test_one_change_may_swap_two_addresses(database):
    await commit(database, new(instance(1), instance(2)))
    await commit(database, new(instance(1, private_ip="10.2"), instance(2, private_ip="10.1")))
    assert {value["private_ip"] for _, _, value in (await stored(database)).objects} == {"10.1", "10.2"}


async def test_one_change_may_hand_an_address_on(database):
    await commit(database, new(instance(1)))
    await commit(
        database, new(Recorded("instance", "i-00000001", {}, None), instance(2, mac="d0:0d:1", private_ip="10.1"))
    )
    assert [name for _, name, _ in (await stored(database)).objects] == ["i-00000002"]


async def test_a_writer_that_did_not_lock_the_head_is_refused(database):
    await commit(database, new())
    for stale in (Head(1, 0), Head(2, 1), Head(1, 5)):
        with pytest.raises(Conflict):
            async with database.begin() as conn:
                await append(conn, stale, new(instance(1)))
    found = await stored(database)
    assert (found.revision, found.objects) == (1, [])


async def test_revisions_of_many_writers_have_no_gap_and_appear_in_commit_order(database_url, database):
    """A reader that keeps only the highest revision it has seen misses none, on any of its looks."""
    writers, each = 8, 15

    async def write(pool, writer):
        for number in range(each):
            await commit(pool, new(instance(writer * each + number), affected=(f"nc-{writer}",)))

    async def follow():
        seen = []
        while len(seen) < writers * each:
            async with database.snapshot() as conn:
                seen += [
                    change.revision for change in await changes_since(conn, len(seen))
                ]  # raises where one is missing
        return seen

    async with Database(database_url) as other, asyncio.timeout(60), asyncio.TaskGroup() as group:
        following = group.create_task(follow())
        for writer in range(writers):
            group.create_task(write(other if writer % 2 else database, writer))
    assert following.result() == list(range(1, writers * each + 1))
    found = await stored(database)
    async with database.snapshot() as conn:
        changes = await changes_since(conn, 0)
    assert [change.at for change in changes] == sorted(change.at for change in changes)
    assert found.versions == {change.affected[0]: change.revision for change in changes}


async def test_a_load_sees_one_revision_only(database):
    """Rows, head and versions agree, whatever commits between its statements."""

    async def write():
        for number in range(40):
            await commit(database, new(instance(number)))

    writing = asyncio.create_task(write())
    while not writing.done():
        found = await stored(database)
        assert len(found.objects) == found.revision
        assert found.versions == ({"nc-1": found.revision} if found.revision else {})
    await writing


async def test_a_load_outside_a_snapshot_is_refused(database):
    with pytest.raises(ValueError, match="snapshot"):
        async with database.begin() as conn:
            await load(conn)


async def test_pages_go_back_from_the_newest(database):
    for number in range(5):
        await commit(database, new(instance(number)))
    async with database.snapshot() as conn:
        assert [change.revision for change in await changes_page(conn, limit=2)] == [5, 4]
        assert [change.revision for change in await changes_page(conn, before=4, limit=2)] == [3, 2]
        assert [change.revision for change in await changes_since(conn, 1, limit=2)] == [2, 3]


async def test_pruning_keeps_every_nodes_version(database):
    for number in range(6):
        await commit(database, new(instance(number), affected=(f"nc-{number % 4}",)))
    before = await stored(database)
    for through, gone in ((2, 2), (4, 2), (4, 0), (100, 1)):
        async with database.begin() as conn:
            assert await prune(conn, through) == gone
        assert await stored(database) == before
    async with database.snapshot() as conn:
        assert [change.revision for change in await changes_since(conn, 5)] == [6]
        assert await changes_since(conn, 6) == []
        with pytest.raises(HistoryPruned, match="begin at 6; 3 was"):
            await changes_since(conn, 2)


async def test_an_update_of_the_permitted_size_is_one_change(database):
    operations = tuple(instance(number, groups=["sg-1", "sg-2"]) for number in range(10_000))
    written = await commit(database, new(*operations))
    async with database.snapshot() as conn:
        assert await read_change(conn, 1) == written
        assert len((await load(conn)).objects) == 10_000


async def test_a_notification_names_the_revision(database, database_url):
    heard = asyncio.Queue()
    listener = await asyncpg.connect(database_url)
    try:
        await listener.add_listener("verge_changes", lambda *notice: heard.put_nowait(notice[2:]))
        await commit(database, new())
        async with asyncio.timeout(10):
            assert await heard.get() == ("verge_changes", "1")
    finally:
        await listener.close()
