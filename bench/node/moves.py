"""With a hundred thousand tracked flows: a rule is revoked, an elastic IP moves. How soon is it in force, and for whom else?

    outside ─ up0 ─▶ br0 ─▶ VMs

The flows are made by packets, from as many addresses outside as it takes. Then somebody sends a datagram a millisecond on a
flow that is revoked (that moves), and on one that is not; what counts is the time from the beginning of the apply to the last
datagram that passed by the old policy (the first by the new), and what the other flow lost.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from time import monotonic, sleep
from typing import Any

from bench.node import edge, sides
from bench.node.burst import Burst, datagram_socket
from bench.node.content import PROBE_PORT, SUBNET, Content, Rule, Size, content, wire
from bench.node.figures import Figure
from bench.node.sides import Side
from bench.node.stream import Lane, Stream
from lab import frames
from lab.host import Host
from nodeagent.kernel.conntrack import Conntrack
from nodeagent.state.host import HostFacts
from verge.contract.view import View

FLOWS = 100_000
_SIZE = Size(86, 860, 2_000)
_REVOKED_PORT = 7100
_ELASTIC = "10.111.200.200"
_OUTSIDE = "10.111.0.200"
_BEFORE_S, _AFTER_S = 0.2, 0.5
_MOVES = 5


def measure() -> tuple[list[Figure], dict[str, Any]]:
    plain = content(_SIZE)
    last = plain.vms[-1].groups[-1]
    extra = Rule("udp", (_REVOKED_PORT, _REVOKED_PORT), cidr=SUBNET)
    wider = replace(plain, groups={**plain.groups, last: (extra, *plain.groups[last])})
    views = {
        "before": View.parse(wire(wider)),
        "revoked": View.parse(wire(plain)),
        "here": View.parse(_with_elastic(wider, 1)),
        "there": View.parse(_with_elastic(wider, len(plain.vms))),
    }
    plugged = [plain.vms[0], plain.vms[14], plain.vms[-1]]
    with (
        sides.verge("moves", wider, plugged, HostFacts("br0", "br0", uplinks=("up0",))) as side,
        _outside(side) as outside,
    ):
        side.host.set_sysctl("net.netfilter.nf_conntrack_udp_timeout", 600)
        _apply(side, views["before"])
        made = _make_flows(side, outside)
        revoked = [_revocation(side, outside, views) for _ in range(_MOVES)]
        moved = [_move(side, outside, views, number) for number in range(_MOVES)]
    worst = {"revocation": max(ms for ms, _ in revoked), "move": max(ms for ms, _ in moved)}
    others = sum(lost for _, lost in (*revoked, *moved))
    return [
        Figure(
            f"a rule revoked among {made} flows: last packet of its flow after", worst["revocation"], "ms", at_most=100
        ),
        Figure(f"an elastic IP moved among {made} flows: at its new holder after", worst["move"], "ms", at_most=100),
        Figure("packets that other flows lost meanwhile", others, at_most=0),
    ], {
        "revocations, ms": {str(n): round(ms, 1) for n, (ms, _) in enumerate(revoked)},
        "moves, ms": {str(n): round(ms, 1) for n, (ms, _) in enumerate(moved)},
    }


def _with_elastic(made: Content, number: int) -> dict[str, Any]:
    body = wire(made)
    body["instances"][made.vms[number - 1].id]["elastic_ip"] = _ELASTIC
    return body


@contextmanager
def _outside(side: Side) -> Iterator[Host]:
    """A host beyond the uplink, which knows where the elastic IP and the VMs are."""
    host = Host.create("outside")
    try:
        host.set_sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        side.host.ip(f"link add up0 type veth peer name eth0 netns {host.name}", "link set up0 master br0 up")
        host.ip(
            f"address add {_OUTSIDE}/16 dev eth0",
            "link set eth0 up",
            f"neigh replace {_ELASTIC} lladdr {edge.BRIDGE_MAC} dev eth0 nud permanent",
            *(f"neigh replace {vm.ip} lladdr {vm.mac} dev eth0 nud permanent" for vm in side.vms.values()),
        )
        yield host
    finally:
        host.delete()


def _make_flows(side: Side, outside: Host) -> int:
    """From ever other ports and addresses outside to the three VMs; how many are tracked."""
    share = FLOWS // len(side.vms) + 1
    for vm in side.vms.values():
        packets = []
        for number in range(share):
            source = IPv4Address("10.111.210.1") + number // 1_000
            body = frames.udp(source, vm.ip, 10_000 + number % 1_000, PROBE_PORT, b"flow")
            packets.append(frames.ipv4(source, vm.ip, frames.UDP, body))
        with (
            outside.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as out,
            datagram_socket(vm, PROBE_PORT) as into,
        ):
            out.connect((str(vm.ip), 0))
            Burst(out, into, packets).send()
    with side.host.entered():
        conntrack = Conntrack()
    try:
        with side.host.entered():
            return conntrack.count()
    finally:
        conntrack.close()


def _revocation(side: Side, outside: Host, views: dict[str, View]) -> tuple[float, int]:
    """(milliseconds, packets that the other flow lost)"""
    first, last = side.vms[1], side.vms[max(side.vms)]
    with ExitStack() as open_:
        ends = [
            open_.enter_context(datagram_socket(vm, port)) for vm, port in ((last, _REVOKED_PORT), (first, PROBE_PORT))
        ]
        lanes = [
            Lane(_to(open_, outside, str(vm.ip), port), [into])
            for vm, port, into in ((last, _REVOKED_PORT, ends[0]), (first, PROBE_PORT, ends[1]))
        ]
        with Stream(*lanes):
            sleep(_BEFORE_S)
            began = monotonic()
            _apply(side, views["revoked"])
            sleep(_AFTER_S)
        assert lanes[0].received(), "the flow never was"
        _apply(side, views["before"])
    return 1000 * max(0.0, lanes[0].received()[-1] - began), lanes[1].sent - len(lanes[1].received())


def _move(side: Side, outside: Host, views: dict[str, View], number: int) -> tuple[float, int]:
    """From the last VM to the first, on one flow with one source port; the other flow is by a private address."""
    first, middle, last = side.vms[1], side.vms[15], side.vms[max(side.vms)]
    _apply(side, views["there"])
    with ExitStack() as open_:
        holders = [open_.enter_context(datagram_socket(vm, PROBE_PORT)) for vm in (last, first)]
        bystander = open_.enter_context(datagram_socket(middle, PROBE_PORT))
        moving = Lane(_to(open_, outside, _ELASTIC, PROBE_PORT, 9_000 + number), holders)
        staying = Lane(_to(open_, outside, str(middle.ip), PROBE_PORT), [bystander])
        with Stream(moving, staying):
            sleep(_BEFORE_S)
            began = monotonic()
            _apply(side, views["here"])
            sleep(_AFTER_S)
        assert moving.received(0), "the old holder never was reached"
        assert moving.received(1), "the new holder never was reached"
    return 1000 * (moving.received(1)[0] - began), staying.sent - len(staying.received())


def _to(open_: ExitStack, outside: Host, address: str, port: int, source_port: int = 0) -> socket.socket:
    out = open_.enter_context(outside.socket(socket.AF_INET, socket.SOCK_DGRAM))
    out.bind((_OUTSIDE, source_port))
    out.connect((address, port))
    return out


def _apply(side: Side, view: View) -> None:
    assert side.enforcement
    with side.host.entered(), sides.preferred():
        outcome = side.enforcement.apply(view, clock_seconds=1_700_000_000)
    assert outcome.state == "applied", outcome
