"""Single values that all replicas share, by name."""

from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

_GET = text("SELECT value FROM settings WHERE key = :key").columns(value=JSONB)
_PUT = text("""
INSERT INTO settings (key, value) VALUES (:key, CAST(CAST(:value AS text) AS jsonb))
ON CONFLICT (key) DO UPDATE SET value = excluded.value
""")
# The update that changes nothing takes the row's lock, so the value comes back also when another replica, whose
# commit this one waited for, was first.
_SETTLE = text("""
INSERT INTO settings (key, value) VALUES (:key, CAST(CAST(:value AS text) AS jsonb))
ON CONFLICT (key) DO UPDATE SET value = settings.value
RETURNING value
""").columns(value=JSONB)


async def get_setting(conn: AsyncConnection, key: str) -> Any | None:
    row = (await conn.execute(_GET, {"key": key})).one_or_none()
    return None if row is None else row.value


async def put_setting(conn: AsyncConnection, key: str, value: Any) -> None:
    await conn.execute(_PUT, {"key": key, "value": orjson.dumps(value).decode()})


async def settle_setting(conn: AsyncConnection, key: str, proposed: Any) -> Any:
    """The value of `key`: what is there, else `proposed`. Of several replicas that start at once, one has its way."""
    return (await conn.execute(_SETTLE, {"key": key, "value": orjson.dumps(proposed).decode()})).one().value
