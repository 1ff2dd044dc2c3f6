"""What a packet costs, of an established and of a new flow, to the first and to the last VM, on every side in turn.

One round sends a burst on each side, so that whatever else the machine does is in all of them; each figure is the median of
the rounds. A ratio is packets per second against the bridge without rules in the same run.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from statistics import median
from typing import Any

from bench.node import sides
from bench.node.burst import Burst, datagram_socket, packet_socket, pinned, udp_packet
from bench.node.content import PROBE_PORT, Size, content
from bench.node.content import Vm as Instance
from bench.node.figures import Figure
from bench.node.sides import Side
from nodeagent.state.limits import DEFAULTS, Limits

SIZES = (Size(1, 30, 100), Size(86, 860, 20_000), Size(86, 5_000, 20_000))
LIMITED = {"unlimited": Limits(0, 0, 0, 0, 0), "busy": sides.COUNTED}
KINDS = ("established", "new")
PLACES = ("first", "last")
_FROM = 15
PACKETS = 2_000
FLAT = 1.15
"""As equal as medians of one run on a shared machine come out."""
_KNOWN_PORT = 33_000


@dataclass(slots=True)
class Lane:
    """One side, one kind of flow, one receiver; and what its packets cost. `before` makes each burst what it is to be."""

    burst: Burst
    before: Callable[[], None]
    costs: list[float] = field(default_factory=list)
    lost: int = 0

    def run(self) -> None:
        self.before()
        spent = self.burst.send()
        self.costs.append(spent.packet_ns)
        self.lost += spent.sent - spent.delivered

    @property
    def ns(self) -> float:
        return median(self.costs)


Key = tuple[str, str, str]


def measure(rounds: int, *, edge: bool) -> tuple[list[Figure], dict[str, Any]]:
    pinned()
    with ExitStack() as open_:
        lanes: dict[Key, Lane] = {}
        for name, made in _sides(edge=edge).items():
            side = open_.enter_context(made)
            if name == "busy":
                sides.make_busy(side)
            lanes |= {(name, *rest): lane for rest, lane in open_.enter_context(_lanes(side)).items()}
        for number in range(rounds + 1):
            for lane in lanes.values():
                lane.run()
            if not number:
                for lane in lanes.values():
                    lane.costs.clear()
    return list(_figures(lanes, edge=edge)), {
        " ".join(key): {"packet_ns": round(lane.ns), "lost": lane.lost, "samples": len(lane.costs)}
        for key, lane in lanes.items()
    }


def _sides(*, edge: bool) -> dict[str, AbstractContextManager[Side]]:
    """By name, not yet made: without rules, and each size both ways."""
    plain = content(SIZES[0])
    plugged = [plain.vms[n - 1] for n in (1, _FROM, plain.vms[-1].number)]
    made: dict[str, AbstractContextManager[Side]] = {"bare": sides.bare("bare", plugged)}
    for name, limits in LIMITED.items():
        made[name] = sides.verge(name, plain, plugged, limits=limits)
    for number, size in enumerate(SIZES):
        held = content(size)
        made[f"verge, {size}"] = sides.verge(f"verge{number}", held, _plugged(held.vms), limits=DEFAULTS)
        if edge:
            made[f"edge, {size}"] = sides.like_edge(f"edge{number}", held, _plugged(held.vms))
    return made


def _plugged(vms: tuple[Instance, ...]) -> list[Instance]:
    return [vms[0], vms[_FROM - 1], vms[-1]]


@contextmanager
def _lanes(side: Side) -> Iterator[dict[tuple[str, str], Lane]]:
    sender = side.vms[_FROM]
    with ExitStack() as open_:
        caller = open_.enter_context(datagram_socket(sender, _KNOWN_PORT))
        lanes = {}
        for place, number in zip(PLACES, (1, max(side.vms)), strict=True):
            receiver = side.vms[number]
            out = open_.enter_context(packet_socket(sender, receiver))
            called = open_.enter_context(datagram_socket(receiver, PROBE_PORT))
            fresh = [udp_packet(sender, receiver, port, PROBE_PORT) for port in range(1024, 1024 + PACKETS)]
            known = [udp_packet(sender, receiver, _KNOWN_PORT, PROBE_PORT)] * PACKETS
            lanes["established", place] = Lane(Burst(out, called, known), partial(_converse, caller, called))
            lanes["new", place] = Lane(Burst(out, called, fresh), side.forget_flows)
        yield lanes


def _converse(caller: socket.socket, called: socket.socket) -> None:
    """A question and an answer, so that the flow is established."""
    caller.sendto(b"?", called.getsockname())
    _, whom = called.recvfrom(16)
    called.sendto(b"!", whom)
    caller.recv(16)


def _figures(lanes: dict[Key, Lane], *, edge: bool) -> Iterator[Figure]:
    def ns(name: str, kind: str, place: str) -> float:
        return lanes[name, kind, place].ns

    names = [f"verge, {size}" for size in SIZES]
    for kind, least in (("established", 0.75), ("new", 0.65)):
        worst = min(ns("bare", kind, place) / ns(name, kind, place) for name, place in product(names, PLACES))
        yield Figure(f"{kind} flows against a bridge without rules, worst VM and size", worst, at_least=least)
        ends = max(_apart(ns(name, kind, "first"), ns(name, kind, "last")) for name in names)
        yield Figure(f"{kind} flows, first VM against last VM", ends, at_most=FLAT)
        by_size = max(_apart(ns(a, kind, place), ns(b, kind, place)) for a, b, place in product(names, names, PLACES))
        yield Figure(f"{kind} flows, smallest against largest size", by_size, at_most=FLAT)
        if edge:
            peers = [
                (ns(f"edge, {size}", kind, at) / ns(f"verge, {size}", kind, at)) for size in SIZES for at in PLACES
            ]
            yield Figure(f"{kind} flows, times as fast as EDGE mode's, worst VM and size", min(peers), at_least=1)
            yield Figure(f"{kind} flows, times as fast as EDGE mode's, last VM, 86 groups", peers[3], at_least=2)
    for name, called, least in ((names[0], "limited", 0.95), ("busy", "of a busy instance, all counted,", 0.7)):
        worst = min(ns("unlimited", "new", place) / ns(name, "new", place) for place in PLACES)
        yield Figure(f"new flows {called} against no limits", worst, at_least=least)
        worst = min(ns("unlimited", "established", place) / ns(name, "established", place) for place in PLACES)
        yield Figure(f"established flows {called} against no limits", worst, at_least=0.95)
    yield Figure("permitted packets lost, all sides", sum(lane.lost for lane in lanes.values()), at_most=0)


def _apart(one: float, other: float) -> float:
    return max(one, other) / min(one, other)
