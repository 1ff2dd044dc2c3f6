"""Who calls, and what they may do.

A token is 256 random bits, shown once. Postgres holds HMAC-SHA-256 of it under a key that Postgres does not hold, so a copy
of the database opens nothing. Every replica keeps the valid tokens in memory; a request costs one HMAC and one look-up.
"""

import hmac
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, cast

from viewserver.errors import Forbidden, Unauthenticated
from viewserver.settings import Settings
from viewserver.store import Conflict
from viewserver.store.engine import Database
from viewserver.store.settings import settle_setting
from viewserver.store.tokens import StoredToken, add_token, load_tokens, revoke_token

Role = Literal["cloud", "operator", "node", "admin"]
ROLES: Final[tuple[Role, ...]] = ("cloud", "operator", "node", "admin")
FINGERPRINT: Final = "token_key_fingerprint"


class KeyMismatch(Exception):
    """The token key is not the one this database's tokens were made with."""


@dataclass(frozen=True, slots=True)
class Caller:
    token_id: str
    role: Role
    node: str | None
    name: str | None

    @property
    def actor(self) -> str:
        """How change records name the caller."""
        return self.name or f"{self.role} {self.token_id}"

    def may(self, *roles: Role) -> None:
        """Raises Forbidden. An admin may do everything; an operator all that a cloud may."""
        if self.role == "admin" or self.role in roles or (self.role == "operator" and "cloud" in roles):
            return
        raise Forbidden(f"a token of role {self.role} may not do this; it takes {' or '.join(roles) or 'admin'}")

    def may_speak_for(self, node: str) -> None:
        """Raises Forbidden, for a node that exists as for one that does not."""
        if self.role == "node" and self.node != node:
            raise Forbidden("a node's token is good for its own view and report only")


class Credentials:
    def __init__(self, database: Database, key: bytes) -> None:
        self.database = database
        self._key = key
        self._callers: dict[bytes, Caller] = {}

    @classmethod
    async def open(cls, database: Database, settings: Settings) -> "Credentials":
        """Load the tokens; on a new database write an admin token to `data_dir/admin.token`. Raises KeyMismatch."""
        key = _token_key(settings)
        fingerprint = hmac.digest(key, b"fingerprint", "sha256").hex()[:16]
        credentials = cls(database, key)
        async with database.begin() as conn:
            known = await settle_setting(conn, FINGERPRINT, fingerprint)
        if known != fingerprint:
            raise KeyMismatch(
                f"the tokens in this database were made with another key (fingerprint {known}, this one is {fingerprint}): "
                f"give the other replicas' key by VERGE_TOKEN_KEY, or put it into {settings.data_dir / 'token.key'}"
            )
        await credentials.reload()
        if not any(caller.role == "admin" for caller in credentials._callers.values()):
            # Written before it is valid: dying in between leaves a file that the next start replaces, not a locked door.
            token = _new_token()
            _write_secret(settings.data_dir / "admin.token", token + "\n")
            await credentials.add("admin", name="first admin", token=token)
        return credentials

    async def reload(self) -> None:
        async with self.database.begin() as conn:
            tokens = await load_tokens(conn)
        self._callers = {bytes(token.hash): _caller(token) for token in tokens}

    def caller_of(self, authorization: bytes | None) -> Caller:
        """`caller`, of a header as it came."""
        return self.caller(None if authorization is None else authorization.decode("latin-1"))

    def caller(self, authorization: str | None) -> Caller:
        """Whose token this Authorization header carries. Raises Unauthenticated."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated("a token is needed: Authorization: Bearer …")
        caller = self._callers.get(self._hash(token.strip()))
        if caller is None:
            raise Unauthenticated("this token is not known, or was revoked")
        return caller

    async def add(
        self, role: Role, node: str | None = None, name: str | None = None, token: str | None = None
    ) -> tuple[str, str]:
        """A new token: (its id, the token itself, which is kept nowhere)."""
        token = token or _new_token()
        while True:
            token_id = f"t-{secrets.token_hex(6)}"
            try:
                async with self.database.begin() as conn:
                    await add_token(conn, token_id, role, self._hash(token), node=node, name=name)
            except Conflict:
                continue
            await self.reload()
            return token_id, token

    async def revoke(self, token_id: str) -> bool:
        """False if there is no such token. In force on this replica at once, on the others within moments."""
        async with self.database.begin() as conn:
            found = await revoke_token(conn, token_id)
        await self.reload()
        return found

    async def listed(self) -> list[dict[str, Any]]:
        async with self.database.begin() as conn:
            tokens = await load_tokens(conn)
        return [
            {
                "id": one.id,
                "role": one.role,
                "node": one.node,
                "name": one.name,
                "created_at": one.created_at.isoformat(),
            }
            for one in tokens
        ]

    def _hash(self, token: str) -> bytes:
        return hmac.digest(self._key, token.encode(), sha256)


def _new_token() -> str:
    return f"verge_{secrets.token_urlsafe(32)}"


def _caller(token: StoredToken) -> Caller:
    return Caller(token.id, cast("Role", token.role), token.node, token.name)


def _token_key(settings: Settings) -> bytes:
    if settings.token_key is not None:
        return bytes.fromhex(settings.token_key)
    path = settings.data_dir / "token.key"
    if not path.exists():
        _write_secret(path, secrets.token_hex(32) + "\n")
    return bytes.fromhex(path.read_text().strip())


def _write_secret(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)
