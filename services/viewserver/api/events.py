"""Watching the cloud live: server-sent events."""

import re
from collections.abc import AsyncIterator
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from viewserver.api.context import CallerOf, Server, ServerOf
from viewserver.errors import RequestError
from viewserver.events import stale_whole_seconds, told_to

router = APIRouter(tags=["convergence"])

BEAT_S = 5.0
_REVISION = re.compile(r"\d{1,18}", re.ASCII)


@router.get(
    "/v1/events",
    summary="Revisions, nodes and convergence, live",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def get_events(
    request: Request,
    server: ServerOf,
    caller: CallerOf,
    last_event_id: Annotated[
        str | None, Header(description="The last revision heard of: later ones are told first.")
    ] = None,
) -> StreamingResponse:
    """Server-sent events; `id` is the revision. `hello` and all `nodes` first, then `revision`, `nodes` whose standing
    changed, `progress` of a change, `convergence` of the cloud: a few times a second at most, coalesced. A `beat` every
    five seconds of silence. Ends when the server stops or the token is revoked."""
    caller.may("operator")
    since = int(last_event_id) if last_event_id is not None and _REVISION.fullmatch(last_event_id) else None
    return StreamingResponse(
        _stream(server, request.headers.get("authorization"), since),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _stream(server: Server, authorization: str | None, since: int | None) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    with server.events.listen(since) as listener:
        async for events in told_to(listener, BEAT_S):
            try:
                server.credentials.caller(authorization)
            except RequestError:
                return
            yield events if events is not None else _beat(server)


def _beat(server: Server) -> bytes:
    body = {"at": server.replica.clock.now(), "stale_s": stale_whole_seconds(server.replica)}
    return b"event: beat\ndata: %s\n\n" % orjson.dumps(body)
