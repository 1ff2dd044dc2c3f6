"""Answers remembered by idempotency key, for a day.

Recall under the head lock, before validating, and remember in the transaction that writes: of two requests with the
same key, whichever comes second then finds the first one's answer.
"""

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

_KEPT = "interval '24 hours'"

_RECALL = text(
    f"SELECT body_digest, answer FROM idempotency WHERE actor = :actor AND key = :key AND at > clock_timestamp() - {_KEPT}"  # noqa: S608
).columns(answer=JSONB)
_REMEMBER = text(f"""
INSERT INTO idempotency AS known (actor, key, body_digest, answer)
VALUES (:actor, :key, :body_digest, CAST(CAST(:answer AS text) AS jsonb))
ON CONFLICT (actor, key) DO UPDATE SET body_digest = excluded.body_digest, answer = excluded.answer, at = excluded.at
WHERE known.at <= clock_timestamp() - {_KEPT}
RETURNING 1
""")  # noqa: S608
_FORGET = text(f"DELETE FROM idempotency WHERE at <= clock_timestamp() - {_KEPT}")  # noqa: S608


@dataclass(frozen=True, slots=True)
class Remembered:
    body_digest: bytes
    """Another body under the same key is the caller's mistake."""
    answer: Any


async def recall(conn: AsyncConnection, actor: str, key: str) -> Remembered | None:
    row = (await conn.execute(_RECALL, {"actor": actor, "key": key})).one_or_none()
    return None if row is None else Remembered(row.body_digest, row.answer)


async def remember(conn: AsyncConnection, actor: str, key: str, body_digest: bytes, answer: Any) -> bool:
    """Keep the answer, unless the key has one already: then False, and that one stays."""
    row = {"actor": actor, "key": key, "body_digest": body_digest, "answer": orjson.dumps(answer).decode()}
    return (await conn.execute(_REMEMBER, row)).one_or_none() is not None


async def forget_expired(conn: AsyncConnection) -> int:
    return (await conn.execute(_FORGET)).rowcount
