"""Credentials: who may call, by the keyed hash of a token that is itself kept nowhere."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

CHANNEL = "verge_tokens"


@dataclass(frozen=True, slots=True)
class StoredToken:
    id: str
    role: str
    node: str | None
    """Set for role `node`, and only then."""
    name: str | None
    hash: bytes
    created_at: datetime


_COLUMNS = "id, role, node, name, hash, created_at"
_ADD = text(f"""
WITH added AS (
    INSERT INTO tokens (id, role, node, name, hash) VALUES (:id, :role, :node, :name, :hash) RETURNING {_COLUMNS}
)
SELECT {_COLUMNS}, pg_notify('verge_tokens', id) FROM added
""")  # noqa: S608
_LOAD = text(f"SELECT {_COLUMNS} FROM tokens WHERE revoked_at IS NULL ORDER BY created_at, id")  # noqa: S608
_REVOKE = text("""
UPDATE tokens SET revoked_at = clock_timestamp() WHERE id = :id AND revoked_at IS NULL
RETURNING pg_notify('verge_tokens', id)
""")


async def add_token(
    conn: AsyncConnection,
    token_id: str,
    role: str,
    token_hash: bytes,
    *,
    node: str | None = None,
    name: str | None = None,
) -> StoredToken:
    """Raises Conflict when id or hash is taken, or a node is named for another role than `node`."""
    row = (
        await conn.execute(_ADD, {"id": token_id, "role": role, "node": node, "name": name, "hash": token_hash})
    ).one()
    return StoredToken(row.id, row.role, row.node, row.name, row.hash, row.created_at)


async def load_tokens(conn: AsyncConnection) -> list[StoredToken]:
    """Every token that is valid now, oldest first."""
    return [
        StoredToken(row.id, row.role, row.node, row.name, row.hash, row.created_at) for row in await conn.execute(_LOAD)
    ]


async def revoke_token(conn: AsyncConnection, token_id: str) -> bool:
    """False when there is no such valid token. The row stays, for the records that name it as their actor."""
    return (await conn.execute(_REVOKE, {"id": token_id})).one_or_none() is not None
