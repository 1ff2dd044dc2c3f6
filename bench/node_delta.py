"""A member more in a large group, from the bytes of the answer to the kernel, by stage: as a delta, and as a whole view.

    python -m lab.enter -- .venv/bin/python -m bench.node_delta [--members 20000] [--repeat 50]

The node of `bench.node_apply`. Each figure is the median of the repetitions, in milliseconds:

    read      the answer's bytes → a view whose digest is known
    disk      the view is safe against a killed process (before the kernel is told anything)
    plan, apply, verify    as the agent reports them
    flush     … and against a loss of power (runs beside the kernel's transaction)
    accept    it is what a restart falls back to
    floor     a bare `add element` of one address to the same set through libnftables, nothing else

The ratio is that of plan and apply to the floor: deciding and doing, against doing alone.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import TypeVar

import orjson

from bench.node_apply import network
from lab import namespaces
from lab.host import Host
from nodeagent.checkpoint import Checkpoint
from nodeagent.enforcement import Enforcement
from nodeagent.kernel.libnftables import Libnftables
from nodeagent.session import Answer, Offered, Session, read_delta, read_view
from nodeagent.state.host import HostFacts
from verge.contract.delta import diff
from verge.contract.etag import ETag
from verge.contract.members import parse_address
from verge.contract.rule import GroupId
from verge.contract.view import View

T = TypeVar("T")
STAGES = ("read", "disk", "plan", "apply", "verify", "flush", "accept")
LARGE = GroupId("sg-1")


def with_one_more(view: View, address: int) -> View:
    members = {**view.members, LARGE: view.members[LARGE].changed(add=[address])}
    return View.of(view.wire, view.host, view.network, view.zone, view.instances, view.groups, members)


@dataclass
class Stages:
    spent: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    size: int = 0
    written: int = 0

    def timed(self, stage: str, work: Callable[[], T]) -> T:
        began = time.perf_counter()
        result = work()
        self.spent[stage].append((time.perf_counter() - began) * 1000)
        return result


class Node:
    """The agent's parts in the agent's order, without its event loop, threads and sockets."""

    def __init__(self, directory: Path, view: View) -> None:
        self.enforcement = Enforcement(HostFacts("br0", "br0"))
        self.disk = Checkpoint(directory, "nc-1")
        self.session = Session(node="nc-1", servers=("http://a",), agent_version="1", boot_id="b")
        self.version = 0
        self.take(view, Stages(), delta=False)

    def take(self, newer: View, into: Stages, *, delta: bool) -> None:
        self.version += 1
        request = self.session.next_view_request(0.0)
        headers = {
            "etag": str(ETag(1, self.version, newer.digest)),
            "im": "verge-delta",
            "delta-base": str(self.session.held),
        }
        if delta:
            assert request.base
            body, base = orjson.dumps(diff(request.base, newer)), request.base
            read = lambda: read_delta(body, base)  # noqa: E731
        else:
            body = newer.to_bytes()
            read = lambda: read_view(body)  # noqa: E731
        into.size = len(body)
        content = into.timed("read", read)
        step = self.session.answered(Answer(226 if delta else 200, headers, body, content), 9.0, 0.5)
        assert isinstance(step, Offered), step
        into.timed("disk", lambda: self.disk.keep(step, None, 1))
        outcome = self.enforcement.apply(step.view, clock_seconds=1)
        assert outcome.state == "applied", outcome
        assert self.version == 1 or outcome.changes == 1, outcome
        for stage in ("plan", "apply", "verify"):
            into.spent[stage].append(outcome.timings_ms[stage])
        into.timed("flush", self.disk.settle)
        into.timed("accept", self.disk.accept)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--members", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=50)
    chosen = parser.parse_args()
    if not namespaces.inside():
        print("run inside a lab: python -m lab.enter -- .venv/bin/python -m bench.node_delta", file=sys.stderr)
        return 2
    host = Host.create("bench")
    host.ip("link add br0 type bridge", "link set br0 up")
    with host.entered(), tempfile.TemporaryDirectory() as directory:
        measure(Path(directory), chosen.members, chosen.repeat)
    return 0


def measure(directory: Path, members: int, repeat: int) -> None:
    view = View.parse(network(members))
    node = Node(directory, view)
    bare = Libnftables()
    floor = Stages()
    rows = {"a delta": Stages(), "the whole view": Stages()}
    addresses = count(parse_address("10.250.0.0"))
    add_bare(bare, repeat, floor)
    node.enforcement.resync(node.session.view, clock_seconds=1)
    node.take(
        with_one_more(node.session.view, next(addresses)), Stages(), delta=True
    )  # after reading back all is slower
    for (
        name,
        into,
    ) in rows.items():  # one after the other: parsing a whole view leaves nothing in the processor's caches
        for _ in range(repeat):
            node.take(with_one_more(node.session.view, next(addresses)), into, delta=name == "a delta")
    add_bare(bare, repeat, floor)
    least = median(floor.spent["apply"])
    print(
        f"{members} members in one group, one more; floor {least:.3f} ms; {node.disk.path('last').stat().st_size} bytes a view\n"
    )
    print(f"{'':16}{'bytes':>8}" + "".join(f"{stage:>8}" for stage in STAGES) + f"{'ratio':>8}")
    for name, into in rows.items():
        figures = {stage: median(into.spent[stage]) for stage in STAGES}
        ratio = (figures["plan"] + figures["apply"]) / least
        print(f"{name:16}{into.size:8}" + "".join(f"{figures[stage]:8.3f}" for stage in STAGES) + f"{ratio:8.1f}")
    print(f"\nresident at most, with this program: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


def add_bare(bare: Libnftables, repeat: int, into: Stages) -> None:
    """Before and after, so that what else the machine does then is in both."""
    for number in range(repeat):
        element = f"element ip verge members/{LARGE} {{ 10.251.{number // 250}.{number % 250} }}\n"
        into.timed("apply", partial(bare.commit, f"add {element}"))
        bare.commit(f"delete {element}")


if __name__ == "__main__":
    sys.exit(main())
