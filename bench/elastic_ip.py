"""An elastic IP moves between two healthy nodes: from POST to the first ping that the new holder answers.

    make bench-elastic-ip [ARGS="--moves 30 --json"]

Someone on the internet pings the address every 10 ms all the while. The move is the longest silence; what is measured is
from the POST to the first answer behind it, and the silence itself. Beside it, in the same run, the floor: two changes of one
rule on each of the two nodes, one after the other, which is what withdraw, acknowledge and grant cannot do without.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from demo.addresses import pinged
from demo.cloud import Cloud
from demo.network import ANYWHERE, instances, nodes, placed, put, rule
from demo.setting import SETTINGS
from demo.stage import BY_NAME
from lab.build import Lab


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.elastic_ip", description=__doc__)
    parser.add_argument("--moves", type=int, default=20)
    parser.add_argument("--topology", choices=sorted(SETTINGS), default="flat")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    setting = SETTINGS[given.topology]("impersonate")
    if setting.public_ips is None:
        parser.error(f"{given.topology} has no elastic IPs")
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
            cloud.post([put("elastic_ip", setting.elastic_ip, {"instance": BY_NAME["web-2"].id})])
            holders = itertools.cycle(["web-1", "web-2"])
            moves = [move(lab, cloud, setting.elastic_ip, next(holders)) for _ in range(given.moves + 2)][2:]
            floor = [two_changes(cloud, number) for number in range(given.moves + 2)][2:]
        finally:
            cloud.stop()
    return tell(moves, floor, as_json=given.json)


def move(lab: Lab, cloud: Cloud, address: str, to: str) -> tuple[float, float]:
    """Milliseconds: POST to the first answer of the new holder, and the silence before it."""
    with pinged(lab["outside"], address) as answers:
        time.sleep(0.15)
        began = time.monotonic()
        outcome = cloud.post([put("elastic_ip", address, {"instance": BY_NAME[to].id})])
        assert outcome["converged"], outcome
        ended = time.monotonic()
        while not any(at > ended for at in answers.times()):
            assert time.monotonic() - ended < 5, "nobody answers"
            time.sleep(0.01)
        time.sleep(0.1)
        times = [at for at in answers.times() if at > began - 0.1]
    silence, answered = max((later - earlier, later) for earlier, later in itertools.pairwise(times))
    return (answered - began) * 1000, silence * 1000


def two_changes(cloud: Cloud, number: int) -> float:
    """Milliseconds until two changes, one after the other, are each in force on web-1's and web-2's nodes."""
    began = time.monotonic()
    for step in range(2):
        rules = [rule("icmp", cidr=ANYWHERE), rule("tcp", 1000 + 2 * number + step, cidr=ANYWHERE)]
        cloud.post([put("group", "sg-web", {"name": "web", "account": "000111222333", "ingress": rules})])
    return (time.monotonic() - began) * 1000


def tell(moves: list[tuple[float, float]], floor: list[float], *, as_json: bool) -> int:
    answered, silence = ([one[index] for one in moves] for index in (0, 1))
    figures: dict[str, Any] = {
        "moves": len(moves),
        "post_to_answer_ms": {"p50": statistics.median(answered), "max": max(answered)},
        "silence_ms": {"p50": statistics.median(silence), "max": max(silence)},
        "floor_ms": statistics.median(floor),
        "ratio_to_floor": statistics.median(answered) / statistics.median(floor),
    }
    if as_json:
        print(json.dumps(figures, indent=1))
        return 0
    print(f"an elastic IP moves between two nodes, {len(moves)} times")
    for what, values in (("POST to the new holder's first answer", answered), ("silence", silence)):
        print(f"  {what:<38} median {statistics.median(values):6.1f} ms   max {max(values):6.1f} ms")
    ratio = figures["ratio_to_floor"]
    print(f"  floor: two changes one after the other median {figures['floor_ms']:6.1f} ms   ratio {ratio:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
