"""What a database's owner may do is all that the records take: many clouds' Postgres gives no more."""

from datetime import timedelta

from sqlalchemy import text

from viewserver.store.clock import ServerClock
from viewserver.store.engine import Database
from viewserver.store.migrate import migrate
from viewserver.store.records.partitions import DETAIL, LASTING, expire, prepare

_RIGHTS = text("""
SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls,
       EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid)
FROM pg_roles WHERE rolname = current_user
""")


async def test_an_owner_without_further_rights_migrates_makes_partitions_and_drops_them(empty_url):
    for _ in range(2):
        await migrate(empty_url)
    async with Database(empty_url) as database:
        now = (await ServerClock.measure(database)).now()
        async with database.begin() as conn:
            assert tuple((await conn.execute(_RIGHTS)).one()) == (False,) * 5
            assert await prepare(conn, now) == 0
            assert await prepare(conn, now + timedelta(days=60)) > 0
        for divided in (*DETAIL, *LASTING):
            async with database.begin() as conn:
                assert await expire(conn, divided, now + timedelta(days=31)) > 0
