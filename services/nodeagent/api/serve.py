"""Serving the application on its socket, inside the agent's event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from nodeagent.agent import Agent
from nodeagent.api.app import make_app
from nodeagent.api.guard import TcpGuard


class _Server(uvicorn.Server):
    """Without uvicorn's signal handlers and its ten wake-ups a second: the agent has its own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.stopping.wait()


class Api:
    """Serves from construction until `close`."""

    def __init__(self, agent: Agent, listener: socket.socket) -> None:
        app = make_app(agent)
        tcp = listener.family != socket.AF_UNIX
        config = uvicorn.Config(
            TcpGuard(app, lambda: _token(agent.settings.token_file)) if tcp else app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            http="httptools",
            date_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._serving = asyncio.ensure_future(self._server.serve(sockets=[listener]))
        self._path = agent.settings.api.path

    async def started(self) -> None:
        """Until the first request can be answered."""
        while not self._server.started:
            if self._serving.done():
                await self._serving
            await asyncio.sleep(0)

    async def close(self) -> None:
        self._server.stopping.set()
        await self._serving
        if self._path:
            self._path.unlink(missing_ok=True)


def _token(path: Path | None) -> str:
    try:
        return path.read_text().strip() if path else ""
    except OSError:
        return ""
