"""A flood of permitted and of forbidden packets while one random change after the other is put into force.

The permitted ones are of ever new flows (conntrack forgets them after a second), so each is judged; so is each forbidden one.
Beside it, EDGE mode's way of changing a rule under the same flood: its sets are emptied and filled again in place, and while
they are, what is forbidden passes. Told as time that it stood open.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic
from typing import Any

from bench.node import sides
from bench.node.burst import datagram_socket, packet_socket, udp_packet
from bench.node.content import PROBE_PORT, Content, Rule, Size, content, wire
from bench.node.figures import Figure
from bench.node.programming import groups_by_edge
from bench.node.sides import Side
from bench.node.stream import Lane, Stream
from verge.contract.view import View

FORBIDDEN_PORT = 7001
_FROM = 15
_FLOWS = range(2_000, 5_000)
_EDGE_CHANGES = 3
_SIZE = Size(86, 860, 2_000)
_LARGE = Size(86, 860, 20_000)


def measure(updates: int, *, edge: bool) -> tuple[list[Figure], dict[str, Any]]:
    made = content(_SIZE)
    with sides.verge("flood", made, _plugged(made)) as side:
        changes = Random(made)
        permitted, forbidden, _ = _flooded(side, lambda: [_apply(side, changes.next()) for _ in range(updates)])
    lost = permitted.sent - len(permitted.received())
    figures = [
        Figure(f"forbidden packets delivered in {updates} updates", len(forbidden.received()), at_most=0),
        Figure(f"permitted packets lost in {updates} updates", lost, at_most=0),
    ]
    details: dict[str, Any] = {"verge": {"permitted": permitted.sent, "forbidden": forbidden.sent}}
    if edge:
        held = content(_LARGE)
        with sides.like_edge("flood-edge", held, _plugged(held)) as side:
            _, leaked, seconds = _flooded(side, lambda: [groups_by_edge(side, held) for _ in range(_EDGE_CHANGES)])
        open_ms = 1000 * len(leaked.received()) * seconds / leaked.sent / _EDGE_CHANGES
        figures.append(Figure("EDGE mode's way, one rule changed, 20,000 addresses: stood open", open_ms, "ms"))
        details["edge"] = {"forbidden": leaked.sent, "delivered": len(leaked.received()), "changes": _EDGE_CHANGES}
    return figures, details


def _plugged(made: Content) -> list[Any]:
    return [made.vms[_FROM - 1], made.vms[-1]]


def _flooded(side: Side, work: Callable[[], object]) -> tuple[Lane, Lane, float]:
    """(permitted, forbidden, seconds that it lasted)"""
    sender, receiver = side.vms[_FROM], side.vms[max(side.vms)]
    side.host.set_sysctl("net.netfilter.nf_conntrack_udp_timeout", 1)
    with ExitStack() as open_:
        lanes = []
        for port, at_once in ((PROBE_PORT, 2), (FORBIDDEN_PORT, 8)):
            out = open_.enter_context(packet_socket(sender, receiver))
            into = open_.enter_context(datagram_socket(receiver, port))
            packets = [udp_packet(sender, receiver, source, port) for source in _FLOWS]
            lanes.append(Lane(out, [into], packets, at_once))
        lanes[0].out.send(lanes[0].packets[0])  # neighbours know each other before the first that counts
        lanes[0].into[0].recv(64)
        began = monotonic()
        with Stream(*lanes):
            work()
        return lanes[0], lanes[1], monotonic() - began


def _apply(side: Side, view: View) -> None:
    assert side.enforcement
    with side.host.entered():
        outcome = side.enforcement.apply(view, clock_seconds=1_700_000_000)
    assert outcome.state == "applied", outcome


class Random:
    """One view after the other, each with one thing changed; never what the flood depends on."""

    def __init__(self, made: Content, seed: int = 1) -> None:
        self._chance = random.Random(seed)
        self._body = wire(made)
        self._last = made.vms[-1].id

    def next(self) -> View:
        self._chance.choice((self._rule, self._rule, self._member, self._elastic, self._groups_of))()
        return View.parse(self._body)

    def _rule(self) -> None:
        rules = self._chance.choice(list(self._body["groups"].values()))["ingress"]
        if len(rules) > 5 and self._chance.random() < 0.5:
            rules.pop(self._chance.randrange(len(rules) - 1))  # the last lets the flood in
            return
        port = 20_000 + self._chance.randrange(1_000)
        new = Rule("tcp", (port, port), cidr=f"10.{self._chance.randrange(256)}.0.0/16").wire()
        if new not in rules:
            rules.insert(0, new)

    def _member(self) -> None:
        members = self._chance.choice(list(self._body["members"].values()))
        address = f"198.18.{self._chance.randrange(256)}.{self._chance.randrange(256)}"
        if address in members:
            members.remove(address)
        else:
            members.append(address)

    def _elastic(self) -> None:
        vm = self._chance.choice([one for name, one in self._body["instances"].items() if name != self._last])
        number = vm["private_ip"].rpartition(".")[2]
        vm["elastic_ip"] = None if vm["elastic_ip"] else f"10.111.200.{number}"

    def _groups_of(self) -> None:
        vm = self._chance.choice([one for name, one in self._body["instances"].items() if name != self._last])
        vm["groups"] = sorted(self._chance.sample(list(self._body["groups"]), 3))
