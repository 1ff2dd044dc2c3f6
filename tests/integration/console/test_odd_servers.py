"""What answers is not always a view server in good health: lost answers, other programs, older or later versions."""

import asyncio
import contextlib
import json

import pytest
import pytest_asyncio

from tests.integration.console.conftest import Verge

ANSWER = {"revision": 7, "epoch": 1, "changed": True, "affected": ["nc-1"]}
IN_FORCE = {"revision": 7, "converged": True, "affected": 1, "applied": 1, "laggards": [], "fences": []}


class Peer:
    """Answers each request with the next of `script`: (status, body), or None to hang up without an answer."""

    def __init__(self):
        self.script, self.requests, self.url = [], [], ""

    async def connected(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *lines = head.strip().split("\r\n")
                headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.requests.append((*line.split()[:2], headers, body))
                answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if answer is None:
                    break
                status, content = answer
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content)
                await writer.drain()
        writer.close()


@pytest_asyncio.fixture
async def peer():
    found = Peer()
    server = await asyncio.start_server(found.connected, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield found
    server.close()


@pytest.fixture
def verge(peer, tmp_path, capsys):
    return Verge(peer.url, "a-token", tmp_path, capsys)


async def test_an_update_whose_answer_was_lost_is_sent_again_as_the_same(peer, verge):
    peer.script = [None, (503, {"detail": "Postgres is away"}), (200, ANSWER)]
    found = await verge("apply", verge.file())
    assert (found.code, found.out) == (0, "revision 7 committed; affects 1 node: nc-1\n")
    keys = [headers["idempotency-key"] for _, _, headers, _ in peer.requests]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    await verge("apply", verge.file())
    assert peer.requests[-1][2]["idempotency-key"] != keys[0]


async def test_an_update_whose_fate_is_unknown_can_be_sent_again(peer, verge):
    peer.script = [None]
    found = await verge("apply", verge.file())
    assert found.code == 4
    assert "may have been committed" in found.err
    assert f"--key {peer.requests[0][2]['idempotency-key']} makes sending it again safe" in found.err


async def test_waiting_goes_on_while_the_server_is_away(peer, verge):
    peer.script = [(200, ANSWER), None, (503, {"detail": "starting"}), None, (200, IN_FORCE)]
    found = await verge("apply", verge.file(), "--wait", "30")
    assert found.code == 0
    assert "revision 7 is in force on the one node it affects" in found.out
    peer.script = [None]
    assert (await verge("wait", "7", "--timeout", "0.1")).code == 4


@pytest.mark.parametrize(
    "answer", [(200, b"<html>hello</html>"), (404, b"not here"), (301, b""), (400, b"<h1>Bad</h1>")]
)
async def test_another_program_is_not_taken_for_a_view_server(peer, verge, answer):
    peer.script = [answer]
    found = await verge("status")
    assert (found.code, found.out) == (4, "")
    assert found.err.startswith(f"verge: what answers at {peer.url} is no view server")


@pytest.mark.parametrize("answer", [{}, [], None, {"converged": True}, {"nodes": 3, "updates": 3}, 7])
@pytest.mark.parametrize("command", ["status", "nodes", "fences", "changes", "network"])
async def test_an_answer_without_what_it_should_have_is_no_traceback(peer, verge, answer, command):
    peer.script = [(200, answer)]
    found = await verge(command)
    assert found.code == 4
    assert "not what this version understands" in found.err


async def test_a_fault_of_the_server_is_exit_4(peer, verge):
    peer.script = [(500, {"detail": "the server made a mistake; it is in its log"})]
    found = await verge("status")
    assert found.code == 4
    assert "cannot serve this now: the server made a mistake" in found.err


NETWORK_YAML = b"Mode: EDGE\nPublicIps:\n- 10.111.101.91-10.111.101.93\n"
NETWORK_JSON = b'{"Mode": "EDGE", "PublicIps": ["10.111.101.91-10.111.101.93"]}'
GNI = b"<?xml version='1.0'?>\n<network-data/>\n"


@pytest.mark.parametrize(
    ("arguments", "data", "target", "media_type"),
    [
        (["network"], NETWORK_YAML, "/v1/network", "application/yaml"),
        (["network"], NETWORK_JSON, "/v1/network", "application/json"),
        (["network", "--dry-run"], NETWORK_JSON, "/v1/network?dry_run=true", "application/json"),
        (["gni"], GNI, "/v1/model", "application/xml"),
        (["gni", "--prune", "--force"], GNI, "/v1/model?prune=true&force=true", "application/xml"),
        (["model", "--force"], b'{"zones": {}}', "/v1/model?force=true", "application/json"),
    ],
)
async def test_imports_are_sent_as_what_they_are(peer, verge, arguments, data, target, media_type):
    path = verge.directory / "document"
    path.write_bytes(data)
    is_plan = "--dry-run" in arguments
    plan = {"nodes_total": 3, "instances_total": 4, "losing_ingress": [], "objects": []} if is_plan else {}
    peer.script = [
        (200, {**ANSWER, **plan, "warnings": [{"pointer": "/Mido", "message": "\x1b[1m is ignored"}, "two"]})
    ]
    found = await verge("import", *arguments, path)
    assert found.code == 0
    assert found.err.startswith("warning: /Mido: \\x1b[1m is ignored\nwarning: two\n")
    assert found.err.count("\n") == 2 + is_plan
    method, asked, headers, body = peer.requests[0]
    assert (method, asked, headers["content-type"], body) == ("PUT", target, media_type, data)
    assert headers["authorization"] == "Bearer a-token"


@pytest.mark.parametrize(
    ("kind", "data"), [("gni", b"{}"), ("network", b"\xff"), ("model", b"<x/>"), ("network", b"a: [")]
)
async def test_a_document_of_another_kind_is_not_sent(peer, verge, kind, data):
    path = verge.directory / "document"
    path.write_bytes(data)
    found = await verge("import", kind, path)
    assert (found.code, peer.requests) == (2, [])
    assert found.err.startswith(f"verge: {path}")
