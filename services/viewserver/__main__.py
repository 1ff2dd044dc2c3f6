"""`verge-viewserver serve | migrate | raise-epoch | openapi`."""

import argparse
import asyncio
import json
import logging
import os
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import cast

import uvicorn

from verge.supervisor import notify
from viewserver.api.admission import RESERVED, Admission, descriptors, most_connections
from viewserver.api.edge import edge_of
from viewserver.app import Application, create_routes, running
from viewserver.credentials import KeyMismatch
from viewserver.settings import Settings
from viewserver.store import PostgresFailed, PostgresMissing, StoreError
from viewserver.store.embedded import EmbeddedPostgres
from viewserver.store.engine import Database
from viewserver.store.epoch import raise_epoch
from viewserver.store.migrate import migrate

log = logging.getLogger(__name__)

FIRST_PASSED_FD = 3
"""sd_listen_fds(3)."""


_GRACEFUL_S = 10
"""For requests that are being worked on when the server stops, such as commits."""
_NUMBERS: dict[str, tuple[str, type[float] | type[int], str]] = {
    "detail_hours": (
        "VERGE_DETAIL_HOURS",
        float,
        "how long it is kept when each node was told and had applied a change; an hour at least",
    ),
    "detail_mb": ("VERGE_DETAIL_MB", int, "how much of the disk that may take, beyond the last hour's"),
    "records_days": ("VERGE_RECORDS_DAYS", float, "how long summaries of changes, lag and happenings are kept"),
    "max_connections": (
        "VERGE_MAX_CONNECTIONS",
        int,
        "more are answered 503; without it, as many as there are file descriptors for",
    ),
    "drain_s": (
        "VERGE_DRAIN_S",
        float,
        "on SIGTERM, how long /readyz says 503 before connections are closed, for a balancer to notice",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    logging.basicConfig(
        level=given.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if given.command == "openapi":
        print(json.dumps(create_routes().openapi(), indent=1, sort_keys=True))
        return 0
    settings = Settings(
        binds=tuple(given.bind) if given.command == "serve" else (),
        data_dir=given.data_dir,
        database_url=given.database_url,
        token_key=os.environ.get("VERGE_TOKEN_KEY"),
        **({name: getattr(given, name) for name in _NUMBERS} if given.command == "serve" else {}),
    )
    run = {"serve": _serve, "migrate": _migrate, "raise-epoch": _raise_epoch}[given.command]
    try:
        import uvloop

        return uvloop.run(run(settings))
    except (StoreError, KeyMismatch, OSError, ValueError) as error:
        kind = "" if isinstance(error, (PostgresMissing, PostgresFailed, KeyMismatch)) else f"{type(error).__name__}: "
        print(f"verge-viewserver: {kind}{error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="verge-viewserver", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve the HTTP API")
    serve.add_argument(
        "--bind",
        action="append",
        help="HOST:PORT (port 0 picks a free one) or unix:PATH; may be given several times (VERGE_BIND, by spaces)",
    )
    for name, (variable, kind, text) in _NUMBERS.items():
        serve.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=os.environ.get(variable) or getattr(Settings(), name),
            help=f"{text} (%(default)s; {variable})",
        )
    for name, text in (
        ("migrate", "bring the database's tables up to date"),
        ("raise-epoch", "after a restore in place"),
    ):
        commands.add_parser(name, help=text)
    commands.add_parser("openapi", help="print the OpenAPI document")
    for command in commands.choices.values():
        command.add_argument(
            "--data-dir", type=Path, default=Path(os.environ.get("VERGE_DATA_DIR", "data")), help="VERGE_DATA_DIR"
        )
        command.add_argument(
            "--database-url",
            default=os.environ.get("DATABASE_URL") or None,
            help="DATABASE_URL; without it an embedded Postgres runs in the data directory",
        )
        command.add_argument("--log-level", default=os.environ.get("VERGE_LOG_LEVEL", "info"))
        command.set_defaults(bind=None)
    parser.set_defaults(bind=None)
    return _Defaulted(parser)  # type: ignore[return-value]


class _Defaulted:
    """argparse appends to a default list; this one is replaced."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser

    def parse_args(self, arguments: list[str] | None) -> argparse.Namespace:
        given = self._parser.parse_args(arguments)
        if not given.bind:
            given.bind = os.environ.get("VERGE_BIND", "127.0.0.1:8470").split()
        return given


async def _serve(settings: Settings) -> int:
    available = descriptors()
    most = most_connections(settings.max_connections, available)
    log.info("connections at most=%d descriptors=%d reserved=%d", most, available, RESERVED)
    sockets = [*(_listening(bind) for bind in settings.binds), *_passed_sockets()]
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    async with running(settings) as application:
        await _Uvicorn(configured(application, most), application).serve(sockets=sockets)
    return 0


def configured(application: Application, most: int) -> uvicorn.Config:
    """Connections beyond `most` are refused."""
    return uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        http=cast("type[asyncio.Protocol]", Admission(edge_of(application), most)),
        ws="none",
        lifespan="off",
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACEFUL_S,
        backlog=4096,
    )


class _Uvicorn(uvicorn.Server):
    """Says when it is ready. On SIGTERM or SIGINT it takes its leave so that nobody sees an error:

    not ready ── `drain_s` ── parked polls and barriers answered ── no new connections ── what is in work is finished ── end

    From the second step on each answer closes its connection. A second signal cuts the first step short.
    """

    def __init__(self, config: uvicorn.Config, application: Application) -> None:
        super().__init__(config)
        self.application = application

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets=sockets)
        for bound in sockets or []:
            print(f"verge-viewserver ready {_address(bound)}", flush=True)
        notify("READY=1")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Handled: the process ends by returning, with exit code 0."""
        self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        if self.application.leaving or self.application.server.settings.drain_s <= 0:
            self._drain()
        else:
            self._loop.call_later(self.application.server.settings.drain_s, self._drain)
        self.application.leaving = True

    def _drain(self) -> None:
        if self.should_exit:
            return
        notify("STOPPING=1")
        state = self.server_state
        closing = [(b"connection", b"close")]
        self.config.encoded_headers += closing
        state.default_headers = [*state.default_headers, *closing]
        for connection in state.connections:
            if connection.cycle is not None and not connection.cycle.response_complete:  # type: ignore[union-attr]
                connection.cycle.keep_alive = False  # type: ignore[union-attr]
        replica = self.application.server.replica
        replica.views.close()
        replica.progress.close()
        replica.advances.waiting.close()
        self.should_exit = True


def _listening(bind: str) -> socket.socket:
    if bind.startswith("unix:"):
        path = Path(bind.removeprefix("unix:"))
        path.unlink(missing_ok=True)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        bound.bind(str(path))
        path.chmod(0o660)
    else:
        host, colon, port = bind.rpartition(":")
        if not colon or not port.isdigit():
            raise ValueError(f"--bind {bind}: must be HOST:PORT or unix:PATH")
        bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host.strip("[]"), int(port)))
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {bind}: {error.strerror}") from error
    bound.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    return bound


def _passed_sockets() -> list[socket.socket]:
    """Sockets that the parent opened (systemd's protocol), perhaps in another network namespace."""
    if os.environ.get("LISTEN_PID") not in (None, "", str(os.getpid())):
        return []
    count = int(os.environ.get("LISTEN_FDS") or 0)
    return [socket.socket(fileno=FIRST_PASSED_FD + index) for index in range(count)]


def _address(bound: socket.socket) -> str:
    if bound.family == socket.AF_UNIX:
        return f"unix:{bound.getsockname()}"
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _migrate(settings: Settings) -> int:
    if settings.database_url is not None:
        await migrate(settings.database_url)
    else:
        async with EmbeddedPostgres(settings.data_dir) as postgres:
            await migrate(postgres.dsn)
    return 0


async def _raise_epoch(settings: Settings) -> int:
    if settings.database_url is None:
        raise ValueError("raise-epoch takes --database-url: it is for a database that was restored in place")
    async with Database(settings.database_url) as database, database.begin() as conn:
        head = await raise_epoch(conn, "asked for by an operator")
    print(f"epoch {head.epoch} at revision {head.revision}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
