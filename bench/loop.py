"""One rule changes; three agents enforce it: how long from POST to reported, stage by stage.

    make bench-loop [ARGS="--changes 100 --json"]

Real server, real Postgres with fsync, real agents, real kernel, in a lab on this machine. Stages, each the median over the
changes, for the node that was last:

    commit    the request's turn until Postgres has it on disk (Server-Timing)
    notify    until that node's parked request was answered
    fetch     the agent reads and checks the view
    plan      desired, observed, difference
    apply     one nft transaction, and its verification
    report    checkpoint on disk, the request that carries the report, and its row in Postgres

The floor, in the same run, is what no such loop can do without: one durable Postgres transaction, one HTTP request to the
view server for each direction, and one forked `nft` that adds an element.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from demo.cloud import Cloud
from demo.network import ANYWHERE, VMS, instances, nodes, put, rule
from demo.setting import flat
from lab.build import Lab

STAGES = ("commit", "notify", "fetch", "plan", "apply", "report")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.loop", description=__doc__)
    parser.add_argument("--changes", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
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
            cloud.post([*instances(), *everywhere(0)])
            samples = [change(cloud, number) for number in range(1, given.changes + 6)][5:]
            floor = floor_ms(cloud, lab)
        finally:
            cloud.stop()
    return tell(samples, floor, as_json=given.json)


def everywhere(number: int) -> list[dict[str, Any]]:
    """A group that every instance is in, with one rule that differs from change to change."""
    rules = [rule("icmp", cidr=ANYWHERE), rule("tcp", 1000 + number, cidr=ANYWHERE)]
    group = put("group", "sg-all", {"name": "all", "account": "000111222333", "ingress": rules})
    if number:
        return [group]
    members = [
        put(
            "instance",
            vm.id,
            {
                "node": vm.node,
                "mac": vm.mac,
                "private_ip": vm.ip,
                "groups": [*vm.groups, "sg-all"],
                "account": vm.account,
            },
        )
        for vm in VMS
    ]
    return [group, *members]


def change(cloud: Cloud, number: int) -> dict[str, float]:
    began = time.monotonic()
    answer = cloud.http.post(
        "/v1/updates", params={"wait": "applied", "timeout": 20}, json={"operations": everywhere(number)}
    )
    total = (time.monotonic() - began) * 1000
    body = answer.raise_for_status().json()
    assert body["converged"], body
    assert len(body["affected"]) == 3, body
    detail = cloud.get(f"/v1/updates/{body['revision']}")
    last = max(detail["nodes"].values(), key=lambda node: node["ms"])
    timings = last["timings_ms"] or {}
    stages = {
        "commit": float(answer.headers["server-timing"].partition("dur=")[2]),
        "notify": last["told_ms"] or 0.0,
        "fetch": timings.get("fetch", 0.0),
        "plan": timings.get("plan", 0.0),
        "apply": timings.get("apply", 0.0) + timings.get("verify", 0.0),
    }
    stages["report"] = max(0.0, last["ms"] - sum(stages[name] for name in ("notify", "fetch", "plan", "apply")))
    return {"total": total, **stages}


def floor_ms(cloud: Cloud, lab: Lab, rounds: int = 20) -> dict[str, float]:
    """Medians, in the same lab: the parts that any such loop is made of."""

    def median_of(act: Any) -> float:
        took = []
        for number in range(rounds):
            began = time.monotonic()
            act(number)
            took.append((time.monotonic() - began) * 1000)
        return statistics.median(took)

    host = lab["nc-1"]
    host.nft("add table ip floor; add set ip floor s { type ipv4_addr; }")
    with host.entered():
        nft = median_of(
            lambda n: subprocess.run(
                ["nft", f"add element ip floor s {{ 10.0.0.{n + 1} }}"], check=True, capture_output=True
            )
        )
    http = median_of(lambda _: cloud.http.get("/healthz").raise_for_status())
    durable = median_of(lambda _: cloud.http.post("/v1/tokens", json={"role": "cloud"}).raise_for_status())
    return {"one durable write over HTTP": durable, "one HTTP request": http, "one forked nft": nft}


def tell(samples: list[dict[str, float]], floor: dict[str, float], *, as_json: bool) -> int:
    medians = {name: statistics.median(sample[name] for sample in samples) for name in ("total", *STAGES)}
    ranked = sorted(sample["total"] for sample in samples)
    figures: dict[str, Any] = {
        "changes": len(samples),
        "total_ms": {"p50": medians["total"], "p90": ranked[int(len(ranked) * 0.9)], "max": ranked[-1]},
        "stages_ms": {name: medians[name] for name in STAGES},
        "floor_ms": floor,
        "ratio_to_floor": medians["total"] / (sum(floor.values()) + floor["one HTTP request"]),
    }
    if as_json:
        print(json.dumps(figures, indent=1))
        return 0
    print(f"one rule, 3 agents, {len(samples)} changes: POST until all have reported")
    print(f"  median {medians['total']:.1f} ms   p90 {ranked[int(len(ranked) * 0.9)]:.1f} ms   max {ranked[-1]:.1f} ms")
    for name in STAGES:
        print(f"    {name:<8}{medians[name]:7.2f} ms")
    print("  floor in the same run:")
    for name, value in floor.items():
        print(f"    {value:7.2f} ms  {name}")
    print(f"  ratio of the median to the floor (two HTTP requests): {figures['ratio_to_floor']:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
