"""Sockets that receive in many hosts: opened for one probe, or kept for a whole test."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address
from types import TracebackType
from typing import Self

from lab.frames import TCP, UDP
from lab.host import Host

_BACKLOG = 4096
_IP_PKTINFO = 8
_PKTINFO = struct.Struct("=i4s4s")  # struct in_pktinfo: interface, local address, address in the header

Key = tuple[Host, int, int]


class Listeners:
    """By host, protocol and port (0 for protocols without): non-blocking sockets. A context manager that closes them.

    The kernel completes TCP handshakes on them whether anybody reads or not, as with a service that is up.
    """

    def __init__(self, reuse: Listeners | None = None) -> None:
        self._reuse = reuse
        self.sockets: dict[Key, socket.socket] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        for opened in self.sockets.values():
            opened.close()
        self.sockets.clear()

    def open(self, host: Host, protocol: int, port: int) -> socket.socket:
        """The socket that receives this there. Raises OSError when the port is taken by something else."""
        key = (host, protocol, port if protocol in (TCP, UDP) else 0)
        if self._reuse and key in self._reuse.sockets:
            return self._reuse.sockets[key]
        if key not in self.sockets:
            try:
                self.sockets[key] = _listen(*key)
            except OSError as error:
                error.add_note(f"{host.name}: protocol {protocol}, port {port}")
                raise
        return self.sockets[key]

    def open_all(self, host: Host, *, tcp_ports: Iterable[int] = (), udp_ports: Iterable[int] = ()) -> None:
        for port in tcp_ports:
            self.open(host, TCP, port)
        for port in udp_ports:
            self.open(host, UDP, port)


def _listen(host: Host, protocol: int, port: int) -> socket.socket:
    kind = {TCP: socket.SOCK_STREAM, UDP: socket.SOCK_DGRAM}.get(protocol, socket.SOCK_RAW)
    opened = host.socket(socket.AF_INET, kind, protocol)
    try:
        opened.settimeout(0)
        if kind != socket.SOCK_RAW:
            if protocol == TCP:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            else:
                opened.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            opened.bind(("0.0.0.0", port))
            if protocol == TCP:
                opened.listen(_BACKLOG)
        else:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    except OSError:
        opened.close()
        raise
    return opened


# -- datagrams that are answered from the address they were sent to, also where a host has several


def receive_datagram(listener: socket.socket) -> tuple[bytes, tuple[str, int], bytes]:
    """Data, sender, and what `answer_datagram` needs. Raises BlockingIOError when there is none."""
    data, ancillary, _, sender = listener.recvmsg(2048, socket.CMSG_SPACE(_PKTINFO.size))
    local = IPv4Address(0).packed
    for level, kind, info in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            _, local, _ = _PKTINFO.unpack(info[: _PKTINFO.size])
    return data, sender, local


def answer_datagram(listener: socket.socket, data: bytes, receiver: tuple[str, int], local: bytes) -> None:
    info = _PKTINFO.pack(0, local, IPv4Address(0).packed)
    listener.sendmsg([data], [(socket.IPPROTO_IP, _IP_PKTINFO, info)], 0, receiver)
