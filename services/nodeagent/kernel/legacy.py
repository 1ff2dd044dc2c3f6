"""The tables of iptables-legacy, as the kernel gives them: linux/netfilter_ipv4/ip_tables.h. Read only."""

import ctypes
import os
import socket
import struct
from typing import Final

_GET_INFO, _GET_ENTRIES = 64, 65
_HEAD: Final = 40
"""Before the entries: the name, their size, and what aligns them."""
_HOOKS: Final = 5


def read(table: str) -> tuple[tuple[int, ...], tuple[int, ...], bytes]:
    """Offsets of each hook's first entry and of its policy, and the entries. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as asking:
        info = _ask(asking, _GET_INFO, struct.pack("=32s52x", table.encode()))
        numbers = struct.unpack_from("=13I", info, 32)
        firsts, underflows, size = numbers[1 : 1 + _HOOKS], numbers[1 + _HOOKS : 1 + 2 * _HOOKS], numbers[12]
        entries = _ask(asking, _GET_ENTRIES, struct.pack("=32sI4x", table.encode(), size) + bytes(size))
    return firsts, underflows, entries[_HEAD:]


def _ask(asking: socket.socket, option: int, request: bytes) -> bytes:
    """socket.getsockopt cannot pass a request."""
    library = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(request, len(request))
    length = ctypes.c_uint32(len(request))
    if library.getsockopt(asking.fileno(), socket.IPPROTO_IP, option, buffer, ctypes.byref(length)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return buffer.raw[: length.value]
