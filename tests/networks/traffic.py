"""UDP that goes on while something is done to the cloud: what must arrive and did not, what must not and did.

Each pair sends every few milliseconds, once on a flow that is established and once on a flow of its own, so that both ways
through the rules are in use at every moment. What arrives on the established flow is answered, and the answers are counted.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from lab.build import Lab
from tests.networks.real import host
from tests.networks.words import Network

_TICK = 0.01
_PATIENCE = 3.0
_MESSAGE = struct.Struct("!BBI")
_OLD, _NEW = 0, 1


@dataclass(frozen=True, slots=True)
class Pair:
    """`allowed` says what its datagrams must do, all of them."""

    source: str
    destination: str
    port: int
    allowed: bool


@dataclass(slots=True)
class _Running:
    pair: Pair
    established: socket.socket
    receiver: socket.socket
    sent: int = 0
    arrived: dict[int, set[int]] = field(default_factory=lambda: {_OLD: set(), _NEW: set()})
    answered: set[int] = field(default_factory=set)


class Traffic:
    """A context manager: runs from entering to leaving. Afterwards `faults` says what went wrong, a line each."""

    def __init__(self, lab: Lab, network: Network, pairs: list[Pair]) -> None:
        self.faults: list[str] = []
        self.sent = 0
        self._open = ExitStack()
        self._lab, self._network = lab, network
        self._stop = threading.Event()
        self._receivers: dict[tuple[str, int], socket.socket] = {}
        self._running = [
            _Running(pair, self._sender(pair), self._receiver(pair.destination, pair.port)) for pair in pairs
        ]
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="traffic")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._open.close()
        if self._failed:
            raise self._failed
        self._judge()

    def _run(self) -> None:
        try:
            while not self._stop.wait(_TICK):
                for running in self._running:
                    self._send(running)
                self._receive()
            deadline = time.monotonic() + _PATIENCE
            while not self._complete() and time.monotonic() < deadline:
                time.sleep(_TICK)  # datagrams on their way; there is nothing else to wait for
                self._receive()
        except BaseException as failed:
            self._failed = failed

    def _send(self, running: _Running) -> None:
        number = self._running.index(running)
        running.sent += 1
        with suppress(ConnectionRefusedError):
            running.established.send(_MESSAGE.pack(number, _OLD, running.sent))
        with self._socket(running.pair) as fresh:
            fresh.send(_MESSAGE.pack(number, _NEW, running.sent))

    def _receive(self) -> None:
        for receiver in self._receivers.values():
            for data, sender in _datagrams(receiver):
                number, kind, count = _MESSAGE.unpack(data)
                self._running[number].arrived[kind].add(count)
                if kind == _OLD:
                    receiver.sendto(data, sender)
        for running in self._running:
            for data, _ in _datagrams(running.established):
                running.answered.add(_MESSAGE.unpack(data)[2])

    def _complete(self) -> bool:
        return all(
            len(one) == running.sent
            for running in self._running
            if running.pair.allowed
            for one in (*running.arrived.values(), running.answered)
        )

    def _judge(self) -> None:
        for running in self._running:
            pair, sent = running.pair, running.sent
            self.sent += 2 * sent
            counts = {
                "on its flow": len(running.arrived[_OLD]),
                "on flows of their own": len(running.arrived[_NEW]),
                "answers": len(running.answered),
            }
            wanted = sent if pair.allowed else 0
            self.faults += [
                f"{pair.source} → {pair.destination} udp {pair.port}: {count} of {sent} {what}, should be {wanted}"
                for what, count in counts.items()
                if count != wanted
            ]

    def _socket(self, pair: Pair) -> socket.socket:
        opened = host(self._lab, self._network, pair.source).socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.settimeout(0)
        opened.connect((str(self._network.address(pair.destination)), pair.port))
        return opened

    def _sender(self, pair: Pair) -> socket.socket:
        return self._open.enter_context(self._socket(pair))

    def _receiver(self, name: str, port: int) -> socket.socket:
        if (name, port) not in self._receivers:
            opened = host(self._lab, self._network, name).socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._receivers[name, port] = self._open.enter_context(opened)
            opened.settimeout(0)
            opened.bind(("0.0.0.0", port))
        return self._receivers[name, port]


def _datagrams(receiver: socket.socket) -> list[tuple[bytes, tuple[str, int]]]:
    found = []
    while True:
        try:
            found.append(receiver.recvfrom(64))
        except (BlockingIOError, ConnectionRefusedError):
            return found
