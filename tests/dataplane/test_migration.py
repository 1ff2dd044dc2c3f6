"""Live migration: the port is prepared on the target and closed; at the cut-over it opens, and its VM's sessions go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.flows import Flow
from lab.frames import ACK, BROADCAST, IPV4, RARP, RARP_REQUEST, TCP, arp, ethernet, ipv4, tcp
from lab.probes import expect
from lab.session import Session, Side, deliveries
from lab.wire import capture, send_frame
from tests.dataplane.place import EVERYWHERE, FLAT, TWO, Place, named, place
from tests.unit.nodeagent.wires import group, rule

PATIENCE = 10.0
"""For what TCP sends again: it waits longer each time."""

everywhere = pytest.mark.parametrize("kind", EVERYWHERE, ids=named)
sides = pytest.mark.parametrize("first", Side, ids=lambda side: side.value)


@contextmanager
def prepared(kind: tuple[str, str]) -> Iterator[Place]:
    """`a` is about to go to nc-2, whose port for it is prepared; nc-1 has it still."""
    with place(kind) as at:
        at.cloud.prepared[at.a.interface] = "nc-2"
        outcomes = at.cloud.enforce("nc-2")
        assert outcomes["nc-2"].instances[at.a.interface.removeprefix("vn_")] == "prepared"
        yield at


def arrive(at: Place) -> None:
    """The VM runs on nc-2, whose port is closed still."""
    at.cloud.holder[at.a.interface] = "nc-1"
    at.lab.move(at.a.interface, "nc-2")


def cut_over(at: Place) -> None:
    """Withdraw, then grant."""
    at.cloud.holder[at.a.interface] = "nobody"
    at.cloud.enforce("nc-1")
    del at.cloud.holder[at.a.interface], at.cloud.prepared[at.a.interface]
    outcome = at.cloud.enforce("nc-2")["nc-2"]
    assert outcome.instances[at.a.interface.removeprefix("vn_")] == "ready"


def announce(at: Place, mark: bytes) -> None:
    """As QEMU does for its guest when that goes on running."""
    body = arp(RARP_REQUEST, at.a.mac, "0.0.0.0", at.a.mac, "0.0.0.0") + bytes(18) + mark
    send_frame(at.a.host, "eth0", ethernet(BROADCAST, at.a.mac, RARP, body))


@everywhere
def test_a_port_is_closed_on_the_target_until_the_cut_over(kind: tuple[str, str]) -> None:
    with prepared(kind) as at:
        inward = [
            Flow.tcp(at.b.host, at.a.host, at.a.ip, 80),
            Flow.tcp(at.e.host, at.a.host, at.a.ip, 80),
            Flow.tcp(at.outside, at.a.host, at.elastic(1), 80),
            Flow.icmp(at.d.host, at.a.host, at.a.ip),
        ]
        outward = [
            Flow.tcp(at.a.host, at.c.host, at.c.ip, 80),
            Flow.tcp(at.a.host, at.f.host, at.f.ip, 80),
            Flow.udp(at.a.host, at.clc, at.clc_address, 53),
        ]
        control = [Flow.tcp(at.b.host, at.d.host, at.d.ip, 80)]
        assert expect([*inward, *outward, *control], []) == [], "at the source all passes, prepared or not"
        with capture(at.lab["nc-2"], "up0", lambda frame: b"qemu" in frame.raw) as seen:
            announce(at, b"qemu at the source")
            assert at.cloud.gateway_mode == "proxy" or seen.wait_for(lambda frame: b"at the source" in frame.raw)
            arrive(at)
            announce(at, b"qemu too early")
            assert expect(control, [*inward, *outward]) == []
            assert [frame for frame in seen.frames if b"too early" in frame.raw] == []
            cut_over(at)
            announce(at, b"qemu in time")
            # with proxy the wire knows no instance's MAC address
            assert at.cloud.gateway_mode == "proxy" or seen.wait_for(lambda frame: b"in time" in frame.raw)
        assert expect([*inward, *outward, *control], []) == []


def sessions(at: Place) -> dict[str, Session]:
    """Of the VM that migrates, with peers on its old node, on its new one, and elsewhere."""
    return {
        "from its old node": Session.tcp(at.b.host, at.a.host, at.a.ip, 80),
        "from its new node": Session.tcp(at.e.host, at.a.host, at.a.ip, 80),
        "from outside, by its elastic IP": Session.tcp(at.outside, at.a.host, at.elastic(1), 80),
        "to its old node": Session.tcp(at.a.host, at.c.host, at.c.ip, 80),
        "to its new node": Session.tcp(at.a.host, at.f.host, at.f.ip, 22),
        "to outside, by its elastic IP": Session.tcp(at.a.host, at.clc, at.clc_address, 81),
    }


@sides
@everywhere
def test_sessions_survive_whoever_began_them_and_whoever_speaks_first(kind: tuple[str, str], first: Side) -> None:
    with prepared(kind) as at:
        running = sessions(at)
        arrive(at)
        cut_over(at)
        by_guest = {name: Side.CLIENT if name.startswith("to") else Side.SERVER for name in running}
        if first is Side.CLIENT:
            speaks = [(session, by_guest[name]) for name, session in running.items()]
        else:  # in a session that the guest began, the far side is heard once the guest has spoken
            speaks = [(one, by_guest[name].other) for name, one in running.items() if name.startswith("from")]
        assert [one for one, came in deliveries(speaks, awaited=speaks, patience=PATIENCE).items() if not came] == []
        both = [(session, side) for session in running.values() for side in (Side.CLIENT, Side.SERVER)]
        assert [one for one, came in deliveries(both, awaited=both, patience=PATIENCE).items() if not came] == []
        assert {name: session.error for name, session in running.items() if session.error} == {}
        for session in running.values():
            session.close()


@sides
@pytest.mark.parametrize("kind", [FLAT, TWO], ids=named)
def test_what_was_revoked_before_does_not_come_to_life_again(kind: tuple[str, str], first: Side) -> None:
    with prepared(kind) as at:
        running = sessions(at)
        ended = [session for name, session in running.items() if name.startswith("from")]
        at.cloud.groups["sg"] = group(rule("icmp", cidr="0.0.0.0/0"), rule("tcp", 22, group="sg"))
        at.cloud.groups["peers"] = group(rule("tcp", 80, cidr="0.0.0.0/0"))
        for vm in (at.c, at.f):
            at.cloud.groups_of[vm.interface] = ["sg", "peers"]
        at.cloud.enforce()
        arrive(at)
        cut_over(at)
        alive = [(session, Side.CLIENT) for session in running.values() if session not in ended]
        for side in (first, first.other):
            tried = [(session, side) for session in ended]
            arrived = deliveries([*tried, *alive], awaited=alive, patience=PATIENCE)
            assert [one for one in tried if arrived[one]] == []
            assert [one for one in alive if not arrived[one]] == []
        for session in running.values():
            session.close()


@sides
@pytest.mark.parametrize("kind", [FLAT, TWO], ids=named)
def test_what_is_revoked_behind_it_ends(kind: tuple[str, str], first: Side) -> None:
    """Whoever spoke first on the new node, and so gave conntrack its idea of the session's direction."""
    with prepared(kind) as at:
        running = sessions(at)
        arrive(at)
        cut_over(at)
        inward = [session for name, session in running.items() if name.startswith("from")]
        lasting = [(session, Side.CLIENT) for session in running.values() if session not in inward]
        for side in (first, first.other):
            spoken = [*((session, side) for session in inward), *lasting]
            assert all(deliveries(spoken, awaited=spoken, patience=PATIENCE).values())
        # an unrelated tightening: all is judged again, and goes on
        at.cloud.groups["sg"]["ingress"] = [at.cloud.groups["sg"]["ingress"][0], rule("tcp", 22, group="sg")]
        at.cloud.enforce()
        for side in (first, first.other):
            spoken = [(session, side) for session in inward]
            assert all(deliveries(spoken, awaited=spoken, patience=PATIENCE).values())
        at.cloud.groups["sg"] = group(rule("tcp", 22, group="sg"))
        at.cloud.groups["peers"] = group(rule("tcp", 80, cidr="0.0.0.0/0"))
        for vm in (at.c, at.f):
            at.cloud.groups_of[vm.interface] = ["sg", "peers"]
        at.cloud.enforce()
        for side in (first, first.other):
            tried = [(session, side) for session in inward]
            arrived = deliveries([*tried, *lasting], awaited=lasting, patience=PATIENCE)
            assert [one for one in tried if arrived[one]] == []
            assert [one for one in lasting if not arrived[one]] == []
        for session in running.values():
            session.close()


def test_an_answer_in_the_midst_opens_no_neighbour() -> None:
    """One entry of conntrack is both's, and both have the same generation: each is judged by its own rules all the same."""
    with place(FLAT) as at:
        not_allowed = 50_000
        answer = tcp(at.a.ip, at.c.ip, 80, not_allowed, flags=ACK)
        with capture(at.c.host, "eth0", lambda frame: answer in frame.raw) as seen:
            for _ in range(3):
                send_frame(at.a.host, "eth0", ethernet(at.c.mac, at.a.mac, IPV4, ipv4(at.a.ip, at.c.ip, TCP, answer)))
            assert expect([Flow.tcp(at.a.host, at.c.host, at.c.ip, 80)], []) == []
            assert seen.frames == []
