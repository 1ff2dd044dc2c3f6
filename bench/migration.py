"""A live migration's cut-over: from POST to the first ping that the instance answers on its new node.

    make bench-migration [ARGS="--moves 30 --json"]

Somebody pings the instance's private and its elastic address every 10 ms. Its port is prepared on the new node and its VM is
there already when the cut-over is posted, so the time from the POST is what Verge adds to a migration. Beside it, in the same
run, a stop and start on another node (no preparation), and the floor: two changes of a rule, each in force on both nodes, which
is what withdraw, acknowledge and grant cannot do without.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.elastic_ip import two_changes
from demo.addresses import pinged
from demo.cloud import Cloud
from demo.network import instances, nodes, placed, put
from demo.setting import flat
from demo.stage import BY_NAME
from lab.build import Lab


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.migration", description=__doc__)
    parser.add_argument("--moves", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    setting = flat()
    assert setting.public_ips is not None
    vms = placed(setting)
    with tempfile.TemporaryDirectory(prefix="verge-bench-") as directory, Lab(setting.topology) as lab:
        Path(directory).chmod(0o755)
        for vm in vms:
            lab.plug(vm.node, interface=vm.interface, mac=vm.mac, ip=vm.ip)
        cloud = Cloud(lab, Path(directory), setting=setting)
        try:
            cloud.server.start()
            cloud.make_tokens()
            for agent in cloud.agents.values():
                agent.start()
            cloud.post(nodes(setting))
            cloud.post(instances(vms))
            cloud.post([put("elastic_ip", setting.elastic_ip, {"instance": BY_NAME["web-1"].id})])
            moving = Moving(lab, cloud, setting.elastic_ip)
            migrated, restarted = [], []
            for _ in range(given.moves + 1):
                migrated.append(moving.move(prepared=True))
                restarted.append(moving.move(prepared=False))
            floor = [two_changes(cloud, number) for number in range(given.moves + 1)][1:]
        finally:
            cloud.stop()
    return tell(migrated[1:], restarted[1:], floor, as_json=given.json)


class Moving:
    """web-1, which goes to and fro between the first two nodes."""

    def __init__(self, lab: Lab, cloud: Cloud, elastic_ip: str) -> None:
        self._lab, self._cloud, self._elastic_ip = lab, cloud, elastic_ip
        (self._before,) = (vm for vm in placed(flat()) if vm.name == "web-1")
        self._targets = itertools.cycle(["nc-2", "nc-1"])

    def move(self, *, prepared: bool) -> tuple[float, float]:
        """Milliseconds from the POST to the first answer from the new node: (private address, elastic IP)."""
        target = next(self._targets)
        (preparing,) = instances([self._before])[-1:]
        if prepared:
            preparing["value"]["migrating_to"] = target
            self._cloud.post([preparing])
            there = self._cloud.get(f"/v1/instances/{self._before.id}", wait="prepared")
            assert there["prepared"], there
        self._lab.move(self._before.interface, target)
        self._before = replace(self._before, node=target)
        (cut_over,) = instances([self._before])[-1:]
        with (
            pinged(self._lab["clc"], str(self._before.ip)) as private,
            pinged(self._lab["outside"], self._elastic_ip) as elastic,
        ):
            time.sleep(0.1)
            began = time.monotonic()
            outcome = self._cloud.post([cut_over])
            assert outcome["converged"], outcome
            while not all(answers.times() and answers.times()[-1] > began for answers in (private, elastic)):
                assert time.monotonic() - began < 5, "nobody answers"
                time.sleep(0.01)
            first = [min(at for at in answers.times() if at > began) for answers in (private, elastic)]
        return (first[0] - began) * 1000, (first[1] - began) * 1000


def tell(
    migrated: list[tuple[float, float]], restarted: list[tuple[float, float]], floor: list[float], *, as_json: bool
) -> int:
    figures: dict[str, Any] = {"moves": len(migrated), "floor_ms": statistics.median(floor)}
    for what, moves in (("cut-over", migrated), ("stop and start", restarted)):
        for which, values in zip(("private address", "elastic IP"), zip(*moves, strict=True), strict=True):
            figures[f"{what}, {which}"] = {"p50_ms": statistics.median(values), "max_ms": max(values)}
    if as_json:
        print(json.dumps(figures, indent=1))
        return 0
    print(f"an instance changes its node, {len(migrated)} times each way: POST to its first answer there")
    for name, found in figures.items():
        if isinstance(found, dict):
            print(f"  {name:<38} median {found['p50_ms']:6.1f} ms   max {found['max_ms']:6.1f} ms")
    print(f"  floor: two changes one after the other median {figures['floor_ms']:6.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
