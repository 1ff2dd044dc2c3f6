"""Asking by ARP (RFC 826) whether an address is on a link, and by whom it is answered for."""

import fcntl
import socket
import struct
import time
from ipaddress import IPv4Address
from typing import Final

_ETH_ARP: Final = 0x0806
_GET_MAC: Final = 0x8927  # SIOCGIFHWADDR
_EVERYONE: Final = b"\xff" * 6
_REQUEST, _REPLY = 1, 2
_ATTEMPTS: Final = 3
_WAIT_S: Final = 0.4


def answers(interface: str, own: IPv4Address, address: IPv4Address) -> str | None:
    """The MAC that answers, asked up to three times; None: nobody does. Raises OSError."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(_ETH_ARP)) as asking:
        asking.bind((interface, _ETH_ARP))
        mac = fcntl.ioctl(asking, _GET_MAC, struct.pack("16s24x", interface.encode()))[18:24]
        head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, _REQUEST)
        question = _EVERYONE + mac + struct.pack("!H", _ETH_ARP) + head + mac + own.packed + bytes(6) + address.packed
        for _ in range(_ATTEMPTS):
            asking.send(question)
            deadline = time.monotonic() + _WAIT_S
            while (left := deadline - time.monotonic()) > 0:
                asking.settimeout(left)
                try:
                    frame = asking.recv(128)
                except TimeoutError:
                    break
                if frame[20:22] == struct.pack("!H", _REPLY) and frame[28:32] == address.packed:
                    return frame[22:28].hex(":")
    return None
