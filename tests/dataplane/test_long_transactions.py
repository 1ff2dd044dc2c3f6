"""A process that may not send a long transaction sends several: between them nothing passes that must not, and what was
allowed before and is allowed after passes all the time."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from lab import frames
from lab.build import Lab, Vm
from lab.flows import Flow
from lab.frames import Frame
from lab.probes import expect
from lab.wire import capture
from nodeagent.kernel import TooLong
from nodeagent.kernel.libnftables import Libnftables
from tests.dataplane.cloud import Cloud
from tests.dataplane.seen import observed, policy
from tests.unit.nodeagent.wires import group
from tests.unit.nodeagent.wires import rule as policy_rule

DNS = policy_rule("udp", 53, cidr="0.0.0.0/0")


@pytest.fixture
def cloud(flat: Lab, vms: list[Vm]) -> Iterator[Cloud]:
    with Cloud(flat, vms) as cloud:
        cloud.groups = {"sg-a": group(DNS)}
        cloud.groups_of = {vm.interface: ["sg-a"] for vm in vms}
        cloud.enforce("nc-2")
        yield cloud


def grown(cloud: Cloud, groups: int, first: int = 0) -> None:
    """Every instance is in many groups, with rules and members of their own."""
    names = [f"sg-{first + n}" for n in range(groups)]
    cloud.groups |= {
        name: group(*(policy_rule("udp", 1000 + first + 7 * n + k, cidr=f"10.{n}.{k}.0/24") for k in range(20)), DNS)
        | {"ingress": [DNS, policy_rule("tcp", 9000 + n, group="sg-a")]}
        for n, name in enumerate(names)
    }
    cloud.groups_of = {vm.interface: ["sg-a", *names] for vm in cloud.vms}
    cloud.extra_members["sg-a"] = [f"10.200.{n % 250}.{first + n // 250}" for n in range(700)]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], list[int]]:
    """No transaction beyond 45,000 characters. What it is given is done after each."""

    def after_each(act: Callable[[], None]) -> list[int]:
        sent: list[int] = []
        commit = Libnftables.commit

        def limited(library: Libnftables, transaction: str) -> None:
            if len(transaction) > 45_000:
                raise TooLong("Message too long")
            commit(library, transaction)
            sent.append(len(transaction))
            act()

        monkeypatch.setattr(Libnftables, "commit", limited)
        return sent

    return after_each


def test_a_first_view_and_a_growing_one(cloud: Cloud, short: Callable[[Callable[[], None]], list[int]]) -> None:
    target, neighbour, remote = cloud.vms[0], cloud.vms[1], cloud.vms[2]
    node = cloud.nodes["nc-1"]
    grown(cloud, 60)

    def send() -> None:
        for sender in (neighbour, remote):
            with sender.host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
                sending.sendto(b"forbidden", (str(target.ip), 54))
                sending.sendto(b"allowed", (str(target.ip), 53))

    for vm in (neighbour, remote):  # so that no datagram waits for its neighbour's answer
        vm.host.ip(f"neigh replace {target.ip} lladdr {target.mac} dev eth0")

    def is_to(port: int) -> Callable[[Frame], bool]:
        return lambda frame: frame.protocol == frames.UDP and frame.dport == port

    sent = short(send)
    with capture(target.host, "eth0", is_to(54), incoming=True) as leaked:
        outcome = node.apply(cloud.view("nc-1"))
        assert outcome.state == "applied"
        assert len(sent) > 3
        assert not expect([Flow.udp(remote.host, target.host, target.ip, 53)], [])
        assert leaked.frames == []
    sent.clear()
    grown(cloud, 60, first=60)
    with (
        capture(target.host, "eth0", is_to(54), incoming=True) as leaked,
        capture(target.host, "eth0", is_to(53), incoming=True) as passed,
    ):
        assert node.apply(cloud.view("nc-1")).state == "applied"
        assert len(sent) > 3
        assert not expect([Flow.tcp(neighbour.host, target.host, target.ip, 9003)], [])
        assert leaked.frames == []
        assert sum(frame.payload.endswith(b"allowed") for frame in passed.frames) == 2 * len(sent)
    # and in the end it is what one transaction would have made of it
    assert not node.moved()
    assert node.resync(cloud.view("nc-1")).changes == 0
    cut = policy(observed(node.host))
    node.host.nft("flush ruleset")
    node.restart()
    assert node.apply(cloud.view("nc-1")).state == "applied"
    assert policy(observed(node.host)) == cut


def test_a_table_in_another_shape(cloud: Cloud, short: Callable[[Callable[[], None]], list[int]]) -> None:
    """Must be made anew: closed first."""
    node, target, remote = cloud.nodes["nc-1"], cloud.vms[0], cloud.vms[2]
    grown(cloud, 60)
    sent = short(lambda: None)
    assert node.apply(cloud.view("nc-1")).state == "applied"
    before = len(sent)
    node.host.nft("flush chain ip verge postrouting; delete chain ip verge postrouting")
    node.host.nft("add chain ip verge postrouting { type filter hook postrouting priority 7; }")
    assert node.resync(cloud.view("nc-1")).state == "applied"
    assert len(sent) > before + 3
    assert not expect(
        [Flow.udp(remote.host, target.host, target.ip, 53)], [Flow.udp(remote.host, target.host, target.ip, 54)]
    )
