"""`verge-viewserver serve` as a process of its own, to be stopped and killed."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


class Process:
    def __init__(self, data_dir, database_url=None):
        self.data_dir, self.database_url = data_dir, database_url
        self.url = ""
        self.bind = "127.0.0.1:0"
        self.child = None

    async def start(self):
        arguments = [
            sys.executable,
            "-m",
            "viewserver",
            "serve",
            "--bind",
            self.bind,
            "--data-dir",
            str(self.data_dir),
        ]
        arguments += ["--database-url", self.database_url] if self.database_url else []
        environment = {
            name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "VERGE_TOKEN_KEY")
        }
        environment["PYTHONPATH"] = f"{ROOT / 'services'}:{ROOT}"
        with (self.data_dir / "stderr").open("ab") as log:
            self.child = await asyncio.create_subprocess_exec(
                *arguments, stdout=asyncio.subprocess.PIPE, stderr=log, env=environment
            )
        async with asyncio.timeout(60):
            line = (await self.child.stdout.readline()).decode()
        found = re.fullmatch(r"verge-viewserver ready (http://127\.0\.0\.1:\d+)\n", line)
        assert found, f"{line!r}: {self.log[-2000:]}"
        self.url = found[1]
        return self

    async def start_at(self, url):
        """Where another one was."""
        self.bind = url.removeprefix("http://")
        return await self.start()

    @property
    def token(self):
        return (self.data_dir / "admin.token").read_text().strip()

    @property
    def log(self):
        return (self.data_dir / "stderr").read_text()

    async def kill(self):
        self.child.kill()
        await self.child.wait()

    async def terminate(self):
        """Its exit code."""
        self.child.terminate()
        async with asyncio.timeout(30):
            return await self.child.wait()

    def kill_postgres(self):
        """The embedded one, as the kernel's OOM killer would."""
        pid = int((self.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        return pid


@contextlib.asynccontextmanager
async def process(data_dir, database_url=None):
    found = Process(data_dir, database_url)
    try:
        yield await found.start()
    finally:
        if found.child is not None and found.child.returncode is None:
            await found.terminate()
