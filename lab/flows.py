"""Flows as values: who sends what to which address, who should get it, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import permutations

from lab.frames import ECHO_REQUEST, ICMP, SCTP, TCP, UDP
from lab.host import Host

_NAMES = {ICMP: "icmp", TCP: "tcp", UDP: "udp", SCTP: "sctp"}
Address = IPv4Address | str


@dataclass(frozen=True, slots=True)
class Flow:
    """`src` sends to `address`, and `dst` is the host that should get it, whatever is translated in between.

    For ICMP, `port` is type × 256 + code. Protocols other than TCP, UDP and ICMP go as raw IP; SCTP as an INIT.
    """

    src: Host
    dst: Host
    address: IPv4Address
    protocol: int
    port: int = 0
    source_port: int = 0

    @classmethod
    def tcp(cls, src: Host, dst: Host, address: Address, port: int, source_port: int = 0) -> Flow:
        return cls(src, dst, IPv4Address(address), TCP, port, source_port)

    @classmethod
    def udp(cls, src: Host, dst: Host, address: Address, port: int, source_port: int = 0) -> Flow:
        return cls(src, dst, IPv4Address(address), UDP, port, source_port)

    @classmethod
    def icmp(cls, src: Host, dst: Host, address: Address, kind: int = ECHO_REQUEST, code: int = 0) -> Flow:
        return cls(src, dst, IPv4Address(address), ICMP, kind << 8 | code)

    @classmethod
    def raw(cls, src: Host, dst: Host, address: Address, protocol: int, port: int = 0) -> Flow:
        return cls(src, dst, IPv4Address(address), protocol, port)

    @property
    def has_answer(self) -> bool:
        """Whether the receiving stack (or our listener) replies to what is sent."""
        return self.protocol in (TCP, UDP) or (self.protocol == ICMP and self.port == ECHO_REQUEST << 8)

    def __str__(self) -> str:
        name = _NAMES.get(self.protocol, f"ip{self.protocol}")
        port = f"{self.port >> 8}/{self.port & 255}" if self.protocol == ICMP else str(self.port)
        return f"{self.src.name} → {self.dst.name} ({self.address}) {name} {port}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Passed: the receiving host itself has read what was sent. Answered: its reply has come back.

    `seen` is the sender's address as the receiver saw it; `error` what the sender's own stack was told, if anything.
    """

    passed: bool = False
    answered: bool = False
    seen: IPv4Address | None = None
    error: OSError | None = field(default=None, compare=False)


def between_all(
    hosts: Iterable[tuple[Host, IPv4Address]],
    *,
    tcp_ports: Iterable[int] = (),
    udp_ports: Iterable[int] = (),
    ping: bool = True,
) -> list[Flow]:
    """The flows of a reachability matrix: every ordered pair of the hosts, each known by its address."""
    tcp_ports, udp_ports = tuple(tcp_ports), tuple(udp_ports)
    flows: list[Flow] = []
    for (src, _), (dst, address) in permutations(hosts, 2):
        flows += [Flow.tcp(src, dst, address, port) for port in tcp_ports]
        flows += [Flow.udp(src, dst, address, port) for port in udp_ports]
        flows += [Flow.icmp(src, dst, address)] if ping else []
    return flows
