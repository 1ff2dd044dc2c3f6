"""The policy of a chain of iptables-legacy, set as that program sets it: linux/netfilter_ipv4/ip_tables.h."""

import ctypes
import socket
import struct

from lab.host import Host
from nodeagent.kernel import legacy

_FORWARD = 2
_SET_REPLACE = 64
_VERDICTS = {"drop": -1, "accept": -2}
_FILTER_HOOKS = 0b01110
_ENTRIES = 4
"""Of an empty filter table: the policies of three hooks, and its end."""


def set_forward_policy(host: Host, policy: str) -> None:
    """Makes the filter table if need be; it must have no rules."""
    with host.entered():
        firsts, underflows, entries = legacy.read("filter")
        changed = bytearray(entries)
        at = underflows[_FORWARD]
        target = struct.unpack_from("=H", entries, at + 88)[0]
        struct.pack_into("=i", changed, at + target + 32, _VERDICTS[policy])
        counters = ctypes.create_string_buffer(16 * _ENTRIES)
        head = struct.pack("=32s3I", b"filter", _FILTER_HOOKS, _ENTRIES, len(changed))
        head += struct.pack("=10I", *firsts, *underflows)
        head += struct.pack("=IQ", _ENTRIES, ctypes.addressof(counters))
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as telling:
            telling.setsockopt(socket.IPPROTO_IP, _SET_REPLACE, head + bytes(changed))
