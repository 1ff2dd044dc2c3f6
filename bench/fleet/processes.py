"""The processes of a run: view server, agents, floor. Each ends with its block."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg
import httpx

from bench.fleet.machine import cpu_s, descendants, resident_kb

ROOT = Path(__file__).parents[2]
_ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("VERGE_", "DATABASE_"))},
    "PYTHONPATH": f"{ROOT / 'services'}:{ROOT}",
}


class Spoken:
    """A process that is told something by a line of JSON and answers by a line."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_ENVIRONMENT, text=True
        )
        self.pid = self._process.pid

    def tell(self, **what: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Raises RuntimeError when the process has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, **what: Any) -> dict[str, Any]:
        self.tell(**what)
        return self.hear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


class ViewServer:
    """`verge-viewserver serve` on a database of its own."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self.directory = directory
        self.database_url = database_url
        self.ready_s = 0.0
        self._log = directory / "server.log"

    def start(self) -> Self:
        began = time.monotonic()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "viewserver", "serve"),
                    *("--bind", "127.0.0.1:0", "--data-dir", str(self.directory)),
                    *("--database-url", self.database_url, "--log-level", "warning"),
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                env=_ENVIRONMENT,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if "ready " not in line:
            raise RuntimeError(f"the view server did not start: {self._log.read_text()[-2000:]}")
        self.ready_s = time.monotonic() - began
        self.url = line.rpartition(" ")[2].strip()
        self.port = int(self.url.rpartition(":")[2])
        self.pid = self._process.pid
        token = (self.directory / "admin.token").read_text().strip()
        self.headers = {"authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=self.url, headers=self.headers, timeout=120, trust_env=False)
        return self

    def stop(self) -> None:
        self.http.close()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    def restart(self) -> None:
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        if error is not None:
            sys.stderr.write(self._log.read_text()[-2000:])

    # --- asking ---

    def metric(self, name: str) -> float:
        """One sample of GET /metrics, by its name with labels."""
        text = self.http.get("/metrics").raise_for_status().text
        return float(next(line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(name + " ")))

    def load(self, model: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        """The whole model by PUT /v1/model: (seconds, the answer)."""
        body = json.dumps(model)
        began = time.monotonic()
        answer = self.http.put("/v1/model", content=body, headers={"content-type": "application/json"})
        took = time.monotonic() - began
        answer.raise_for_status()
        return took, answer.json()

    async def tokens(self, nodes: list[str]) -> list[tuple[str, str]]:
        """A token for each node, written into Postgres in one transaction and not by ten thousand requests."""
        key = bytes.fromhex((self.directory / "token.key").read_text().strip())
        made = [(node, f"verge_{secrets.token_urlsafe(32)}") for node in nodes]
        rows = [
            (f"t-{secrets.token_hex(6)}", "node", node, hmac.digest(key, token.encode(), "sha256"))
            for node, token in made
        ]
        conn = await asyncpg.connect(self.database_url)
        async with conn.transaction():
            await conn.executemany("INSERT INTO tokens (id, role, node, hash) VALUES ($1, $2, $3, $4)", rows)
            await conn.execute("SELECT pg_notify('verge_tokens', 'all')")
        await conn.close()
        with httpx.Client(base_url=self.url, trust_env=False) as client:
            for node, token in (made[0], made[-1]):
                known = {"authorization": f"Bearer {token}"}
                while client.get(f"/v1/nodes/{node}/view", headers=known).status_code == 401:
                    await asyncio.sleep(0.1)
        return made

    # --- what it costs ---

    def resident_kb(self) -> int:
        return resident_kb(self.pid)

    def cpu_s(self) -> float:
        return cpu_s(self.pid)


def postgres_cpu_s() -> float:
    """Of the Postgres that this process started."""
    return sum(cpu_s(pid) for pid in descendants(os.getpid()) if _command(pid) == "postgres")


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except FileNotFoundError:
        return ""


@contextmanager
def agents(server_port: int, nodes: list[tuple[str, str]], reporting: str) -> Iterator[Spoken]:
    """Connected, each with its first view."""
    with Spoken("bench.fleet.agents") as fleet:
        fleet.ask(do="connect", host="127.0.0.1", port=server_port, nodes=nodes, reporting=reporting)
        yield fleet
