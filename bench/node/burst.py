"""Packets from one VM to another, and what they cost: system calls by the hundred, on one processor.

    raw IP socket, sendmmsg ─▶ its stack, eth0 ─▶ port ─▶ br0 ─▶ port ─▶ eth0, its stack ─▶ UDP socket, recvmmsg

The sending thread's processor time holds it all: veth hands a frame on in the sender's own context (softirq), up to the
receiver's socket, which the same thread empties. Other processes on the machine take time, but not this time.
Both ends are part of the cost on every side, as a VM's own stack would be.
"""

from __future__ import annotations

import ctypes
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from lab import frames
from lab.build import Vm

_AT_ONCE = 64
_PAYLOAD = 18
_DRAIN_S = 0.2
_libc = ctypes.CDLL(None, use_errno=True)


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vector", ctypes.POINTER(_IoVec)),
        ("vectors", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    _fields_ = (("header", _Header), ("transferred", ctypes.c_uint32))


@dataclass(frozen=True, slots=True)
class Spent:
    sent: int
    delivered: int
    cpu_ns: int

    @property
    def packet_ns(self) -> float:
        return self.cpu_ns / self.sent


class Burst:
    """Packets laid out once, sent as often as wanted, from a raw socket into a UDP socket. Both are the caller's."""

    def __init__(self, out: socket.socket, into: socket.socket, packets: Sequence[bytes]) -> None:
        self._out, self._in = out, into
        self._number = len(packets)
        self._outgoing = _messages(packets)
        self._incoming = _messages([bytes(2048)] * _AT_ONCE)

    def send(self) -> Spent:
        """All of them once."""
        out, into, size = self._out.fileno(), self._in.fileno(), ctypes.sizeof(_Message)
        first, sent, delivered = ctypes.addressof(self._outgoing), 0, 0
        self._receive(into)
        began = time.thread_time_ns()
        while sent < self._number:
            wanted = min(_AT_ONCE, self._number - sent)
            took = _libc.sendmmsg(out, ctypes.c_void_p(first + sent * size), wanted, 0)
            if took < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            sent += took
            delivered += self._receive(into)
        spent = time.thread_time_ns() - began
        until = time.monotonic() + _DRAIN_S
        while delivered < sent and time.monotonic() < until:
            delivered += self._receive(into)
        return Spent(sent, delivered, spent)

    def _receive(self, into: int) -> int:
        """Whatever is there."""
        total = 0
        while True:
            took = _libc.recvmmsg(into, self._incoming, _AT_ONCE, socket.MSG_DONTWAIT, None)
            total += max(0, int(took))
            if took < _AT_ONCE:
                return total


def _messages(buffers: Sequence[bytes]) -> ctypes.Array[_Message]:
    """The array keeps alive what the kernel is given the addresses of."""
    made = (_Message * len(buffers))()
    kept = []
    for message, content in zip(made, buffers, strict=True):
        data = ctypes.create_string_buffer(content, len(content))
        vector = _IoVec(ctypes.addressof(data), len(content))
        message.header.vector, message.header.vectors = ctypes.pointer(vector), 1
        kept.append((data, vector))
    made.kept = kept  # type: ignore[attr-defined]
    return made


def udp_packet(sender: Vm, receiver: Vm, source_port: int, port: int, payload: bytes = bytes(_PAYLOAD)) -> bytes:
    body = frames.udp(sender.ip, receiver.ip, source_port, port, payload)
    return frames.ipv4(sender.ip, receiver.ip, frames.UDP, body)


def packet_socket(sender: Vm, receiver: Vm) -> socket.socket:
    """Sends IP packets as they are to the receiver, by the sender's routes and neighbours."""
    out = sender.host.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    out.connect((str(receiver.ip), 0))
    return out


def datagram_socket(vm: Vm, port: int) -> socket.socket:
    bound = vm.host.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind((str(vm.ip), port))
    bound.settimeout(1)
    return bound


def pinned() -> None:
    """This thread stays on one processor: softirqs run where the packet was sent."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
