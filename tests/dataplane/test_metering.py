"""Each packet that passed is counted once for each instance at its ends, in bytes of IP; nothing else is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lab import topology
from lab.build import Vm
from lab.host import Host
from nodeagent.nft.meters import Count
from tests.dataplane.cloud import Node, instance_of
from tests.dataplane.place import FLAT, TWO, Place, named, place
from tests.unit.nodeagent.wires import group, rule

NONE = Count(0, 0)
PORT, ANSWER, CLOSED = 5353, 100, 5354
HEAD = 28
"""Bytes of a datagram's IP and UDP headers."""


@pytest.fixture(params=[FLAT, TWO], ids=named)
def at(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param) as made:
        made.cloud.groups["sg"] = group(rule("udp", PORT, cidr="0.0.0.0/0"))
        made.cloud.enforce()
        yield made


def counted(at: Place, vm: Vm) -> dict[str, Count]:
    """What is not zero, as `out-inside`."""
    node = at.cloud.nodes[vm.node]
    with node.host.entered():
        traffic = node.enforcement.traffic()[instance_of(vm)]
    return {"-".join(which): count for which, count in traffic.items() if count != NONE}


def exchange(sender: Host, receiver: Host, address: object, sizes: list[int], *, port: int = PORT) -> list[int]:
    """Datagrams of these sizes, and to each that arrives an answer of `ANSWER` bytes; the sizes that arrived."""
    with ExitStack() as open_:
        into = open_.enter_context(receiver.socket(socket.AF_INET, socket.SOCK_DGRAM))
        out = open_.enter_context(sender.socket(socket.AF_INET, socket.SOCK_DGRAM))
        into.bind(("", port))
        arrived = []
        for size in sizes:
            out.sendto(bytes(size), (str(address), port))
            into.settimeout(2 if port == PORT else 0.2)
            try:
                data, back = into.recvfrom(2048)
            except TimeoutError:
                continue
            arrived.append(len(data))
            into.sendto(bytes(ANSWER), back)
            out.settimeout(2)
            assert len(out.recv(2048)) == ANSWER
        return arrived


def of(*sizes: int) -> Count:
    return Count(len(sizes), sum(size + HEAD for size in sizes))


def test_two_instances_on_one_node_and_on_two(at: Place) -> None:
    for one, two in ((at.b, at.c), (at.c, at.f)):
        assert exchange(one.host, two.host, two.ip, [10, 200, 1000]) == [10, 200, 1000]
    first, back = of(10, 200, 1000), of(ANSWER, ANSWER, ANSWER)
    assert counted(at, at.b) == {"out-inside": first, "in-inside": back}
    assert counted(at, at.c) == {
        "in-inside": Count(first.packets + back.packets, first.bytes + back.bytes),
        "out-inside": Count(first.packets + back.packets, first.bytes + back.bytes),
    }
    assert counted(at, at.f) == {"in-inside": first, "out-inside": back}
    assert counted(at, at.a) == {}


def test_by_elastic_ips_and_from_outside(at: Place) -> None:
    """Elastic IP to elastic IP inside the cloud is inside; the counts are the instance's, whatever its packets show."""
    assert exchange(at.outside, at.a.host, at.elastic(1), [50]) == [50]
    assert counted(at, at.a) == {"in-outside": of(50), "out-outside": of(ANSWER)}
    assert exchange(at.b.host, at.d.host, at.elastic(3), [60]) == [60]
    assert counted(at, at.d) == {"in-inside": of(60), "out-inside": of(ANSWER)}
    assert exchange(at.b.host, at.a.host, at.elastic(1), [70]) == [70]
    assert counted(at, at.b) == {"out-inside": of(60, 70), "in-inside": of(ANSWER, ANSWER)}
    assert counted(at, at.a) == {
        "in-outside": of(50),
        "out-outside": of(ANSWER),
        "in-inside": of(70),
        "out-inside": of(ANSWER),
    }


def test_what_an_instance_sends_out(at: Place) -> None:
    outside = topology.OUTSIDE
    assert exchange(at.a.host, at.outside, outside, [30, 40]) == [30, 40]
    assert counted(at, at.a) == {"out-outside": of(30, 40), "in-outside": of(ANSWER, ANSWER)}


def test_what_is_dropped_is_not_counted(at: Place) -> None:
    assert exchange(at.b.host, at.c.host, at.c.ip, [10, 10], port=CLOSED) == []
    assert counted(at, at.b) == {}
    assert counted(at, at.c) == {}


def test_counts_outlive_updates_resyncs_and_agents_and_begin_anew_with_another_instance(at: Place) -> None:
    node: Node = at.cloud.nodes["nc-1"]
    exchange(at.b.host, at.c.host, at.c.ip, [10])
    before = counted(at, at.b)
    assert before == {"out-inside": of(10), "in-inside": of(ANSWER)}
    at.cloud.groups["more"] = group(rule("tcp", 80, cidr="0.0.0.0/0"))
    at.cloud.groups_of[at.c.interface] = ["sg", "more"]
    at.cloud.elastic.pop(at.elastic(1))
    at.cloud.vms.remove(at.a)
    at.cloud.enforce("nc-1")
    assert counted(at, at.b) == before
    assert node.resync(at.cloud.view("nc-1")).changes == 0
    assert not node.moved()
    assert counted(at, at.b) == before
    node.restart()
    at.cloud.enforce("nc-1")
    assert counted(at, at.b) == before
    assert not node.moved()
    node.host.nft("delete table ip verge\ndelete table bridge verge_l2")
    assert node.resync(at.cloud.view("nc-1")).state == "applied"
    assert counted(at, at.b) == before
    at.cloud.vms.append(at.a)
    at.cloud.enforce("nc-1")
    assert counted(at, at.a) == {}
    assert counted(at, at.b) == before


def test_an_address_that_passed_to_another_instance_while_no_agent_was_there(at: Place) -> None:
    node = at.cloud.nodes["nc-1"]
    exchange(at.b.host, at.c.host, at.c.ip, [10])
    node.host.nft(
        "".join(
            f"delete element ip verge_meters {name} {{ {at.b.ip} }}\n"
            f'add element ip verge_meters {name} {{ {at.b.ip} counter packets 9 bytes 900 comment "i-former" }}\n'
            for name in ("in_inside", "in_outside", "out_inside", "out_outside")
        )
    )
    node.restart()
    at.cloud.enforce("nc-1")
    assert counted(at, at.b) == {}
    assert counted(at, at.c) != {}


@pytest.mark.parametrize("what", ["delete table ip verge_meters", "flush chain ip verge_meters coming"])
def test_somebody_breaks_it(at: Place, what: str) -> None:
    node = at.cloud.nodes["nc-1"]
    node.host.nft(what)
    assert node.moved()
    assert node.resync(at.cloud.view("nc-1")).state == "applied"
    assert not node.moved()
    exchange(at.b.host, at.c.host, at.c.ip, [10])
    assert counted(at, at.b) == {"out-inside": of(10), "in-inside": of(ANSWER)}
