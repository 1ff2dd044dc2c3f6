"""`verge watch`, `verge changes --follow`: live, in a pipe and on a terminal, through a restart of the server."""

import asyncio
import contextlib
import json
import signal

from tests.integration.console.test_operating import on_terminal
from tests.integration.viewserver.serving import until
from tests.unit.viewserver.clouds import changed

NODES = ("nc-1", "nc-2", "nc-3")


class Piped:
    """A command whose lines are read as they come."""

    def __init__(self, child):
        self.child, self.lines, self.errors = child, [], []
        streams = ((child.stdout, self.lines), (child.stderr, self.errors))
        self.tasks = [asyncio.ensure_future(self._read(*each)) for each in streams]

    async def _read(self, stream, lines):
        while line := await stream.readline():
            lines.append(line.decode().rstrip("\n"))

    def has(self, text):
        return any(text in line for line in self.lines)


@contextlib.asynccontextmanager
async def piped(verge, *arguments):
    pipe = asyncio.subprocess.PIPE
    child = await verge.started(*arguments, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    found = Piped(child)
    try:
        yield found
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGINT)
        await child.wait()
        await asyncio.gather(*found.tasks)


async def test_changes_and_states_are_told_in_a_pipe(cloud, verge):
    await cloud.apply("nc-1", "nc-2")
    async with (
        piped(verge, "watch") as watch,
        piped(verge, "changes", "--follow", "--object", "instance/i-app") as follow,
    ):
        await until(lambda: watch.has("revision 1  3 nodes: 2 converged · 1 never-seen"))
        await until(lambda: any(line.startswith("1  ") for line in follow.lines))
        await cloud.update(changed("i-app", account="bob"))
        await until(lambda: watch.has("nc-1 converged -> lagging"))
        await cloud.apply("nc-1")
        await until(lambda: watch.has("revision 2 is in force on 1 node after "))
        await until(lambda: watch.has("nc-1 lagging -> converged"))
        await cloud.update(changed("i-web", account="bob"))
        await cloud.update(changed("i-app", account="cleo"))
        await until(lambda: len(follow.lines) == 3)
    assert watch.has("revision 2 by ")
    assert watch.has(": instances/i-app; affects 1 node")
    assert not [line for line in (*watch.lines, *follow.lines) if "\x1b" in line]
    assert [line.split()[0] for line in follow.lines] == ["1", "2", "4"]
    assert follow.child.returncode == watch.child.returncode == 130


async def test_a_broken_stream_is_taken_up_again(cloud, verge):
    async with piped(verge, "watch", "--json") as watch:
        await until(lambda: watch.has('"convergence"'))
        events = cloud.application.server.events
        for listener in list(events._listeners):
            listener.end()
        await until(lambda: not len(events))
        await cloud.update(changed("i-app", account="bob"))  # while nobody listens
        await until(lambda: watch.has('"event": "revision"'))
    told = [json.loads(line) for line in watch.lines]
    assert [one["revision"] for one in told if one["event"] == "revision"] == [2]
    assert any("asking again" in line for line in watch.errors)


async def test_once_ends_when_all_have_converged(cloud, verge):
    async with piped(verge, "watch", "--once") as watch:
        await until(lambda: len(cloud.application.server.events) == 1)
        await cloud.apply(*NODES)
        assert await watch.child.wait() == 0


async def test_a_terminal_shows_how_the_cloud_stands(cloud, verge):
    await cloud.apply(*NODES)

    async def interrupt(child):
        child.send_signal(signal.SIGINT)

    code, shown = await on_terminal(verge, "watch", until_shown=b"3 converged", then=interrupt)
    assert code == 130
    assert "revision 1  3 nodes: \x1b[32m3 converged\x1b[0m" in shown
    assert "Traceback" not in shown


async def test_nobody_there_is_told_at_once(verge):
    found = await verge("--url", "http://127.0.0.1:9", "watch")
    assert (found.code, found.err.count("\n")) == (4, 1)
    assert (await verge("watch", token="wrong")).code == 4
