"""Gratuitous ARP: neighbours learn at once that an address is here now.

As request and as reply, since stacks differ in which they heed (RFC 5227, section 3), and again after 0.3, 1 and 3 seconds,
since each may be lost. The first goes out before `announce` returns, the others from a thread, which the first announcement
starts and `close` ends.
"""

import fcntl
import socket
import struct
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

_AGAIN_S: Final = (0.3, 1.0, 3.0)
_ETH_ARP: Final = 0x0806
_GET_MAC: Final = 0x8927  # SIOCGIFHWADDR
_EVERYONE: Final = b"\xff" * 6
_REQUEST, _REPLY = 1, 2


class Announcer:
    """Speaks on one interface of the namespace it was made in. Raises OSError."""

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._changed = threading.Condition()
        self._due: list[tuple[float, int]] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def close(self) -> None:
        """Nothing is said after this returns."""
        with self._changed:
            self._closed = True
            self._due.clear()
            self._changed.notify()
        if self._thread:
            self._thread.join()
        self._socket.close()

    def announce(self, addresses: Iterable[int]) -> None:
        addresses = tuple(addresses)
        if not addresses:
            return  # a thread that is woken for nothing takes the interpreter from whoever woke it
        now = time.monotonic()
        with self._changed:
            for address in addresses:
                self._say(address)
                self._due += [(now + delay, address) for delay in _AGAIN_S]
            self._due.sort()
            if self._due and self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._again, name="announcer", daemon=True)
                self._thread.start()
            self._changed.notify()

    def withdraw(self, addresses: Iterable[int]) -> None:
        """None of these is announced after this returns: call it before they go."""
        gone = set(addresses)
        with self._changed:
            self._due = [one for one in self._due if one[1] not in gone]

    def _again(self) -> None:
        with self._changed:
            while not self._closed:
                left = self._due[0][0] - time.monotonic() if self._due else None
                if left is None or left > 0:
                    self._changed.wait(left)
                else:
                    self._say(self._due.pop(0)[1])

    def _say(self, address: int) -> None:
        """What cannot be said now (the link is down) is said again later, or was of no use."""
        with suppress(OSError):
            mac = self._mac()
            for operation in (_REQUEST, _REPLY):
                self._socket.sendto(_frame(operation, mac, address.to_bytes(4, "big")), (self._interface, _ETH_ARP))

    def _mac(self) -> bytes:
        request = struct.pack("16s24x", self._interface.encode())
        return fcntl.ioctl(self._socket, _GET_MAC, request)[18:24]


def _frame(operation: int, mac: bytes, address: bytes) -> bytes:
    """RFC 826, with sender and target the same."""
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    target = mac if operation == _REPLY else bytes(6)
    return _EVERYONE + mac + struct.pack("!H", _ETH_ARP) + head + mac + address + target + address
