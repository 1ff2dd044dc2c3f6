"""The agent as a process, on a real kernel: killed at any moment, started again with and without its server."""

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import sys
from datetime import datetime
from pathlib import Path

import httpx
import orjson
import pytest

from tests.integration.agent_server import ViewServer
from tests.unit.nodeagent.views import view_wire
from tests.unit.nodeagent.wires import group
from tests.unit.nodeagent.wires import rule as policy_rule
from tests.unit.nodeagent.wires import wire as large
from verge.contract.etag import ETag

ROOT = Path(__file__).parents[2]


class Process:
    """One node's agent; started and ended as often as a test likes, always with the same state directory."""

    def __init__(self, host, directory: Path, server: str, bridge: str = "br0") -> None:
        self.host, self.directory, self.server, self.bridge = host, directory, server, bridge
        self.options: tuple[str, ...] = ()
        self.running = None
        (directory / "token").write_text("secret")

    def start(self, server: str | None = None) -> None:
        """Started, not yet ready."""
        self.running = self.host.popen(
            *(sys.executable, "-m", "nodeagent", "run", "--node", "nc-1", "--server", server or self.server),
            *("--token-file", str(self.directory / "token"), "--state-dir", str(self.directory / "state")),
            *("--bridge", self.bridge, "--public-interface", self.bridge, *self.options),
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'services'}:{ROOT}"},
            stdout=(self.directory / "out").open("w"),
            stderr=(self.directory / "err").open("a"),
        )

    async def ready(self) -> None:
        async with asyncio.timeout(30):
            while "ready" not in (self.directory / "out").read_text():
                assert self.running.poll() is None, (self.directory / "err").read_text()
                await asyncio.sleep(0.01)

    async def end(self, number: signal.Signals) -> int:
        self.running.send_signal(number)
        return await asyncio.to_thread(self.running.wait, 15)

    async def get(self, path: str) -> dict:
        return orjson.loads(await self.text(path))

    async def text(self, path: str) -> str:
        transport = httpx.AsyncHTTPTransport(uds=str(self.directory / "state" / "agent.sock"))
        async with httpx.AsyncClient(transport=transport, base_url="http://agent", timeout=15) as client:
            return (await client.get(path)).text


@pytest.fixture
def node(flat, vms, tmp_path):
    """nc-1 of the flat network; its first port is that of the instance in the views."""
    process = Process(flat["nc-1"], tmp_path, f"unix:{tmp_path}/server.sock")
    yield process
    if process.running and process.running.poll() is None:
        process.running.kill()
        process.running.wait(15)


def wire(port: int) -> dict:
    return view_wire(port=port, instance="i-00000001")


def ours(node: Process) -> str:
    """Without what the packets themselves put into sets, and when that expires."""
    return re.sub(r"\n\s*elements = \{[^}]* (limit rate|ct count) [^}]*\}", "", node.host.run("nft", "list", "ruleset"))


@contextlib.asynccontextmanager
async def serving(node: Process):
    server = ViewServer()
    async with server.serving(path=node.directory / "server.sock"):
        yield server


async def test_it_stops_in_order_with_its_rules_in_force_and_leaves_no_socket(node):
    async with serving(node) as server:
        etag = await server.publish(wire(22))
        for number in (signal.SIGTERM, signal.SIGINT):
            node.start()
            await node.ready()
            await server.until(lambda: etag in server.applied)
            before = ours(node)
            assert await node.end(number) == 0
            assert ours(node) == before
            assert "table ip verge" in before
            assert not (node.directory / "state" / "agent.sock").exists()


async def test_two_agents_never_share_a_state_directory(node):
    node.start("http://127.0.0.1:1")
    await node.ready()
    second = Process(node.host, node.directory, "http://127.0.0.1:1")
    second.start()
    assert await asyncio.to_thread(second.running.wait, 15) == 2
    assert f"in use by another agent, pid {node.running.pid}" in (node.directory / "err").read_text()


@pytest.mark.slow
async def test_killed_at_any_moment_it_never_enforces_less_than_it_reported(node):
    dice = random.Random(20)
    async with serving(node) as server:
        await server.publish(wire(1000))
        for round_ in range(8):
            node.start()
            await node.ready()
            if not round_:
                await server.until(
                    lambda: server.applied
                )  # before it has heard anything there is nothing to fall back to
            for port in range(10):
                await server.publish(wire(2000 + 20 * round_ + port))
                await asyncio.sleep(dice.random() * 0.02)  # where in a pass it dies is up to the dice
            assert await node.end(signal.SIGKILL) == -signal.SIGKILL
            reported = max((etag.version for etag in server.applied), default=0)

            node.start("http://127.0.0.1:1")  # the server is away
            await node.ready()
            status = await node.get("/v1/status")
            assert status["state"] == "applied", status
            assert status["applied"]["version"] >= reported
            assert ETag.parse(status["applied"]["etag"]) in server.known
            assert (await node.get("/v1/plan")) == {"empty": True, "steps": []}
            assert await node.end(signal.SIGKILL) == -signal.SIGKILL
        assert reported > 1


DRIFT = {
    "the ruleset flushed": (
        "flush ruleset",
        "table deleted arp verge; table deleted bridge verge_l2; table deleted ip verge",
    ),
    "an element removed": ("delete element ip verge local4 { 10.111.101.94 }", "elements deleted from ip verge local4"),
    "an element added": (
        "add element ip verge in/sg-1/ports { 0.0.0.0/0 . 6 . 23 }",
        "elements added to ip verge in/sg-1/ports",
    ),
    "a rule removed": ("flush chain ip verge in/sg-1", "rule deleted from ip verge in/sg-1"),
}


@pytest.mark.parametrize("what", DRIFT)
async def test_what_somebody_changes_is_put_right_at_once_and_said_with_his_name(node, what):
    """By the kernel's notification: long before the look that is taken each second."""
    change, words = DRIFT[what]
    async with serving(node) as server:
        etag = await server.publish(wire(22))
        node.start()
        await node.ready()
        await server.until(lambda: etag in server.applied and server.newest["state"] == "applied")
        before = ours(node)
        node.host.nft(change)
        await server.until(lambda: server.newest.get("drift"))
        [drift] = server.newest["drift"]
        assert drift["what"].startswith(words)
        assert re.fullmatch(r"nft \(pid \d+\)", drift["culprit"])
        assert 0 < drift["repaired_ms"] < 2000, "the promise; some milliseconds as a rule"
        assert datetime.fromisoformat(drift["at"]).tzinfo
        assert server.newest["state"] == "applied"
        assert server.newest["applied"] == {"etag": str(etag)}
        assert without_numbers(ours(node)) == without_numbers(before)
        assert (await node.get("/v1/plan"))["empty"]
        assert (await node.get("/v1/status"))["drift"] == [drift]
        assert "drift-repaired" in (node.directory / "err").read_text()


async def test_what_has_no_notification_is_found_by_looking(node):
    async with serving(node) as server:
        etag = await server.publish(wire(22))
        node.start()
        await node.ready()
        await server.until(lambda: etag in server.applied and server.newest["state"] == "applied")
        node.host.ip("link set br0 type bridge nf_call_iptables 0")
        await server.until(lambda: server.newest.get("drift"))
        [drift] = server.newest["drift"]
        assert "nf_call_iptables" in drift["what"]
        assert drift["culprit"] is None


async def test_what_is_not_ours_is_no_drift(node):
    async with serving(node) as server:
        etag = await server.publish(wire(22))
        node.start()
        await node.ready()
        await server.until(lambda: etag in server.applied and server.newest["state"] == "applied")
        for _ in range(3):
            node.host.nft("add table inet theirs\nadd chain inet theirs c\ndelete table inet theirs")
        node.host.nft("delete element ip verge local4 { 10.111.101.94 }")
        await server.until(lambda: server.newest.get("drift"))
        assert [one["what"] for one in server.newest["drift"]] == ["elements deleted from ip verge local4"]


async def test_our_own_changes_are_no_drift(node):
    async with serving(node) as server:
        await server.publish(wire(22))
        node.start()
        await node.ready()
        for port in range(40):
            etag = await server.publish(wire(3000 + port))
            await server.until(lambda etag=etag: etag in server.applied)
        status = await node.get("/v1/status")
        assert status["drift"] == []
        assert "drift-repaired" not in (node.directory / "err").read_text()


def without_numbers(ruleset: str) -> list[str]:
    """Policy generations follow the clock, and the order of chains in a listing that of their making."""
    return sorted(re.sub(r"0x[0-9a-f]+", "", ruleset).splitlines())


async def test_a_bridge_that_is_missing_is_waited_for_without_ending(node):
    node.bridge = "br7"
    async with serving(node) as server:
        await server.publish(wire(22))
        node.start()
        await node.ready()
        await server.until(lambda: server.newest["state"] == "rejected")
        assert server.newest["failures"][0]["object"] == "host/bridge"
        assert server.newest["failures"][0]["stage"] == "preflight"
        assert "table bridge verge_l2" in ours(node), "its ports are closed all the same"
        status = await node.get("/v1/status")
        assert "br7" in orjson.dumps(status["failures"]).decode()
        node.host.ip("link add br7 type bridge", "link set br7 up", "address add 10.111.0.111/16 dev br7")
        await server.until(lambda: server.newest["state"] == "applied")
        assert server.newest["drift"] == [], "it came; nobody took it away"
        assert node.running.poll() is None


async def test_a_node_that_holds_a_view_and_does_not_enforce_it_does_not_say_applied(node):
    """Somebody ahead of our rules makes of what is forbidden something that is allowed: only packets show it."""
    async with serving(node) as server:
        etag = await server.publish(wire(22))
        node.start()
        await node.ready()
        await server.until(lambda: etag in server.applied and server.newest["state"] == "applied")
        assert (await node.get("/v1/status"))["self_test"]["state"] == "passed"
        node.host.nft("add table ip x\nadd chain ip x c { type filter hook prerouting priority -250; }")
        node.host.nft("add rule ip x c udp dport set 7")
        await server.until(lambda: server.newest["state"] == "rejected")
        assert server.newest["applied"] is None
        assert server.newest["attempted"] == {"etag": str(etag)}
        [failure] = server.newest["failures"]
        assert (failure["object"], failure["stage"]) == ("host/br0", "self-test")
        assert "packet" in failure["reason"]
        assert (await node.get("/v1/instances/i-00000001")).get("ready") is not True, "no VM is started on it"
        assert (await node.get("/v1/status"))["self_test"]["state"] == "leaks"
        node.host.nft("delete table ip x")
        await server.until(lambda: server.newest["state"] == "applied" and server.newest["applied"])
        assert server.newest["drift"] == []
        async with asyncio.timeout(5):
            while node.host.links().keys() & {"vn_~1", "vn_~2", "verge-test1", "verge-test2"}:
                await asyncio.sleep(0.05)


async def test_without_a_self_test_nothing_of_it_is_there(node):
    async with serving(node) as server:
        etag = await server.publish(wire(22))
        node.options = ("--self-test", "off")
        node.start()
        await node.ready()
        await server.until(lambda: etag in server.applied)
        assert (await node.get("/v1/status"))["self_test"]["state"] == "off"
        assert "169.254.67.71" not in ours(node)


async def test_what_instances_send_is_served_and_outlives_the_agent(node, vms):
    vms[0].host.ip("link set eth0 address d0:0d:1a:2b:3c:4d")  # as the view has it
    async with serving(node) as server:
        etag = await server.publish(wire(22))
        for number in range(2):
            node.start()
            await node.ready()
            await server.until(lambda: etag in server.applied)
            if not number:
                with vms[0].host.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                    out.sendto(bytes(72), (str(vms[2].ip), 9))
            async with asyncio.timeout(5):  # it may wait for an ARP answer
                while True:
                    [one] = (await node.get("/v1/instances"))["instances"]
                    if one["traffic"]["outside"]["out"]["packets"]:
                        break
                    await asyncio.sleep(0.01)
            assert one["id"] == "i-00000001"
            assert one["traffic"]["outside"]["out"] == {"packets": 1, "bytes": 100}
            assert one["traffic"]["inside"]["out"] == {"packets": 0, "bytes": 0}
            assert (await node.get("/v1/instances/i-00000001")) == one
            assert (
                'verge_instance_bytes_total{direction="out",instance_id="i-00000001",scope="outside"} 100.0'
                in await node.text("/metrics")
            )
            assert await node.end(signal.SIGKILL) == -signal.SIGKILL


async def test_a_first_view_of_twenty_four_thousand_objects(node):
    """Where one message to the kernel may not be so long, as in an ordinary user's namespace, it goes in pieces."""
    many = [policy_rule("tcp", 1000 + n, cidr=f"10.{n}.0.0/16") for n in range(100)]
    groups = {
        f"sg-{n}": group(*many[: 40 + n % 20], policy_rule("udp", n, group=f"sg-{(n + 1) % 86}")) for n in range(86)
    }
    members = {f"sg-{n}": [f"10.{100 + n}.{k // 250}.{k % 250 + 1}" for k in range(233)] for n in range(86)}
    instances = {
        f"i-{n:08d}": {
            "mac": f"d0:0d:00:00:01:{n:02x}",
            "private_ip": f"10.111.102.{n + 1}",
            "elastic_ip": None,
            "interface": f"vn_i-{n:08d}",
            "groups": [f"sg-{(3 * n + k) % 86}" for k in range(3)],
            "account": "a",
        }
        for n in range(30)
    }
    async with serving(node) as server:
        etag = await server.publish(large(instances, groups, members, host="10.111.0.101"))
        node.start()
        await node.ready()
        await server.until(lambda: etag in server.applied, "the whole of it is in force")
        assert (await node.get("/v1/plan"))["empty"]
