"""A view server that knows the cloud of tests.unit.viewserver.clouds, and the `verge` command to ask it with."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.viewserver.serving import serving
from verge.console.__main__ import main

ROOT = Path(__file__).parents[3]


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def rows(self):
        return [line.split() for line in self.out.splitlines()]


@dataclass
class Verge:
    """The command, with the credentials of an admin unless told."""

    url: str
    token: str
    directory: Path
    capsys: pytest.CaptureFixture

    async def __call__(self, *arguments, token=None):
        """In this process, in a thread, while the server answers on the loop."""
        given = ["--url", self.url, "--token", token or self.token, *map(str, arguments)]
        try:
            code = await asyncio.to_thread(main, given)
        except SystemExit as left:
            code = left.code
        out, err = self.capsys.readouterr()
        assert "Traceback" not in err
        return Ended(int(code), out, err)

    async def process(self, *arguments, stdin=b"", **environment):
        """As a process of its own that has the server and the token from its environment."""
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
        child = await self.started(*arguments, **pipes, **environment)
        async with asyncio.timeout(60):
            out, err = await child.communicate(stdin)
        return Ended(child.returncode, out.decode(), err.decode())

    async def started(self, *arguments, stdin, stdout, stderr, **environment):
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "services"),
            "VERGE_URL": self.url,
            "VERGE_TOKEN": self.token,
            "TERM": "xterm",
            **environment,
        }
        command = [sys.executable, "-m", "verge.console", *map(str, arguments)]
        return await asyncio.create_subprocess_exec(
            *command, stdin=stdin, stdout=stdout, stderr=stderr, env=environment
        )

    async def shell(self, shell, script, directory):
        """A script, in a shell that finds the command in `directory`."""
        environment = {
            "PATH": f"{directory}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "services"),
            "VERGE_URL": self.url,
            "VERGE_TOKEN": self.token,
            "HOME": str(self.directory),
        }
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(shell, "-c", script, stdout=pipe, stderr=pipe, env=environment)
        async with asyncio.timeout(60):
            out, err = await child.communicate()
        return Ended(child.returncode, out.decode(), err.decode())

    def file(self, *operations, name="update.json"):
        path = self.directory / name
        path.write_text(json.dumps({"operations": list(operations)}))
        return path


@pytest_asyncio.fixture
async def cloud(database_url, tmp_path):
    """Nodes here do not poll between their reports; they are not to count as silent for that."""
    async with serving(database_url, tmp_path, silence_grace_s=3600) as found:
        await found.cloud()
        yield found


@pytest.fixture
def verge(cloud, tmp_path, capsys):
    return Verge(cloud.url, cloud.admin_token, tmp_path, capsys)
