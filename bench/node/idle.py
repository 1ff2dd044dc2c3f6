"""An agent with nothing to do: the share of one processor that it takes, by /proc, dnsmasq included.

Real view server, real agents as processes, six VMs on three nodes; each agent looks at its kernel every second meanwhile and
has its request parked at the server.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.node.figures import Figure
from demo.cloud import Cloud
from demo.network import VMS, instances, nodes
from demo.setting import flat
from lab.build import Lab

_SETTLING_S = 3.0  # gratuitous ARP is repeated until then
_TICKS = os.sysconf("SC_CLK_TCK")


def measure(seconds: float) -> tuple[list[Figure], dict[str, Any]]:
    setting = flat()
    with tempfile.TemporaryDirectory(prefix="verge-bench-") as directory, Lab(setting.topology) as lab:
        Path(directory).chmod(0o755)
        for vm in VMS:
            lab.plug(vm.node, interface=vm.interface, mac=vm.mac, ip=vm.ip)
        cloud = Cloud(lab, Path(directory), setting=setting)
        try:
            cloud.server.start()
            cloud.make_tokens()
            for agent in cloud.agents.values():
                agent.start()
            cloud.post(nodes(setting))
            cloud.post(instances())
            time.sleep(_SETTLING_S)
            before = {name: _ticks(agent.pid) for name, agent in cloud.agents.items()}
            began = time.monotonic()
            time.sleep(seconds)
            spent = time.monotonic() - began
            shares = {
                name: 100 * (_ticks(agent.pid) - before[name]) / _TICKS / spent for name, agent in cloud.agents.items()
            }
        finally:
            cloud.stop()
    return [Figure("idle agent, the busiest of three", max(shares.values()), "%", at_most=0.5)], {
        "share of a processor, %": {name: round(share, 2) for name, share in shares.items()}
    }


def _ticks(pid: int) -> int:
    """User and system time of the process, its children and theirs."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(fields[11]) + int(fields[12]) + sum(_ticks(int(child)) for child in children)
