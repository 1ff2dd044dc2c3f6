"""Fences, tokens, credentials, terminals, pipes: the command as operators and scripts use it."""

import asyncio
import contextlib
import os
import pty
import signal
import socket

import pytest

from tests.integration.viewserver.serving import until
from tests.unit.viewserver.clouds import instance, put

NODES = ("nc-1", "nc-2", "nc-3")
ONLY_NC_3 = put("instance", "i-new", **instance("nc-3", 40, "sg-idle", zone_net="10.2.0"))


async def test_fences_are_listed_and_broken(cloud, verge):
    assert (await verge("fences")).out == "no address is held back\n"
    await cloud.apply(*NODES)
    await cloud.update(put("elastic_ip", "203.0.113.1", instance="i-db"))
    found = await verge("fences")
    assert found.rows[1][:2] == ["203.0.113.1", "nc-1"]
    assert found.rows[1][3:5] == ["nc-2", "i-db"]
    broken = await verge("break-fence", "203.0.113.1", "--yes")
    assert (broken.code, broken.out) == (
        0,
        "the fence on 203.0.113.1 is broken: revision 3; affects 2 nodes: nc-1, nc-2\n",
    )
    assert (await verge("fences", "--json")).json == {"fences": []}
    again = await verge("break-fence", "203.0.113.1", "--yes")
    assert (again.code, again.err) == (2, "verge: refused: there is no fence on 203.0.113.1\n")


async def test_breaking_a_fence_asks_first_on_a_terminal(cloud, verge):
    await cloud.apply(*NODES)
    await cloud.update(put("elastic_ip", "203.0.113.1", instance="i-db"))
    for answer, code in ((b"\n", 2), (b"y\n", 0)):
        ended, shown = await on_terminal(verge, "break-fence", "203.0.113.1", typed=answer)
        assert ended == code, shown
        assert "203.0.113.1 was on nc-1 (" in shown
    assert (await verge("fences")).out == "no address is held back\n"


async def test_tokens_are_made_listed_and_revoked(cloud, verge):
    made = await verge("token", "create", "--role", "operator", "--name", "night shift")
    assert made.code == 0
    assert "not shown again" in made.err
    token = made.out.strip()
    assert (await verge("status", token=token)).code == 1
    listed = await verge("token", "list")
    row = next(row for row in listed.rows if row[3:5] == ["night", "shift"])
    assert row[1] == "operator"
    assert token not in listed.out
    assert (await verge("token", "revoke", row[0])).out == f"token {row[0]} is revoked\n"
    gone = await verge("status", token=token)
    assert gone.code == 4
    assert "this token is not known, or was revoked" in gone.err
    assert (await verge("token", "revoke", row[0])).code == 2


async def test_a_role_that_may_not_is_told_which_may(cloud, verge):
    token = (await cloud.token("cloud"))["token"]
    found = await verge("nodes", token=token)
    assert found.code == 4
    assert found.err == "verge: a token of role cloud may not do this; it takes operator\n"
    assert (await verge("status", token=token)).code == 1


async def test_where_the_token_comes_from(verge):
    bare = await verge.process("status", VERGE_TOKEN="")
    assert (bare.code, bare.out) == (4, "")
    assert bare.err == f"verge: the view server at {verge.url} wants a token: VERGE_TOKEN or --token-file FILE\n"
    admin = verge.directory / "admin.token"
    assert (await verge.process("status", "--token-file", admin, VERGE_TOKEN="wrong")).code == 1
    assert (await verge.process("status", VERGE_TOKEN="wrong")).code == 4
    empty = verge.directory / "empty"
    empty.touch()
    assert (await verge.process("status", "--token-file", empty)).code == 2


async def test_nobody_there(verge):
    with contextlib.closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        for command in (["status"], ["apply", verge.file()]):
            found = await verge("--url", url, *command)
            assert (found.code, found.out) == (4, "")
            assert found.err.startswith(f"verge: the view server at {url} cannot be connected to")
            assert found.err.count("\n") == 1
    missing = await verge("--url", f"unix:{verge.directory}/none.sock", "status")
    assert missing.code == 4
    assert "none.sock cannot be connected to" in missing.err


async def test_a_unix_socket_leads_to_the_server(cloud, verge):
    host, port = cloud.url.removeprefix("http://").split(":")

    async def carry(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader, writer):
        there, back = await asyncio.open_connection(host, port)
        await asyncio.gather(carry(reader, back), carry(there, writer))

    path = verge.directory / "v.sock"
    async with await asyncio.start_unix_server(connected, path):
        found = await verge.process("status", VERGE_URL=f"unix:{path}")
    assert (found.code, found.err) == (1, "")
    assert found.out.startswith("revision 1  not converged")


async def on_terminal(verge, *arguments, typed=b"", until_shown=None, then=None, **environment):
    """(exit code, what the terminal showed). `then` is done once `until_shown` is there to be read."""
    ours, theirs = pty.openpty()
    shown = bytearray()
    loop = asyncio.get_running_loop()

    def read():
        try:
            shown.extend(os.read(ours, 65536))
        except OSError:
            loop.remove_reader(ours)

    loop.add_reader(ours, read)
    try:
        child = await verge.started(*arguments, stdin=theirs, stdout=theirs, stderr=theirs, **environment)
        os.close(theirs)
        os.write(ours, typed)
        if until_shown is not None:
            await until(lambda: until_shown in shown, f"never shown: {until_shown!r}")
            await then(child)
        async with asyncio.timeout(60):
            code = await child.wait()
        loop.remove_reader(ours)
        with contextlib.suppress(OSError):
            while more := os.read(ours, 65536):
                shown.extend(more)
    finally:
        loop.remove_reader(ours)
        os.close(ours)
    return code, shown.decode()


async def test_a_terminal_shows_who_is_waited_for_meanwhile(cloud, verge):
    await cloud.apply(*NODES)

    async def apply(_):
        await cloud.apply("nc-3")

    code, shown = await on_terminal(
        verge,
        *("apply", verge.file(ONLY_NC_3), "--wait", "30"),
        until_shown=b"0 of 1 node have applied it; waiting for nc-3 (lagging)",
        then=apply,
    )
    assert code == 0
    assert "\r\x1b[K" in shown
    assert "\x1b[32min force\x1b[0m on the one node it affects" in shown


async def test_an_interrupted_wait_says_what_stands(cloud, verge):
    await cloud.apply(*NODES)

    async def interrupt(child):
        child.send_signal(signal.SIGINT)

    code, shown = await on_terminal(
        verge,
        *("apply", verge.file(ONLY_NC_3), "--wait", "30"),
        until_shown=b"waiting for nc-3",
        then=interrupt,
    )
    assert code == 130
    assert "revision 2 is committed; verge wait 2 goes on waiting" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
async def test_no_colour_where_none_is_wanted(cloud, verge, environment):
    code, shown = await on_terminal(verge, "status", **environment)
    assert code == 1
    assert "\x1b" not in shown
    assert "\x1b[31m" in (await on_terminal(verge, "status"))[1]


async def test_no_colour_in_a_pipe_and_no_complaint_when_it_closes(verge):
    assert "\x1b" not in (await verge.process("status")).out
    reading, writing = os.pipe()
    os.close(reading)
    child = await verge.started(
        "model", stdin=asyncio.subprocess.DEVNULL, stdout=writing, stderr=asyncio.subprocess.PIPE
    )
    os.close(writing)
    _, err = await child.communicate()
    assert err == b""


async def test_an_ascii_locale_is_enough(verge):
    found = await verge.process("nodes", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (found.code, found.err) == (0, "")
    assert "nc-1" in found.out
