"""From before the agent's first start until after its death: ports are shut, and no moment is between boot's table and the
agent's."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.build import Lab, Vm
from lab.flows import Flow
from lab.frames import ethernet, ipv4, udp
from lab.host import CommandFailed
from lab.probes import expect
from lab.wire import capture
from tests.dataplane.test_agent_process import Process, serving
from tests.dataplane.test_flush import agentctl
from tests.unit.nodeagent.views import view_wire

NOBODY = 65533
"""The UDP port of the flood, which no group lets in."""


@pytest.fixture
def node(flat: Lab, vms: list[Vm], tmp_path: Path) -> Iterator[Process]:
    """nc-1, freshly booted: its ports are on the bridge already, as where a hypervisor restores them before all else."""
    process = Process(flat["nc-1"], tmp_path, f"unix:{tmp_path}/server.sock")
    boot(process)
    yield process
    if process.running and process.running.poll() is None:
        process.running.kill()
        process.running.wait(15)


def boot(node: Process) -> None:
    made = agentctl(node.host, "closed-ruleset", "--ports", "vn_*")
    assert made.returncode == 0, made.stderr
    node.host.nft(made.stdout)


@contextmanager
def flooded(src: Vm, dst: Vm) -> Iterator[None]:
    """Datagrams without end from one port to the other, at least fifty; none may arrive of those that were sent meanwhile."""
    packet = ipv4(src.ip, dst.ip, 17, udp(src.ip, dst.ip, 4000, NOBODY, b"flood"))
    frame = ethernet(dst.mac, src.mac, 0x0800, packet)
    stop, enough, sent = threading.Event(), threading.Event(), 0

    def send() -> None:
        nonlocal sent
        with src.host.socket(17, 3) as raw:  # AF_PACKET, SOCK_RAW
            raw.bind(("eth0", 0))
            while not stop.wait(0.0005):
                raw.send(frame)
                sent += 1
                if sent == 50:
                    enough.set()

    with capture(dst.host, "eth0", lambda frame: b"flood" in frame.raw, incoming=True) as got:
        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
            assert enough.wait(10)
        finally:
            stop.set()
            thread.join()
        assert not got.frames, f"{len(got.frames)} of {sent} arrived"


async def test_no_moment_is_open_from_boot_to_the_agents_death_and_next_start(
    node: Process, flat: Lab, vms: list[Vm]
) -> None:
    first, second, remote = vms[0], vms[1], vms[2]
    router, gateway = flat["router"], "10.111.0.1"
    host_lives = Flow.icmp(node.host, router, gateway)
    let_in = Flow.tcp(remote.host, first.host, first.ip, 22)
    shut = [
        Flow.icmp(second.host, router, gateway),
        Flow.icmp(router, second.host, second.ip),
        Flow.udp(remote.host, first.host, first.ip, NOBODY),
    ]
    async with serving(node) as server:
        with flooded(second, first), flooded(remote, first):
            assert not expect([host_lives], [let_in, *shut])
            view = view_wire(port=22, instance="i-00000001")
            view["instances"]["i-00000001"]["mac"] = first.mac
            etag = await server.publish(view)
            node.start()
            await node.ready()
            await server.until(lambda: etag in server.applied)
            assert not expect([host_lives, let_in], shut)
            assert await node.end(signal.SIGKILL) == -signal.SIGKILL
            assert not expect([host_lives, let_in], shut)
            with pytest.raises(CommandFailed, match="File exists"):
                boot(node)  # the unit started again: it must not shut what the agent has opened
            node.start()
            await node.ready()
            assert not expect([host_lives, let_in], shut)
            assert (await node.get("/v1/status"))["drift"] == []


async def test_an_agent_without_a_view_leaves_ports_shut(node: Process, flat: Lab, vms: list[Vm]) -> None:
    with flooded(vms[1], vms[0]):
        node.start("http://127.0.0.1:1")
        await node.ready()
        assert (await node.get("/v1/status"))["state"] == "closed"
        assert not expect([], [Flow.icmp(vms[0].host, flat["router"], "10.111.0.1")])
    node.host.nft("add rule ip verge operator_pre counter")  # its whole ruleset is there, not boot's alone


def test_the_flood_is_one_that_an_open_port_lets_through(node: Process, vms: list[Vm]) -> None:
    node.host.nft("flush ruleset")
    with pytest.raises(AssertionError, match="arrived"), flooded(vms[1], vms[0]):
        pass


def test_the_pattern_is_checked() -> None:
    done = subprocess.run(
        (sys.executable, "-m", "nodeagent", "closed-ruleset", "--ports", "*"),
        env={"PYTHONPATH": "services:."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "not a prefix and a star" in done.stderr
