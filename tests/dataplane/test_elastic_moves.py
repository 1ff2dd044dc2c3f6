"""Rows 17, 18 and 22 of the outcomes: what happens to an elastic IP that comes, goes, or moves, and to those who use it."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from ipaddress import IPv4Address

import pytest

from lab import frames
from lab.flows import Flow
from lab.frames import ARP, ARP_REPLY, ARP_REQUEST, BROADCAST, IPV4, NOWHERE, TCP, Frame, arp, ethernet, ipv4
from lab.host import Host
from lab.listeners import Listeners
from lab.probes import expect
from lab.session import Session, Side, deliveries
from lab.topology import OUTSIDE
from lab.wire import capture, send_frame
from nodeagent.kernel.conntrack import Conntrack
from tests.dataplane.place import EVERYWHERE, FLAT, TWO, Place, named, named_by_no_rule, place
from verge.contract.members import parse_address

everywhere = pytest.mark.parametrize("kind", EVERYWHERE, ids=named)
flat_and_two = pytest.mark.parametrize("kind", [FLAT, TWO], ids=named)


# -- row 17


class Counter:
    """A service of the hypervisor itself, on every address of it: nobody may ever get through to it by an elastic IP."""

    def __init__(self, host: Host, port: int) -> None:
        self._listener = host.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.bind(("0.0.0.0", port))
        self._listener.listen(1024)
        self._listener.settimeout(0)

    def hits(self) -> list[str]:
        """Addresses that clients connected to."""
        found = []
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return found
            found.append(connection.getsockname()[0])
            connection.close()

    def close(self) -> None:
        self._listener.close()


class Flood(threading.Thread):
    """SYNs without end to an address by one node, each from another port, as frames of the router's."""

    def __init__(self, at: Place, address: str, port: int, node: Host | None = None) -> None:
        super().__init__()
        self._at, self._address, self._port = at, address, port
        self._node = node or at.node
        self._ended = threading.Event()
        self.sent = 0

    def run(self) -> None:
        router, link = self._at.lab["router"], self._at.public_segment
        source, mac = router.mac(link), self._node.mac(self._at.public_interface)
        with router.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
            raw.bind((link, 0))
            while not self._ended.wait(0.0005):
                segment = frames.tcp(OUTSIDE, self._address, 1024 + self.sent % 60_000, self._port)
                raw.send(ethernet(mac, source, IPV4, ipv4(OUTSIDE, self._address, TCP, segment)))
                self.sent += 1

    def end(self) -> None:
        self._ended.set()
        self.join()


@flat_and_two
def test_the_hosts_own_services_are_never_reached_by_an_elastic_ip(kind: tuple[str, str]) -> None:
    """Added and removed a hundred times under a flood, with the host listening on the very port."""
    with place(kind) as at, ExitStack() as open_:
        elastic, router = at.elastic(1), at.lab["router"]
        holder = at.cloud.elastic[elastic]
        service = Counter(at.node, 80)
        open_.callback(service.close)
        to_host = Flow.tcp(router, at.node, at.address("nc-1"), 80)
        with router.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect((str(to_host.address), 80))  # the control: it is up, and is counted
        assert service.hits() == [at.address("nc-1")]
        at_vm = open_.enter_context(capture(at.a.host, "eth0", lambda f: f.dport == 80, incoming=True))
        flood = Flood(at, elastic, 80)
        flood.start()
        open_.callback(flood.end)
        for _ in range(100):
            del at.cloud.elastic[elastic]
            at.cloud.enforce("nc-1")
            at.cloud.elastic[elastic] = holder
            at.cloud.enforce("nc-1")
        assert at_vm.wait_for()
        flood.end()
        assert flood.sent > 100
        with router.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect((at.address("nc-1"), 80))
        assert service.hits() == [at.address("nc-1")], f"of {flood.sent} SYNs to {elastic}"


# -- row 18


def asked(at: Place, address: str) -> list[str]:
    """MACs that answer for an address among the neighbours of elastic IPs, two frames after whose answer is sure."""
    router, link = at.lab["router"], at.public_segment
    mac = router.mac(link)
    own = router.addresses(link)[0].ip
    with capture(router, link, lambda f: f.ethertype == ARP and f.protocol == ARP_REPLY, incoming=True) as heard:
        for target in (address, *(at.address(node.name) for node in at.lab.nodes)):
            body = arp(ARP_REQUEST, mac, own, NOWHERE, target)
            send_frame(router, link, ethernet(BROADCAST, mac, ARP, body))
        for node in at.lab.nodes:  # each node has answered for itself, and so has answered the question before
            assert heard.wait_for(lambda f, node=node: f.src == IPv4Address(at.address(node.name)))  # type: ignore[misc]
        # who was given it tells everybody, for three seconds: no answer to this question
        return [f.src_mac for f in heard.frames if f.src == IPv4Address(address) and f.dst_mac == mac]


@everywhere
def test_an_elastic_ip_moves_and_is_never_answered_by_two(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        elastic = at.elastic(1)
        first, second = (node.mac(at.public_interface) for node in at.lab.nodes)
        assert asked(at, elastic) == [first]
        assert not expect([Flow.tcp(at.outside, at.a.host, elastic, 80)], [])
        at.cloud.elastic.pop(elastic)
        at.cloud.enforce("nc-1")
        assert asked(at, elastic) == []
        at.cloud.elastic[elastic] = at.e.interface
        at.cloud.enforce("nc-2")
        assert asked(at, elastic) == [second]
        assert not expect([Flow.tcp(at.outside, at.e.host, elastic, 80)], [])


@flat_and_two
def test_while_it_moves_back_and_forth_one_answers_at_a_time(kind: tuple[str, str]) -> None:
    """Asked all the time: whoever has answered once after the other did, was given it after the other gave it up."""
    with place(kind) as at:
        elastic, router, link = at.elastic(1), at.lab["router"], at.public_segment
        mac, own = router.mac(link), router.addresses(link)[0].ip
        question = ethernet(BROADCAST, mac, ARP, arp(ARP_REQUEST, mac, own, NOWHERE, elastic))
        ended = threading.Event()

        def ask() -> None:
            while not ended.wait(0.001):
                send_frame(router, link, question)

        def is_answer(frame: Frame) -> bool:
            is_reply = frame.ethertype == ARP and frame.protocol == ARP_REPLY
            return is_reply and frame.src == IPv4Address(elastic) and frame.dst == own

        asking = threading.Thread(target=ask)
        holders = [("nc-1", at.c), ("nc-2", at.e)] * 10
        with capture(router, link, is_answer, incoming=True) as heard:
            asking.start()
            try:
                at.cloud.elastic.pop(elastic)
                at.cloud.enforce("nc-1")
                for node, vm in holders:
                    at.cloud.elastic[elastic] = vm.interface
                    at.cloud.enforce(node)
                    holder = at.lab[node].mac(at.public_interface)
                    before = len(heard.frames)
                    assert heard.wait_for(lambda f, mac=holder: f.src_mac == mac and len(heard.frames) > before)  # type: ignore[misc]  # noqa: B023
                    at.cloud.elastic.pop(elastic)
                    at.cloud.enforce(node)
            finally:
                ended.set()
                asking.join()
            answered = [frame.src_mac for frame in heard.frames]
        macs = [at.lab[node].mac(at.public_interface) for node, _ in holders]
        changes = [mac for at_, mac in enumerate(answered) if at_ == 0 or answered[at_ - 1] != mac]
        # the first may have answered before it all began
        assert changes == macs, "each held it once in its turn"


@flat_and_two
def test_neighbours_learn_at_once_by_gratuitous_arp(kind: tuple[str, str]) -> None:
    with place(kind) as at:
        elastic, router, link = at.elastic(1), at.lab["router"], at.public_segment
        assert not expect([Flow.tcp(at.outside, at.a.host, elastic, 80)], [])  # the router has its entry now

        def announced(frame: Frame) -> bool:
            return frame.ethertype == ARP and frame.src == frame.dst == IPv4Address(elastic)

        with capture(router, link, announced, incoming=True) as heard:
            at.cloud.elastic.pop(elastic)
            at.cloud.enforce("nc-1")
            before = time.monotonic()
            at.cloud.elastic[elastic] = at.e.interface
            at.cloud.enforce("nc-2")
            assert heard.wait_for(lambda f: f.protocol == ARP_REQUEST)
            assert heard.wait_for(lambda f: f.protocol == ARP_REPLY)
            # the stale entry would have lasted for minutes
            assert not expect([Flow.tcp(at.outside, at.e.host, elastic, 80)], [])
            deadline = before + 10
            while len(heard.frames) < 8 and time.monotonic() < deadline:
                heard.wait_for(lambda _: False, timeout=0.1)
            assert len(heard.frames) == 8
            mac = at.other_node.mac(at.public_interface)
            assert {frame.src_mac for frame in heard.frames} == {mac}


def test_what_is_gone_is_not_announced_again() -> None:
    with place(FLAT) as at:
        elastic = at.elastic(9)
        router, link = at.lab["router"], at.public_segment
        with capture(router, link, lambda f: f.ethertype == ARP and f.src == f.dst, incoming=True) as heard:
            at.cloud.elastic[elastic] = at.c.interface
            at.cloud.enforce("nc-1")
            at.cloud.elastic.pop(elastic)
            at.cloud.elastic[at.elastic(10)] = at.c.interface
            at.cloud.enforce("nc-1")

            def of(address: str) -> list[Frame]:
                return [frame for frame in heard.frames if frame.src == IPv4Address(address)]

            deadline = time.monotonic() + 10
            while len(of(at.elastic(10))) < 8 and time.monotonic() < deadline:
                heard.wait_for(lambda _: False, timeout=0.1)
            assert len(of(at.elastic(10))) == 8
            assert len(of(elastic)) == 2, "once in each form, before it went"


@everywhere
def test_sessions_by_an_elastic_ip_end_with_it_and_others_do_not(kind: tuple[str, str]) -> None:
    with place(kind) as at, ExitStack() as open_:
        elastic = at.elastic(1)
        at.cloud.groups["sg"]["ingress"].append(
            {"protocol": "udp", "from_port": 53, "to_port": 53, "cidr": "0.0.0.0/0"}
        )
        at.cloud.enforce()
        ended = [
            Session.tcp(at.outside, at.a.host, elastic, 80),
            Session.udp(at.outside, at.a.host, elastic, 53),
            Session.tcp(at.d.host, at.a.host, elastic, 80),
            Session.udp(at.a.host, at.clc, at.clc_address, 54, source_port=123),
            Session.tcp(at.a.host, at.clc, at.clc_address, 81),
        ]
        lasting = [
            Session.tcp(at.d.host, at.a.host, at.a.ip, 80),
            Session.tcp(at.outside, at.b.host, at.elastic(2), 80),
            Session.tcp(at.a.host, at.d.host, at.elastic(3), 22),
        ]
        for session in (*ended, *lasting):
            open_.enter_context(session)
        lasting.pop()  # by a's elastic IP as source, so it ends too
        everyone = [(session, side) for session in (*ended, *lasting) for side in Side]
        assert all(deliveries(everyone, awaited=everyone).values())
        at.cloud.elastic.pop(elastic)
        outcome = at.cloud.enforce("nc-1")["nc-1"]
        assert outcome.sessions_cut >= len(ended)
        dead = [(session, side) for session in ended for side in Side]
        alive = [(session, side) for session in lasting for side in Side]
        arrived = deliveries(dead, awaited=alive)
        # by its private address it may still send: that is another flow, which its peer does not know
        assert [one for one in dead if arrived[one] and one[0] is not ended[3]] == []
        assert all(arrived[one] for one in alive)


def entries(host: Host, elastic: str) -> int:
    with host.entered():
        conntrack = Conntrack()
        try:
            address = parse_address(elastic)
            return len({flow.key for flow in (*conntrack.sent_to(address), *conntrack.sent_as(address))})
        finally:
            conntrack.close()


@pytest.mark.parametrize("by_itself", [True, False], ids=["the kernel forgets", "older kernels"])
def test_a_client_that_keeps_its_port_reaches_the_new_holder(by_itself: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one node, where the stale entry would bind it to the old one."""
    if not by_itself:
        monkeypatch.setattr(Conntrack, "forgets", False)
    with place(FLAT) as at, Listeners() as listeners:
        elastic = at.elastic(1)
        at.cloud.groups["sg"]["ingress"].append(
            {"protocol": "udp", "from_port": 53, "to_port": 53, "cidr": "0.0.0.0/0"}
        )
        at.cloud.enforce()
        before = Flow.udp(at.outside, at.a.host, elastic, 53, source_port=5353)
        assert not expect([before], [], listeners=listeners)
        assert entries(at.node, elastic) >= 1
        at.cloud.elastic[elastic] = at.c.interface
        assert at.cloud.enforce("nc-1")["nc-1"].sessions_cut >= 1
        assert entries(at.node, elastic) == 0
        assert not expect([Flow.udp(at.outside, at.c.host, elastic, 53, source_port=5353)], [before])


def test_an_agent_that_died_in_between_is_followed_by_one_that_tidies_up() -> None:
    with place(FLAT) as at:
        elastic = at.elastic(1)
        named_by_no_rule(at)
        assert not expect([Flow.tcp(at.outside, at.a.host, elastic, 80)], [])
        kept = Flow.tcp(at.outside, at.b.host, at.elastic(2), 80)
        assert not expect([kept], [])
        stale, others = entries(at.node, elastic), entries(at.node, at.elastic(2))
        assert stale
        assert others
        node = at.cloud.nodes["nc-1"]
        address = f"{at.a.ip}"
        at.node.nft(
            f"""
            delete element ip verge elastic_pairs {{ {elastic} . {address} }}
            delete element ip verge elastic_dnat {{ {elastic} : {address} }}
            delete element ip verge elastic_snat {{ {address} : {elastic} }}
            delete element bridge verge_l2 elastic_here4 {{ {elastic} }}
            """
        )
        node.restart()
        at.cloud.elastic.pop(elastic)
        outcome = node.apply(at.cloud.view("nc-1"))
        assert outcome.changes == 0
        assert outcome.sessions_cut == stale
        assert entries(at.node, elastic) == 0
        assert entries(at.node, at.elastic(2)) == others
