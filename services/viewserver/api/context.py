"""What every route needs: the use cases, the caller, the body."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, cast

import orjson
from fastapi import Depends, Request
from fastapi.responses import Response
from pydantic import AfterValidator, AwareDatetime

from viewserver.credentials import Caller, Credentials
from viewserver.errors import Malformed, TooLarge
from viewserver.events import Events
from viewserver.follow import Follower
from viewserver.history import History
from viewserver.model.faults import Fault
from viewserver.replica import Replica
from viewserver.reports import Reports
from viewserver.settings import Settings
from viewserver.store.engine import Database
from viewserver.update import Updates


@dataclass(frozen=True, slots=True)
class Server:
    """One running view server."""

    settings: Settings
    database: Database
    credentials: Credentials
    follower: Follower
    updates: Updates
    reports: Reports
    events: Events
    history: History

    @property
    def replica(self) -> Replica:
        return self.follower.replica


EVER: Final = (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
"""Every time that a parameter may name, in any time zone."""


def _within(at: datetime) -> datetime:
    if not EVER[0] + timedelta(days=1) <= at.replace(tzinfo=UTC) <= EVER[1] - timedelta(days=1):
        raise ValueError("must be a time of the years 1 to 9998")
    return at.astimezone(UTC)


Time = Annotated[AwareDatetime, AfterValidator(_within)]


class Json(Response):
    """JSON that needs no further check: it is made of our own values."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def server_of(request: Request) -> Server:
    return cast("Server", request.app.state.server)


def caller_of(request: Request) -> Caller:
    return server_of(request).credentials.caller(request.headers.get("authorization"))


ServerOf = Annotated[Server, Depends(server_of)]
CallerOf = Annotated[Caller, Depends(caller_of)]


async def read_body(request: Request, limit: int) -> bytes:
    """Raises TooLarge as soon as that is clear."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise TooLarge(f"the body has {declared} bytes; the limit is {limit}")
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"the body has more than {limit} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def parse_json(body: bytes) -> Any:
    """Raises Malformed for what is not JSON in UTF-8, or holds a NUL, which Postgres's JSON cannot."""
    if b"\\u0000" in body:
        raise Malformed((Fault((), "must not contain NUL characters"),))
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as wrong:
        raise Malformed((Fault((), f"is not JSON: {wrong}"),)) from wrong
