"""DHCP by the agent as a process: what stays when it is killed, and what does not when it is stopped."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from nodeagent.dnsmasq import process
from tests.dataplane.clients import Client, forget_address
from tests.dataplane.test_agent_process import Process, serving, wire


@pytest.fixture
def node(flat, vms, tmp_path):
    """nc-1; its first port is that of the instance in the view, which has forgotten its address."""
    forget_address(vms[0].host)
    vms[0].host.ip("link set eth0 down", "link set eth0 address d0:0d:1a:2b:3c:4d", "link set eth0 up")
    started = Process(flat["nc-1"], tmp_path, f"unix:{tmp_path}/server.sock")
    yield started
    if started.running and started.running.poll() is None:
        started.running.kill()
        started.running.wait(15)
    for left in serving_in(started):
        left.end()


def serving_in(node: Process) -> list[process.Running]:
    with node.host.entered():
        return list(process.found(node.directory / "state" / "dhcp"))


async def test_killed_and_started_again_dnsmasq_is_neither_doubled_nor_lost(node, vms, tmp_path: Path):
    async with serving(node) as server:
        etag = await server.publish(wire(22))
        node.start()
        await node.ready()
        await server.until(lambda: etag in server.applied)
        first = (await node.get("/v1/status"))["dhcp"]
        assert (first["state"], first["hosts"], first["starts"], first["problem"]) == ("serving", 1, 1, None)
        assert await node.end(signal.SIGKILL) == -signal.SIGKILL

        with Client.udhcpc(vms[0].host, tmp_path / "client") as client:
            assert client.event("bound")["ip"] == "10.111.101.94", "there is no agent now"
        for _ in range(3):
            node.start()
            await node.ready()
            again = (await node.get("/v1/status"))["dhcp"]
            assert (again["state"], again["pid"], again["starts"]) == ("serving", first["pid"], 0)
            assert [found.pid for found in serving_in(node)] == [first["pid"]]
            assert await node.end(signal.SIGKILL) == -signal.SIGKILL

        node.start()
        await node.ready()
        assert await node.end(signal.SIGTERM) == 0
        assert not serving_in(node)


async def test_one_that_dies_is_started_again(node):
    async with serving(node) as server:
        etag = await server.publish(wire(22))
        node.start()
        await node.ready()
        await server.until(lambda: etag in server.applied)
        before = (await node.get("/v1/status"))["dhcp"]["pid"]
        (running,) = serving_in(node)
        running.end()
        async with asyncio.timeout(15):
            while (status := await node.get("/v1/status"))["dhcp"]["starts"] != 2:
                await asyncio.sleep(0.05)
        assert status["state"] == "applied"
        assert status["dhcp"]["pid"] != before


async def test_a_taken_port_degrades_the_view_and_heals(node):
    holder = node.host.popen(
        *("dnsmasq", "--keep-in-foreground", "--port=0", "--dhcp-range=10.0.0.1,static", "--user=", "--group="),
        *("--pid-file=", f"--dhcp-leasefile={node.directory / 'foreign'}"),
    )
    try:
        while not any(line.split()[1].endswith(":0043") for line in udp(node)):
            assert holder.poll() is None
        async with serving(node) as server:
            await server.publish(wire(22))
            node.start()
            await node.ready()
            await server.until(lambda: server.newest is not None and server.newest["state"] == "degraded")
            (failure,) = server.newest["failures"]
            assert failure["stage"] == "dhcp"
            assert f"dnsmasq (pid {holder.pid})" in failure["reason"]
            holder.terminate()
            holder.wait(10)
            await server.until(lambda: server.newest["state"] == "applied")
    finally:
        if holder.poll() is None:
            holder.kill()
            holder.wait(10)


def udp(node: Process) -> list[str]:
    return node.host.run("cat", "/proc/net/udp").splitlines()[1:]
