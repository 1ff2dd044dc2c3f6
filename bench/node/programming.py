"""What it costs to put a document into force, and to change one thing in it, at two sizes; beside EDGE mode's way.

By the agent's own parts in its own process: view → plan → one transaction → verified. At each size a change is measured, and
undone, again and again, the sizes in turn, with a rest between any two; figures are medians. Processes are counted by the
kernel, which numbers those of a lab one by one.

EDGE mode's way is that of its daemon: all sets and all tables written anew by `ipset restore` and `iptables-restore`, and for
whatever touches a VM or an address one process for each of the bridge's rules. Documents are not read, and nothing is
announced: it is the least that it costs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Address
from itertools import product
from statistics import median
from typing import Any

from bench.node import edge, sides
from bench.node.content import Content, Rule, Size, content, wire
from bench.node.figures import Figure
from bench.node.sides import FACTS, Side
from nodeagent.enforcement import Enforcement
from verge.contract.rule import GroupId
from verge.contract.view import InstanceId, View

SMALL, LARGE = Size(86, 860, 100), Size(86, 860, 20_000)
FLAT = 1.3
_FIRSTS = 5
_EDGE_ROUNDS = 2
_REST_S = 0.02
"""Between changes: an agent that is told something has been waiting for it, and has its share of the processor still."""
Times = dict[str, list[float]]


def measure(rounds: int, *, edge: bool) -> tuple[list[Figure], dict[str, Any]]:
    sizes = {"small": content(SMALL), "large": content(LARGE)}
    with ExitStack() as open_:
        open_.enter_context(sides.preferred())
        spent: dict[str, Times] = {name: _first(made) for name, made in sizes.items()}
        processor: dict[str, Times] = {name: {} for name in sizes}
        nodes = {}
        for name, made in sizes.items():
            side = open_.enter_context(sides.verge(f"verge-{name}", made, made.vms[:1]))
            nodes[name] = Changes(side, made)
        for _, (name, node) in product(range(rounds), nodes.items()):
            for what, ms in node.round():
                spent[name].setdefault(what, []).append(ms)
                processor[name].setdefault(what, []).append(node.processor_ms)
        before = _pid()
        for _ in nodes["large"].round():
            pass
        forked = _pid() - before - 1
    details: dict[str, Any] = {
        f"verge, {name} ({sizes[name].addresses} addresses)": _medians(spent[name]) for name in sizes
    } | {f"… of which processor time, {name}": _medians(processor[name]) for name in sizes}
    figures = list(_figures(spent, forked))
    if edge:
        by_edge = _by_edge(sizes["large"])
        details["edge, large"] = _medians(by_edge)
        ours = _medians(spent["large"])
        for what, ms in _medians(by_edge).items():
            figures.append(Figure(f"{what}, times as fast as EDGE mode's way", ms / ours[what], at_least=1))
    return figures, details


def _figures(spent: dict[str, Times], forked: int) -> Iterator[Figure]:
    small, large = (_medians(spent[name]) for name in ("small", "large"))
    bounds = {"first apply": 1000.0, "a rule more": 10.0, "a rule less": 10.0, "an EIP more": 15.0, "an EIP less": 15.0}
    for what, most in bounds.items():
        yield Figure(what, large[what], "ms", at_most=most)
    for what in large:
        if what != "first apply":
            yield Figure(f"{what}, large against small", large[what] / small[what], at_most=FLAT)
    yield Figure("processes or threads made by six changes", forked, at_most=0)


def _medians(spent: Times) -> dict[str, float]:
    return {what: round(median(values), 2) for what, values in spent.items()}


def _first(made: Content) -> Times:
    """From the parsed view and an empty kernel; each time another hypervisor and another agent."""
    body, times = wire(made), []
    for number in range(_FIRSTS):
        view = View.parse(body)
        with sides.hypervisor(f"first{number}") as side, side.host.entered():
            agent = Enforcement(FACTS)
            times.append(timed(lambda agent=agent, view=view: _applied(agent, view)))  # type: ignore[misc]
            agent.close()
    return {"first apply": times}


class Changes:
    """One node, on which one thing changes at a time. Each view shares with the one before whatever stays, as a delta has it."""

    processor_ms: float = 0.0
    """Of the last change: other loads do not show in it."""

    def __init__(self, side: Side, made: Content) -> None:
        assert side.enforcement
        self._side, self._agent = side, side.enforcement
        self._plain = View.parse(wire(made))
        name = list(made.groups)[len(made.groups) // 2]
        self._group = name
        self._rules = made.groups[name]
        self._next = 50_000
        self._body = wire(replace(made, vms=made.vms, groups={name: self._rules}, members={name: made.members[name]}))

    def round(self) -> Iterator[tuple[str, float]]:
        """What changed, and how many milliseconds it took."""
        self._next = 50_000 + (self._next + 1) % 10_000
        yield "a rule more", self._apply(self._with_rule())
        yield "a rule less", self._apply(self._plain)
        yield "an EIP more", self._apply(self._with_elastic())
        yield "an EIP less", self._apply(self._plain)
        yield "a member more", self._apply(self._with_member())
        yield "a member less", self._apply(self._plain)

    def _with_rule(self) -> View:
        one = Rule("tcp", (self._next, self._next), cidr="198.18.0.0/15")
        group = {**self._body["groups"][self._group], "ingress": [rule.wire() for rule in (*self._rules, one)]}
        parsed = View.parse({**self._body, "groups": {self._group: group}})
        return replace(self._plain, groups={**self._plain.groups, **parsed.groups})

    def _with_elastic(self) -> View:
        """For the last VM, which has none; what it is a member of has its new address too."""
        vm = max(self._plain.instances.values(), key=lambda one: int(one.private_ip))
        address = IPv4Address("10.111.200.250")
        instances = {**self._plain.instances, InstanceId(vm.id): replace(vm, elastic_ip=address)}
        members = {name: self._plain.members[name].changed(add=[int(address)]) for name in vm.groups}
        return replace(self._plain, instances=instances, members={**self._plain.members, **members})

    def _with_member(self) -> View:
        name = GroupId(next(rule.group for rule in self._rules if rule.group))
        more = self._plain.members[name].changed(add=[(198 << 24) + self._next])
        return replace(self._plain, members={**self._plain.members, name: more})

    def _apply(self, view: View) -> float:
        time.sleep(_REST_S)
        with self._side.host.entered():
            began = time.thread_time()
            spent = timed(lambda: _applied(self._agent, view))
            self.processor_ms = (time.thread_time() - began) * 1000
        return spent


def _applied(agent: Enforcement, view: View) -> None:
    outcome = agent.apply(view, clock_seconds=1_700_000_000)
    assert outcome.state == "applied", outcome
    assert outcome.changes, outcome


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _pid() -> int:
    """Of a process that is made for it, and gone."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def _by_edge(made: Content) -> Times:
    """The same document, and the same changes in it."""
    spent: Times = {"first apply": [], "a rule more": [], "an EIP more": []}
    with sides.hypervisor("edge") as side:
        for _ in range(_EDGE_ROUNDS):
            whole = timed(lambda: _whole(side, made))
            for what in ("first apply", "an EIP more"):  # the same work
                spent[what].append(whole)
            spent["a rule more"].append(timed(lambda: groups_by_edge(side, made)))
    return spent


def groups_by_edge(side: Side, made: Content) -> None:
    """What it does for any change: every set three times, the tables once."""
    emptied = "".join(
        f"flush {line.split()[1]}\n" if line.startswith("create") else "" for line in edge.sets(made).splitlines()
    )
    sets = edge.sets(made)
    for number in range(3):
        side.host.run("ipset", "-exist", "restore", stdin=sets if not number else emptied + sets, timeout=60)
        if number == 1:
            side.host.run("iptables-legacy-restore", stdin=edge.tables(made), timeout=60)


def _whole(side: Side, made: Content) -> None:
    """… and where a VM or its address is concerned, the bridge's rules one by one, a process for each."""
    groups_by_edge(side, made)
    side.host.run("ebtables-nft-restore", stdin=edge.frame_table(replace(made, vms=())), timeout=60)
    with side.host.entered():
        for rule in edge.frames(made):
            _run("ebtables-nft", "-t", "nat", "-A", *rule)


def _run(*command: str) -> None:
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status = os.waitpid(pid, 0)
    assert not status, command
