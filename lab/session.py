"""One established flow between two hosts, in which either side can send, and the other side's receipt can be asked.

For revocations: a client that goes on talking, a server that pushes, UDP in one direction only. Each message is numbered,
so `delivered` is about this message and not about one that was on its way before.

A TCP message that is held up stays in the sender's queue, and its kernel tries again: after a rule is opened again it may
still arrive. That is the kernel's honest answer to "is the session dead".
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterable
from contextlib import ExitStack
from enum import Enum
from ipaddress import IPv4Address
from types import TracebackType
from typing import Self

from lab.flows import Address
from lab.host import Host
from lab.probes import PATIENCE, WAIT

_MESSAGE = struct.Struct("!4sQ")
_MARK = b"vrge"


class Side(Enum):
    CLIENT = "client"
    SERVER = "server"

    @property
    def other(self) -> Side:
        return Side.SERVER if self is Side.CLIENT else Side.CLIENT


class NotEstablished(Exception):
    """The session could not be opened within the patience given."""


class Session:
    """Open one with `Session.tcp` or `Session.udp`. `seen` is the client's address as the server sees it.

    A UDP session is established by one datagram from the client, which the server has read and not answered.
    """

    def __init__(self, name: str, client: socket.socket, server: socket.socket, peer: tuple[str, int]) -> None:
        self.name = name
        self.seen = IPv4Address(peer[0])
        self._stream = client.type == socket.SOCK_STREAM
        self._sockets = {Side.CLIENT: client, Side.SERVER: server}
        self._peer = peer
        self._sent = {Side.CLIENT: 0, Side.SERVER: 0}
        self._partial = {Side.CLIENT: b"", Side.SERVER: b""}
        self._got: dict[Side, set[int]] = {Side.CLIENT: set(), Side.SERVER: set()}
        self.error: OSError | None = None
        for end in self._sockets.values():
            end.settimeout(0)

    @classmethod
    def tcp(
        cls,
        client: Host,
        server: Host,
        address: Address,
        port: int,
        *,
        source_port: int = 0,
        patience: float = PATIENCE,
    ) -> Session:
        """Connect, and prove it with one message in each direction. Raises NotEstablished."""
        name = f"{client.name} → {server.name} ({address}) tcp {port}"
        with ExitStack() as failed:
            listener = failed.enter_context(server.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("0.0.0.0", port))
            listener.listen(8)
            connecting = failed.enter_context(_sender(client, socket.SOCK_STREAM, source_port, patience))
            try:
                connecting.connect((str(address), port))
                listener.settimeout(patience)
                accepted, peer = listener.accept()
            except OSError as error:
                raise NotEstablished(f"{name}: {error}") from error
            failed.enter_context(accepted)
            for end in (connecting, accepted):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = cls(name, connecting, accepted, peer)
            for side in Side:
                if not session.passes(side, wait=patience):
                    raise NotEstablished(f"{name}: connected, but nothing from the {side.value} arrives")
            failed.pop_all()
            listener.close()
            return session

    @classmethod
    def udp(
        cls,
        client: Host,
        server: Host,
        address: Address,
        port: int,
        *,
        source_port: int = 0,
        patience: float = PATIENCE,
    ) -> Session:
        """The client's first datagram is through. Raises NotEstablished."""
        name = f"{client.name} → {server.name} ({address}) udp {port}"
        with ExitStack() as failed:
            receiving = failed.enter_context(server.socket(socket.AF_INET, socket.SOCK_DGRAM))
            receiving.bind(("0.0.0.0", port))
            receiving.settimeout(patience)
            sending = failed.enter_context(_sender(client, socket.SOCK_DGRAM, source_port, patience))
            try:
                sending.connect((str(address), port))
                sending.send(_MESSAGE.pack(_MARK, 0))
                _, peer = receiving.recvfrom(2048)
            except OSError as error:
                raise NotEstablished(f"{name}: {error}") from error
            failed.pop_all()
            return cls(name, sending, receiving, peer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<session {self.name}>"

    def close(self) -> None:
        for end in self._sockets.values():
            end.close()

    # -- sending and receiving

    def send(self, side: Side) -> int:
        """One message from that side; its number. Errors of the sender's stack (reset, unreachable) stay in `error`."""
        self._sent[side] += 1
        message = _MESSAGE.pack(_MARK, self._sent[side])
        end = self._sockets[side]
        try:
            if self._stream or side is Side.CLIENT:
                end.send(message)
            else:
                end.sendto(message, self._peer)
        except BlockingIOError:
            pass  # a full queue: what is before it has not got through either
        except OSError as error:
            self.error = error
        return self._sent[side]

    def delivered(self, sender: Side) -> frozenset[int]:
        """The numbers of the messages from `sender` that the other side has received so far."""
        self._receive(sender.other)
        return frozenset(self._got[sender.other])

    def passes(self, sender: Side, *, wait: float = WAIT) -> bool:
        """Send one more message; whether it arrives within `wait` seconds."""
        return deliveries([(self, sender)], wait=wait)[self, sender]

    def fileno(self, side: Side) -> int:
        return self._sockets[side].fileno()

    def _receive(self, side: Side) -> None:
        end = self._sockets[side]
        while True:
            try:
                data, sender = end.recvfrom(65536)
            except BlockingIOError:
                return
            except OSError as error:
                self.error = error
                if self._stream:
                    return
                continue  # an ICMP error, told once
            if self._stream:
                if not data:
                    return
                data = self._partial[side] + data
                whole = len(data) - len(data) % _MESSAGE.size
                self._partial[side] = data[whole:]
                data = data[:whole]
            elif side is Side.SERVER:
                self._peer = sender
            for mark, number in _MESSAGE.iter_unpack(data[: len(data) - len(data) % _MESSAGE.size]):
                if mark == _MARK:
                    self._got[side].add(number)


def deliveries(
    attempts: Iterable[tuple[Session, Side]],
    *,
    wait: float = WAIT,
    awaited: Iterable[tuple[Session, Side]] = (),
    patience: float = PATIENCE,
) -> dict[tuple[Session, Side], bool]:
    """One message from each (session, side) at the same time: which have arrived.

    As in a probe: silence is waited for once, `wait` seconds after the awaited ones are through.
    """
    awaited = list(awaited)
    sent = {attempt: attempt[0].send(attempt[1]) for attempt in dict.fromkeys([*attempts, *awaited])}
    missing = dict(sent)
    start = time.monotonic()
    silence_from: float | None = None
    with select.epoll() as poll:
        for session, side in missing:
            poll.register(session.fileno(side.other), select.EPOLLIN | select.EPOLLET)
        while True:
            for (session, side), number in list(missing.items()):
                if number in session.delivered(side):
                    del missing[session, side]
            now = time.monotonic()
            if silence_from is None and (now - start >= patience or not any(each in missing for each in awaited)):
                silence_from = now
            end = silence_from + wait if silence_from is not None else start + patience
            if not missing or (silence_from is not None and now >= end):
                return {attempt: attempt not in missing for attempt in sent}
            poll.poll(max(0.0, end - now))


def _sender(host: Host, kind: int, source_port: int, patience: float) -> socket.socket:
    end = host.socket(socket.AF_INET, kind)
    end.settimeout(patience)
    if source_port:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        end.bind(("0.0.0.0", source_port))
    return end
