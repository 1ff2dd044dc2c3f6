"""What a change costs on one node, against the least that libnftables can do.

    python -m lab.enter -- .venv/bin/python -m bench.node_apply [--members 20000] [--repeat 50]

One node, 30 instances in 90 groups of 10 rules, one group of which names another with `--members` addresses. Each row is
the median of the repetitions, in milliseconds: the agent's stages for one change, and a bare `add element` (or what the
row says) through the same libnftables, without desired state, plan or verification. Loads of other processes show.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from statistics import median
from typing import Any

from lab import namespaces
from lab.host import Host
from nodeagent.enforcement import Enforcement, Outcome
from nodeagent.kernel.libnftables import Libnftables
from nodeagent.state.host import HostFacts
from tests.unit.nodeagent.wires import group, instance, rule, wire
from verge.contract.members import Members, format_address, parse_address
from verge.contract.rule import GroupId
from verge.contract.view import InstanceId, View


def network(members: int) -> dict[str, Any]:
    groups = {
        f"sg-{n}": group(
            *(rule("tcp", (100 * r, 100 * r + n), cidr=f"10.{r}.0.0/16") for r in range(8)),
            rule("tcp", 22, group=f"sg-{(n + 1) % 90}"),
            rule("icmp", icmp_type=8, cidr="0.0.0.0/0"),
        )
        for n in range(90)
    }
    instances = {f"i-{n}": instance(n, [f"sg-{3 * (n - 1) + one}" for one in range(3)]) for n in range(1, 31)}
    addresses = [format_address(parse_address("10.200.0.0") + n) for n in range(members)]
    held = {name: [f"10.111.102.{n % 250}" for n in range(20)] for name in groups}
    return wire(instances, groups, held | {"sg-1": addresses}, public_ips=["10.111.200.1-10.111.200.50"])


def with_members(view: View, name: str, members: Members) -> View:
    """As a delta does it: every other section stays the same object."""
    return replace(view, members={**view.members, GroupId(name): members})


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--members", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=50)
    chosen = parser.parse_args()
    if not namespaces.inside():
        print("run inside a lab: python -m lab.enter -- .venv/bin/python -m bench.node_apply", file=sys.stderr)
        return 2
    host = Host.create("bench")
    host.ip("link add br0 type bridge", "link set br0 up")
    with host.entered():
        _measure(chosen.members, chosen.repeat)
    return 0


def _measure(members: int, repeat: int) -> None:
    made = network(members)
    view = View.parse(made)
    agent, bare = Enforcement(HostFacts("br0", "br0")), Libnftables()
    first = agent.apply(view, clock_seconds=1)
    assert first.state == "applied", first
    print(f"{members} members in one group, 30 instances, 90 groups; {first.changes} kernel objects\n")
    print(f"{'':42}{'plan':>8}{'apply':>8}{'verify':>8}{'all':>8}{'bare':>8}{'ratio':>7}")
    _row("first view, everything", [(first, sum(first.timings_ms.values()))], None)

    large = view.members[GroupId("sg-1")]
    new = parse_address("10.250.0.1")
    bare_add = [
        timed(lambda n=n: bare.commit(f"add element ip verge members/sg-1 {{ 10.251.0.{n} }}\n")) for n in range(repeat)
    ]
    bare.commit("delete element ip verge members/sg-1 { " + ", ".join(f"10.251.0.{n}" for n in range(repeat)) + " }\n")
    agent.resync(view, clock_seconds=1)
    added, removed, rules, none = [], [], [], []
    for n in range(repeat):
        more = with_members(view, "sg-1", large.changed(add=[new + n]))
        added.append(_run(agent, more, 1))
        removed.append(_run(agent, view, None))
        none.append(_run(agent, View.parse(made) if n == 0 else view, 0))
        wider = {**made, "groups": {**made["groups"], "sg-5": made["groups"]["sg-6"]}}
        if n < 10:
            other = View.parse(wider)
            rules.append(_run(agent, other, None))
            _run(agent, view, None)
    _row("one member more", added, bare_add)
    _row("one member less, its users judged again", removed, bare_add)
    _row("a group's rules replaced", rules, bare_add)
    _elastic(agent, made, bare, repeat)
    _row("nothing", none, None)
    resyncs = []
    for _ in range(5):
        start = time.perf_counter()
        outcome = agent.resync(view, clock_seconds=1)
        resyncs.append((outcome, (time.perf_counter() - start) * 1000))
        assert not outcome.changes
    _row("resync, nothing to repair", resyncs, None)
    print(f"\nmoved(), asked every second: {median(timed(agent.moved) for _ in range(repeat)):.3f} ms")


def _elastic(agent: Enforcement, made: dict[str, Any], bare: Libnftables, repeat: int) -> None:
    """Against the same elements in one bare transaction. The view is another for each, as a delta makes it."""
    plain = View.parse(made)
    vm = plain.instances[InstanceId("i-1")]
    having = replace(vm, elastic_ip=IPv4Address("10.111.200.1"))
    given = replace(plain, instances={**plain.instances, vm.id: having})
    added, removed, floor = [], [], []
    _run(agent, plain, None)
    for _ in range(repeat):
        added.append(_run(agent, given, 4))
        removed.append(_run(agent, plain, 4))
    elements = (
        "add element bridge verge_l2 elastic_here4 { 10.111.200.1 }\n"
        "add element ip verge elastic_pairs { 10.111.200.1 . 10.111.101.1 }\n"
        "add element ip verge elastic_dnat { 10.111.200.1 : 10.111.101.1 }\n"
        "add element ip verge elastic_snat { 10.111.101.1 : 10.111.200.1 }\n"
    )
    for _ in range(repeat):
        floor.append(timed(lambda: bare.commit(elements)))
        bare.commit(elements.replace("add ", "delete "))
    agent.resync(plain, clock_seconds=1)
    _row("an elastic IP more", added, floor)
    _row("an elastic IP less, its flows forgotten", removed, floor)


def _run(agent: Enforcement, view: View, changes: int | None) -> tuple[Outcome, float]:
    start = time.perf_counter()
    outcome = agent.apply(view, clock_seconds=1)
    spent = (time.perf_counter() - start) * 1000
    assert outcome.state == "applied", outcome
    assert changes is None or outcome.changes == changes, outcome
    return outcome, spent


def _row(name: str, runs: list[tuple[Outcome, float]], bare: list[float] | None) -> None:
    stages = [median(outcome.timings_ms[stage] for outcome, _ in runs) for stage in ("plan", "apply", "verify")]
    whole = median(spent for _, spent in runs)
    floor = f"{median(bare):8.3f}{whole / median(bare):7.1f}" if bare else ""
    print(f"{name:42}{''.join(f'{stage:8.3f}' for stage in stages)}{whole:8.3f}{floor}")


if __name__ == "__main__":
    sys.exit(main())
