"""Rows 21, 22 and 25 of the outcomes: what is withdrawn ends with the apply, whoever is sending, and nothing else notices."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from lab.build import Lab, Vm
from lab.flows import Flow
from lab.host import Host
from lab.probes import expect
from lab.session import Session, Side, deliveries
from lab.topology import OUTSIDE
from nodeagent.state.limits import Limits
from tests.dataplane.cloud import FACTS, Cloud
from tests.unit.nodeagent.wires import group, rule

ANYWHERE = "0.0.0.0/0"
SSH, DNS, WEB = rule("tcp", 22, cidr=ANYWHERE), rule("udp", 53, cidr=ANYWHERE), rule("tcp", 80, cidr=ANYWHERE)
BOTH = (Side.CLIENT, Side.SERVER)


@pytest.fixture
def cloud(flat: Lab, vms: list[Vm]) -> Iterator[Cloud]:
    """vms[0] is the target, in sg-a and sg-web; its neighbour vms[1] is in sg-b, which always allows the same."""
    with Cloud(flat, vms) as cloud:
        cloud.groups = {"sg-a": group(SSH, DNS), "sg-web": group(WEB), "sg-b": group(SSH, DNS, WEB), "sg-c": group()}
        cloud.groups_of = {vm.interface: ["sg-c"] for vm in vms}
        cloud.groups_of[vms[0].interface] = ["sg-a", "sg-web"]
        cloud.groups_of[vms[1].interface] = ["sg-b"]
        cloud.enforce()
        yield cloud


class Sessions:
    """Those that will be revoked, and those that must not notice, from every kind of place."""

    def __init__(self, cloud: Cloud, open_: ExitStack) -> None:
        lab, (target, neighbour, remote) = cloud.lab, cloud.vms[:3]
        sources = [neighbour.host, remote.host, lab["outside"], lab["nc-2"]]
        self.revoked: list[Session] = []
        self.others: list[Session] = []
        for source in sources:
            self.revoked.append(open_.enter_context(Session.tcp(source, target.host, target.ip, 22)))
            self.others.append(open_.enter_context(Session.tcp(source, target.host, target.ip, 80)))
        # one UDP port has one receiver: the sessions of several clients cannot share it
        self.revoked.append(open_.enter_context(Session.udp(remote.host, target.host, target.ip, 53)))
        for source in (remote.host, lab["outside"], target.host):
            self.others.append(open_.enter_context(Session.tcp(source, neighbour.host, neighbour.ip, 22)))
        self.others.append(open_.enter_context(Session.udp(lab["outside"], neighbour.host, neighbour.ip, 53)))
        # begun by the target itself
        self.others.append(open_.enter_context(Session.tcp(target.host, lab["outside"], OUTSIDE, 7)))
        self.others.append(open_.enter_context(Session.udp(target.host, lab["outside"], OUTSIDE, 7)))

    def check(self, *, revoked_pass: bool) -> None:
        mine = [(session, side) for session in self.revoked for side in BOTH]
        others = [(session, side) for session in self.others for side in BOTH]
        arrived = deliveries(mine, awaited=others + (mine if revoked_pass else []))
        assert not [one for one in others if not arrived[one]], "others lost a message"
        wrong = [one for one in mine if arrived[one] != revoked_pass]
        assert not wrong, "should pass" if revoked_pass else "went on"


@pytest.mark.parametrize("how", ["rule", "group", "everything of it"])
def test_a_withdrawn_rule_ends_its_sessions_with_the_apply_and_no_others(cloud: Cloud, how: str) -> None:
    target = cloud.vms[0]
    with ExitStack() as open_:
        sessions = Sessions(cloud, open_)
        sessions.check(revoked_pass=True)
        match how:
            case "rule":
                cloud.groups["sg-a"] = group()
            case "group":
                cloud.groups_of[target.interface] = ["sg-web"]
            case _:
                cloud.groups_of[target.interface] = ["sg-web"]
                del cloud.groups["sg-a"]
        outcomes = cloud.enforce()
        assert outcomes["nc-1"].sessions_judged_again == 1
        for _ in range(3):
            sessions.check(revoked_pass=False)


@pytest.mark.parametrize("sender", BOTH, ids=["client", "server"])
@pytest.mark.parametrize("source", ["same node", "another node", "outside"])
def test_udp_in_one_direction_only(cloud: Cloud, sender: Side, source: str) -> None:
    target, neighbour, remote = cloud.vms[:3]
    client = {"same node": neighbour.host, "another node": remote.host, "outside": cloud.lab["outside"]}[source]
    with (
        Session.udp(client, target.host, target.ip, 53) as session,
        Session.tcp(client, target.host, target.ip, 80) as other,
    ):
        assert all(session.passes(sender) for _ in range(5))
        cloud.groups["sg-a"] = group(SSH)
        cloud.enforce()
        for _ in range(5):
            arrived = deliveries([(session, sender)], awaited=[(other, side) for side in BOTH], wait=0.1)
            assert not arrived[session, sender]
            assert arrived[other, Side.CLIENT]
            assert arrived[other, Side.SERVER]


def test_a_server_push_is_dead_although_the_client_is_silent(cloud: Cloud) -> None:
    target, neighbour, remote = cloud.vms[:3]
    clients = [neighbour.host, remote.host, cloud.lab["outside"]]
    with ExitStack() as open_:
        sessions = [open_.enter_context(Session.tcp(client, target.host, target.ip, 22)) for client in clients]
        control = open_.enter_context(Session.tcp(remote.host, target.host, target.ip, 80))
        pushes = [(session, Side.SERVER) for session in sessions]
        assert all(deliveries(pushes).values())
        cloud.groups["sg-a"] = group(DNS)
        cloud.enforce()
        for _ in range(5):
            arrived = deliveries(pushes, awaited=[(control, Side.SERVER)], wait=0.1)
            assert not any(arrived[push] for push in pushes)
            assert arrived[control, Side.SERVER]


def test_a_member_that_leaves_the_source_group(cloud: Cloud) -> None:
    target, neighbour, remote = cloud.vms[:3]
    cloud.groups["sg-a"] = group(rule("tcp", 22, group="sg-src"), rule("udp", 53, group="sg-src"))
    cloud.groups["sg-src"] = group()
    for vm in (neighbour, remote):
        cloud.groups_of[vm.interface].append("sg-src")
    cloud.enforce()
    with (
        Session.tcp(remote.host, target.host, target.ip, 22) as leaving,
        Session.udp(remote.host, target.host, target.ip, 53) as leaving_udp,
        Session.tcp(neighbour.host, target.host, target.ip, 22) as staying,
    ):
        stays = [(staying, side) for side in BOTH]
        leaves = [(session, side) for session in (leaving, leaving_udp) for side in BOTH]
        assert all(deliveries([*stays, *leaves]).values())
        cloud.groups_of[remote.interface].remove("sg-src")
        cloud.enforce()
        arrived = deliveries(leaves, awaited=stays)
        assert all(arrived[one] for one in stays)
        assert not [one for one in leaves if arrived[one]]


def test_same_group_traffic_withdrawn(cloud: Cloud) -> None:
    one, two = cloud.vms[4], cloud.vms[2]
    cloud.network["same_group_traffic"] = "allow"
    cloud.enforce()
    with (
        Session.tcp(one.host, two.host, two.ip, 22) as inner,
        Session.tcp(one.host, cloud.vms[0].host, cloud.vms[0].ip, 22) as ruled,
    ):
        assert all(deliveries([(inner, side) for side in BOTH]).values())
        cloud.network["same_group_traffic"] = "rules"
        cloud.enforce()
        arrived = deliveries([(inner, side) for side in BOTH], awaited=[(ruled, side) for side in BOTH])
        assert [arrived[inner, side] for side in BOTH] == [False, False]
        assert [arrived[ruled, side] for side in BOTH] == [True, True]


def test_an_egress_rule_withdrawn(cloud: Cloud) -> None:
    target = cloud.vms[0]
    cloud.groups["sg-web"] = group(WEB, egress=[])
    cloud.groups["sg-a"] = group(SSH, egress=[rule("tcp", 7, cidr=ANYWHERE), rule("udp", 7, cidr=ANYWHERE)])
    cloud.enforce()
    outside = cloud.lab["outside"]
    with (
        Session.tcp(target.host, outside, OUTSIDE, 7) as out,
        Session.udp(target.host, outside, OUTSIDE, 7) as out_udp,
        Session.tcp(outside, target.host, target.ip, 22) as into,
    ):
        leaves = [(session, side) for session in (out, out_udp) for side in BOTH]
        assert all(deliveries([*leaves, *((into, side) for side in BOTH)]).values())
        cloud.groups["sg-a"] = group(SSH, egress=[])
        cloud.enforce()
        arrived = deliveries(leaves, awaited=[(into, side) for side in BOTH])
        assert not [one for one in leaves if arrived[one]]
        assert [arrived[into, side] for side in BOTH] == [True, True]


def test_an_instance_that_is_gone(cloud: Cloud) -> None:
    with ExitStack() as open_:
        target, neighbour, remote = cloud.vms[:3]
        gone = [
            open_.enter_context(Session.tcp(remote.host, target.host, target.ip, 22)),
            open_.enter_context(Session.tcp(target.host, neighbour.host, neighbour.ip, 22)),
            open_.enter_context(Session.udp(cloud.lab["outside"], target.host, target.ip, 53)),
            open_.enter_context(Session.tcp(cloud.lab["nc-1"], target.host, target.ip, 80)),
        ]
        stays = open_.enter_context(Session.tcp(remote.host, neighbour.host, neighbour.ip, 22))
        assert all(deliveries([(session, side) for session in gone for side in BOTH]).values())
        cloud.vms.remove(target)
        cloud.enforce()
        arrived = deliveries(
            [(session, side) for session in gone for side in BOTH], awaited=[(stays, side) for side in BOTH]
        )
        assert not [one for one, passed in arrived.items() if passed and one[0] is not stays]
        assert [arrived[stays, side] for side in BOTH] == [True, True]


def test_the_host_no_longer_may(cloud: Cloud) -> None:
    target, nc1 = cloud.vms[0], cloud.lab["nc-1"]
    with (
        Session.tcp(nc1, target.host, target.ip, 7) as ours,
        Session.tcp(nc1, target.host, target.ip, 80) as ruled,
    ):
        assert all(ours.passes(side) for side in BOTH)
        cloud.network["host_to_vm"] = "deny"
        cloud.enforce()
        arrived = deliveries([(ours, side) for side in BOTH], awaited=[(ruled, side) for side in BOTH])
        assert [arrived[ours, side] for side in BOTH] == [False, False]
        assert [arrived[ruled, side] for side in BOTH] == [True, True]


def test_draining_lets_sessions_end_by_themselves(cloud: Cloud) -> None:
    cloud.network["revoke"] = "drain"
    target, remote = cloud.vms[0], cloud.vms[2]
    cloud.enforce()
    with Session.tcp(remote.host, target.host, target.ip, 22) as old:
        cloud.groups["sg-a"] = group()
        assert cloud.enforce()["nc-1"].sessions_judged_again == 0
        assert all(deliveries([(old, side) for side in BOTH]).values())
        assert not expect(
            [Flow.tcp(remote.host, target.host, target.ip, 80)], [Flow.tcp(remote.host, target.host, target.ip, 22)]
        )


def test_allowed_again_a_session_goes_on(cloud: Cloud) -> None:
    target, remote = cloud.vms[0], cloud.vms[2]
    with Session.udp(remote.host, target.host, target.ip, 53) as session:
        assert session.passes(Side.CLIENT)
        cloud.groups["sg-a"] = group()
        cloud.enforce()
        assert not session.passes(Side.CLIENT)
        assert not session.passes(Side.SERVER)
        cloud.groups["sg-a"] = group(DNS)
        cloud.enforce()
        assert session.passes(Side.CLIENT)
        assert session.passes(Side.SERVER)


def test_a_forgetful_agent_cuts_nothing_that_is_still_allowed(cloud: Cloud) -> None:
    with ExitStack() as open_:
        sessions = Sessions(cloud, open_)
        for node in cloud.nodes.values():
            node.restart()
        outcomes = cloud.enforce()
        assert [outcome.changes for outcome in outcomes.values()] == [0, 0, 0]
        sessions.check(revoked_pass=True)
        for node in cloud.nodes.values():
            node.restart()
        cloud.groups["sg-a"] = group()
        cloud.enforce()
        sessions.check(revoked_pass=False)


@pytest.mark.parametrize("client", ["same node", "another node", "outside"])
def test_an_icmp_error_about_an_allowed_flow_arrives(cloud: Cloud, client: str) -> None:
    target, neighbour, remote = cloud.vms[:3]
    source = {"same node": neighbour.host, "another node": remote.host, "outside": cloud.lab["outside"]}[client]
    assert _refused(source, str(target.ip), 53), "the port is open in the group and nobody listens"
    assert not _refused(source, str(target.ip), 54, wait=0.3), "not open: no answer at all"
    assert _refused(target.host, str(OUTSIDE), 54), "an error for a flow that the instance began"


def _refused(source: Host, address: str, port: int, wait: float = 5) -> bool:
    with source.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(wait)
        client.connect((address, port))
        client.send(b"anybody there?")
        try:
            client.recv(1)
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
    raise AssertionError("somebody answered")


BATCH, BATCHES = 100, 250
SENDER = """
import socket, sys
address, allowed, forbidden, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
for number, _ in enumerate(sys.stdin):  # a line is leave to send one batch: more than that a receiver could not hold
    for one in range(number * batch, number * batch + batch):
        for port in (allowed, forbidden):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as new:  # a port of its own: a new flow each
                new.sendto(one.to_bytes(4, "big"), (address, port))
    print(number, flush=True)
"""


@pytest.mark.parametrize("client", ["same node", "another node"])
def test_no_update_loses_an_allowed_flow_or_lets_a_forbidden_one_through(cloud: Cloud, client: str) -> None:
    target, neighbour, remote = cloud.vms[:3]
    source = {"same node": neighbour, "another node": remote}[client]
    node = cloud.nodes["nc-1"]
    for one in cloud.nodes.values():  # each message is a flow of its own, as many as go through
        one.restart(replace(FACTS, limits=Limits(flows=0, new_flows=0)))
    cloud.groups["sg-a"] = group(DNS, rule("udp", (1000, 1100), group="sg-c"))
    cloud.enforce()
    assert not expect([Flow.udp(source.host, target.host, target.ip, 53)], [])
    with ExitStack() as open_:
        receivers = {
            port: open_.enter_context(target.host.socket(socket.AF_INET, socket.SOCK_DGRAM)) for port in (53, 54)
        }
        for port, receiver in receivers.items():
            receiver.bind(("0.0.0.0", port))
            receiver.settimeout(0)
        command = (sys.executable, "-c", SENDER, str(target.ip), "53", "54", str(BATCH))
        sender = source.host.popen(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        open_.callback(sender.wait, 10)
        open_.enter_context(sender.stdout)
        open_.callback(sender.stdin.close)
        got: dict[int, set[int]] = {53: set(), 54: set()}
        updates = sent = 0
        sender.stdin.write("go\n")
        sender.stdin.flush()
        while sent < BATCHES:
            updates += 1
            _vary(cloud, updates)
            outcome = node.apply(cloud.view("nc-1"))
            assert outcome.state == "applied"
            assert outcome.changes
            if select.select([sender.stdout], [], [], 0)[0]:
                sent += bool(sender.stdout.readline())
                _drain(receivers, got)
                sender.stdin.write("go\n")
                sender.stdin.flush()
            assert sender.poll() is None
    assert updates >= BATCHES
    assert BATCH * BATCHES - len([one for one in got[53] if one < BATCH * BATCHES]) == 0, f"lost in {updates} updates"
    assert len(got[54]) == 0, f"leaked in {updates} updates"


def _drain(receivers: dict[int, socket.socket], got: dict[int, set[int]]) -> None:
    for port, receiver in receivers.items():
        while True:
            try:
                got[port].add(int.from_bytes(receiver.recv(16), "big"))
            except BlockingIOError:
                break


def _vary(cloud: Cloud, number: int) -> None:
    """Another rule, another member, another group, in turn: adding, tightening, cutting the boxes anew."""
    target = cloud.vms[0]
    more = [rule("tcp", (number % 50, 60), cidr="10.111.0.0/16")] if number % 2 else []
    wide = [rule("udp", (50, 53), cidr="10.0.0.0/8")] if number % 4 < 2 else []
    cloud.groups["sg-a"] = group(DNS, *more, *wide, rule("udp", (1000, 1000 + number % 90), group="sg-c"))
    cloud.extra_members["sg-c"] = [f"10.111.200.{number % 100 + one}" for one in range(20)]
    cloud.groups_of[target.interface] = ["sg-a", "sg-web"] if number % 3 else ["sg-a"]
