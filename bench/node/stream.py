"""Datagrams sent all the while by a thread of its own, and when each arrived: at most a millisecond apart, and drained at once.

A lane is a sending socket, a target and the receiving sockets; what arrives at one of them is told by its number and time.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_NUMBER = struct.Struct("!I")
_INTERVAL_S = 0.001


@dataclass(slots=True)
class Lane:
    out: socket.socket
    """Connected, or raw with `packets` as a whole."""
    into: Sequence[socket.socket]
    packets: Sequence[bytes] = ()
    """Sent in turn as they are, a few at once; without, numbers are sent."""
    at_once: int = 1
    sent: int = 0
    arrived: dict[int, list[float]] = field(default_factory=dict)
    """By receiver, in order: when, on the monotonic clock."""

    def received(self, receiver: int = 0) -> list[float]:
        return self.arrived.get(receiver, [])


class Stream:
    """Sends on all lanes while the block runs. Behind it, everything that was to arrive has arrived."""

    def __init__(self, *lanes: Lane) -> None:
        self._lanes = lanes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        for lane in lanes:
            for into in lane.into:
                into.settimeout(0)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        time.sleep(0.05)
        self._drain()

    def _run(self) -> None:
        while not self._stop.is_set():
            for lane in self._lanes:
                _send(lane)
            self._drain()
            time.sleep(_INTERVAL_S)

    def _drain(self) -> None:
        for lane in self._lanes:
            for number, into in enumerate(lane.into):
                times = lane.arrived.setdefault(number, [])
                try:
                    while True:
                        into.recv(64)
                        times.append(time.monotonic())
                except BlockingIOError:
                    pass


def _send(lane: Lane) -> None:
    for _ in range(lane.at_once):
        packet = lane.packets[lane.sent % len(lane.packets)] if lane.packets else _NUMBER.pack(lane.sent)
        try:
            lane.out.send(packet)
        except OSError:
            continue  # told by ICMP that a former one did not arrive, or no buffer: nothing was sent
        lane.sent += 1
