"""Changes to write in tests."""

from typing import Any

from viewserver.model.change import Change, NewChange, Recorded
from viewserver.store.changes import append
from viewserver.store.engine import Database
from viewserver.store.head import lock_head


def instance(number: int, **value: Any) -> Recorded:
    return Recorded(
        "instance", f"i-{number:08x}", None, {"mac": f"d0:0d:{number}", "private_ip": f"10.{number}", **value}
    )


def new(*operations: Recorded, affected: tuple[str, ...] = ("nc-1",), actor: str = "cloud") -> NewChange:
    return NewChange(actor, operations, affected)


async def commit(database: Database, change: NewChange) -> Change:
    async with database.begin() as conn:
        return await append(conn, await lock_head(conn), change)
