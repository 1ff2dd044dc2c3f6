"""Raw frames: put on an interface as they are, and seen on an interface as they were."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab.frames import Frame, read
from lab.host import Host

Predicate = Callable[[Frame], bool]

_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_AUXDATA = 8
_PACKET_IGNORE_OUTGOING = 23
_VLAN_VALID, _VLAN_TPID_VALID = 0x10, 0x40
_AUXDATA = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata


def send_frame(host: Host, interface: str, frame: bytes) -> None:
    """Send the bytes as they are. Raises OSError where the interface does not take them (down, too long)."""
    with host.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.bind((interface, 0))
        raw.send(frame.ljust(14, b"\0"))


class Capture:
    """The frames seen on an interface since the capture began, tags included, that satisfy the predicate."""

    def __init__(self, raw: socket.socket, predicate: Predicate) -> None:
        self._socket = raw
        self._predicate = predicate
        self._frames: list[Frame] = []

    @property
    def frames(self) -> list[Frame]:
        """All so far."""
        while self._receive():
            pass
        return list(self._frames)

    def wait_for(self, wanted: Predicate = lambda _: True, timeout: float = 3.0) -> Frame | None:
        """The first frame, past or coming, that is wanted; None when `timeout` seconds bring none."""
        deadline = time.monotonic() + timeout
        looked_at = 0
        while True:
            for frame in self.frames[looked_at:]:
                looked_at += 1
                if wanted(frame):
                    return frame
            left = deadline - time.monotonic()
            if left <= 0 or not select.select((self._socket,), (), (), left)[0]:
                return next((frame for frame in self.frames[looked_at:] if wanted(frame)), None)

    def _receive(self) -> bool:
        try:
            raw, ancillary, _, _ = self._socket.recvmsg(65536, socket.CMSG_SPACE(_AUXDATA.size))
        except BlockingIOError:
            return False
        for level, kind, data in ancillary:
            if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
                raw = _with_tag(raw, data)
        if len(raw) >= 14:
            frame = read(raw)
            if self._predicate(frame):
                self._frames.append(frame)
        return True


@contextmanager
def capture(
    host: Host, interface: str, predicate: Predicate = lambda _: True, *, incoming: bool = False
) -> Iterator[Capture]:
    """Everything on the interface while the block runs; with `incoming`, only what it received."""
    with host.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.settimeout(0)
        raw.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        if incoming:
            raw.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        # Bound last and with the protocol only here: before, it would see the namespace's other interfaces.
        raw.bind((interface, _ETH_P_ALL))
        yield Capture(raw, predicate)


def _with_tag(raw: bytes, auxdata: bytes) -> bytes:
    """The kernel takes a VLAN tag out of the frame and tells it beside; put it back where it was on the wire."""
    status, _, _, _, _, tci, tpid = _AUXDATA.unpack(auxdata[: _AUXDATA.size])
    if not status & _VLAN_VALID:
        return raw
    return raw[:12] + struct.pack("!HH", tpid if status & _VLAN_TPID_VALID else 0x8100, tci) + raw[12:]
