"""What is kept of what happened, for how long, and how much of it."""

from dataclasses import replace
from datetime import timedelta

import pytest_asyncio
from sqlalchemy import text

from tests.integration.viewserver.test_records import NODES, get, recorded
from viewserver.store.records.partitions import DETAIL, LASTING, detail_bytes, prepare
from viewserver.upkeep import Upkeep


async def kept(server, table):
    """Rows by the hours since they were told."""
    async with server.application.server.database.begin() as conn:
        counted = text(
            "SELECT CAST(round(extract(epoch FROM clock_timestamp() - at) / 3600) AS int) AS age, count(*) AS rows"
            f" FROM {table} GROUP BY 1"
        )
        return {row.age: row.rows for row in await conn.execute(counted)}


async def aged(server, *tables, hours=0, days=0):
    """A copy of all their rows, of that age."""
    database, past = server.application.server.database, timedelta(hours=hours, days=days)
    async with database.begin() as conn:
        await prepare(conn, server.replica.clock.now() - past)
        for table in tables:
            names = list((await conn.execute(text(f"SELECT * FROM {table} LIMIT 0"))).keys())
            columns = ", ".join(names)
            shown = ", ".join("at - CAST(:past AS interval)" if name == "at" else name for name in names)
            young = "at > clock_timestamp() - interval '20 minutes'"
            await conn.execute(
                text(f"INSERT INTO {table} ({columns}) SELECT {shown} FROM {table} WHERE {young}"), {"past": past}
            )


async def tidy(server, **settings):
    inside = server.application.server
    await Upkeep(inside.database, replace(inside.settings, **settings)).records(server.replica.clock.now())


@pytest_asyncio.fixture
async def full(cloud):
    await cloud.apply(*NODES)
    await recorded(cloud)
    return cloud


async def test_detail_goes_after_its_hours_and_what_lasts_after_its_days(full):
    await aged(full, "answered", hours=5)
    await aged(full, "answered", hours=30)
    await aged(full, "samples", "summaries", days=3)
    await aged(full, "samples", "summaries", days=40)
    assert set(await kept(full, "answered")) == {0, 5, 30}
    await tidy(full)
    assert set(await kept(full, "answered")) == {0, 5}
    for table in ("samples", "summaries"):
        assert set(await kept(full, table)) == {0, 72}
    await tidy(full, detail_hours=2.0, records_days=1.0)
    assert set(await kept(full, "answered")) == {0}
    for table in ("samples", "summaries"):
        assert set(await kept(full, table)) == {0}


async def test_an_hour_of_detail_is_kept_whatever_is_asked_for(full):
    await tidy(full, detail_hours=0.0, detail_mb=0)
    assert await kept(full, "answered") == {0: 3}
    assert (await get(full, "/v1/updates/1"))["applied"] == 3


async def test_over_its_size_the_oldest_detail_goes_early_and_only_as_much_as_must(full, caplog):
    for hours in (5, 10):
        await aged(full, "answered", hours=hours)
    database = full.application.server.database
    async with database.begin() as conn:
        await conn.execute(
            text(
                "INSERT INTO answered SELECT 'nc-' || one, 1, 1, clock_timestamp() - interval '10 hours'"
                " FROM generate_series(1, 20000) AS one"
            )
        )
        before = await detail_bytes(conn)
    assert before > 2 * 2**20
    await tidy(full, detail_mb=1)
    assert set(await kept(full, "answered")) == {0, 5}
    assert "goes early" in caplog.text
    async with database.begin() as conn:
        assert await detail_bytes(conn) < 2**20
    await tidy(full, detail_mb=1)
    assert set(await kept(full, "answered")) == {0, 5}


def test_every_table_of_the_records_is_tidied():
    assert {one.table for one in (*DETAIL, *LASTING)} == {"answered", "enforced", "summaries", "samples", "happenings"}
