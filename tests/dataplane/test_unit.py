"""The agent as its unit starts it: with these capabilities and no others it does all of its work, and says when it is ready."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import sys
from pathlib import Path

import pytest

from lab.build import Lab, Vm
from lab.flows import Flow
from lab.probes import expect
from tests.dataplane.clients import Client, forget_address
from tests.dataplane.test_agent_process import ROOT, Process, serving, wire

UNIT = (ROOT / "deploy/systemd/verge-nodeagent.service").read_text()


def capabilities() -> str:
    found = re.search(r"^CapabilityBoundingSet=(.+)$", UNIT, re.MULTILINE)
    assert found
    return "-all," + ",".join("+" + name.removeprefix("CAP_").lower() for name in found[1].split())


class Supervised(Process):
    """Started with what the unit leaves it."""

    def start(self, server: str | None = None) -> None:
        self.running = self.host.popen(
            *("setpriv", "--bounding-set", capabilities(), "--inh-caps", "-all", "--no-new-privs"),
            *(sys.executable, "-m", "nodeagent", "run", "--node", "nc-1", "--server", server or self.server),
            *("--token-file", str(self.directory / "token"), "--state-dir", str(self.directory / "state")),
            *("--bridge", "br0", "--public-interface", "br0"),
            env=os.environ
            | {"PYTHONPATH": f"{ROOT / 'services'}:{ROOT}", "NOTIFY_SOCKET": str(self.directory / "notify")},
            stdout=(self.directory / "out").open("w"),
            stderr=(self.directory / "err").open("a"),
        )


def next_word(said: socket.socket) -> str:
    assert select.select([said], [], [], 20)[0]
    return said.recv(100).decode()


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user keeps capabilities another way than units give them")
async def test_with_the_capabilities_of_its_unit_it_does_all_of_its_work_and_says_so(
    flat: Lab, vms: list[Vm], tmp_path: Path
) -> None:
    vm, remote = vms[0], vms[2]
    forget_address(vm.host)
    vm.host.ip("link set eth0 down", "link set eth0 address d0:0d:1a:2b:3c:4d", "link set eth0 up")
    node = Supervised(flat["nc-1"], tmp_path, f"unix:{tmp_path}/server.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as said:
        said.bind(str(tmp_path / "notify"))
        async with serving(node) as server:
            etag = await server.publish(wire(22))
            node.start()
            try:
                await node.ready()
                assert next_word(said) == "READY=1"
                assert next_word(said) == "WATCHDOG=1"
                effective = int(
                    re.findall(r"CapEff:\s+(\w+)", Path(f"/proc/{node.running.pid}/status").read_text())[0], 16
                )
                assert effective.bit_count() == capabilities().count("+")
                await server.until(lambda: etag in server.applied)
                status = await node.get("/v1/status")
                assert (status["state"], status["failures"]) == ("applied", [])
                with Client.udhcpc(vm.host, tmp_path / "client") as client:
                    assert client.event("bound")["ip"] == str(vm.ip)
                assert not expect(
                    [Flow.tcp(remote.host, vm.host, vm.ip, 22)], [Flow.tcp(remote.host, vm.host, vm.ip, 23)]
                )
                node.host.nft("flush ruleset")
                await server.until(lambda: server.newest.get("drift"))
            finally:
                ended = await node.end(signal.SIGTERM)
        assert ended == 0
        words = "WATCHDOG=1"
        while words == "WATCHDOG=1":
            words = next_word(said)
        assert words == "STOPPING=1"
