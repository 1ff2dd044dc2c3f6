"""A view server's store without the view server: owns a Postgres, writes, and says which writes were acknowledged.

    python owner.py DIRECTORY [--undying]

`--undying`: Postgres is not told when its owner dies, as where a security module takes that notice away.
"""

import asyncio
import contextlib
import sys

from tests.integration.store.changing import commit, instance, new
from viewserver.store import Unavailable
from viewserver.store.embedded import EmbeddedPostgres, account
from viewserver.store.engine import Database
from viewserver.store.migrate import migrate


async def own(directory: str) -> None:
    async with EmbeddedPostgres(directory) as postgres, Database(postgres.dsn) as database:
        await migrate(postgres.dsn)
        print("postgres", postgres.pid, flush=True)

        async def write() -> None:
            while True:
                with contextlib.suppress(Unavailable):
                    change = await commit(database, new(instance(next(numbers))))
                    print("committed", change.revision, change.operations[0].id, flush=True)

        numbers = iter(range(1_000_000))
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(write())


if __name__ == "__main__":
    if "--undying" in sys.argv:
        told = account._setpriv
        account._setpriv = lambda who: [word for word in told(who) if word not in {"--pdeathsig", "INT"}]
    asyncio.run(own(sys.argv[1]))
