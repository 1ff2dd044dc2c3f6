"""Who changes rulesets in this namespace, as nftables tells all who listen (NFNLGRP_NFTABLES).

A transaction is told as one message for each object, by table and name, and at its end a NEWGEN message with the new
generation and the process that committed it. What is told may be lost when more comes than the socket holds (ENOBUFS): then
nothing is known but that something was.
"""

import errno
import socket
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from nodeagent.kernel.netlink import attributes
from nodeagent.state.ruleset import TableId

_NETLINK_NETFILTER: Final = 12
_GROUP: Final = 1 << 7 - 1  # NFNLGRP_NFTABLES
_RCVBUFFORCE: Final = 33  # SO_RCVBUFFORCE
_BUFFER: Final = 4 << 20
"""Bytes; replacing 20,000 elements is told in 1.6 MB. The kernel takes it from memory only while it is full."""
_HEADER = struct.Struct("=IHHII")
_NFTABLES: Final = 10  # NFNL_SUBSYS_NFTABLES
_NEWGEN: Final = 15
_GEN_ID, _GEN_PID, _GEN_NAME = 1, 2, 3
_FAMILIES: Final = {2: "ip", 3: "arp", 7: "bridge"}  # NFPROTO_…
_KINDS: Final = {
    0: ("table added", 0),
    2: ("table deleted", 0),
    3: ("chain added", 3),
    5: ("chain deleted", 3),
    6: ("rule added to", 2),
    8: ("rule deleted from", 2),
    9: ("set added", 2),
    11: ("set deleted", 2),
    12: ("elements added to", 2),
    14: ("elements deleted from", 2),
    18: ("object added", 2),
    20: ("object deleted", 2),
    22: ("flowtable added", 2),
    24: ("flowtable deleted", 2),
}
"""By NFT_MSG_…: what happened, and the attribute that names what it happened to; 1 names the table."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction that touched one of the tables watched."""

    generation: int
    """Of all rulesets in this namespace, as it left them."""
    pid: int
    """Of the thread, in the first pid namespace."""
    process: str
    """The first 15 characters of its name."""
    touched: tuple[str, ...]
    """Such as `elements deleted from ip verge local4`, each once."""


class Lost(Exception):
    """Some notifications did not fit the socket."""


class RulesetWatch:
    """Of the network namespace of the thread that makes it."""

    def __init__(self, tables: Collection[TableId]) -> None:
        """Raises OSError."""
        self._tables = frozenset(tables)
        self._touched: dict[str, None] = {}
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER
        )
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _BUFFER)
        except PermissionError:  # outside the first user namespace
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((0, _GROUP))

    def fileno(self) -> int:
        """Readable when there is something to `read`."""
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def read(self) -> Iterator[Commit]:
        """What has been told since. Raises Lost, after which reading may go on; OSError."""
        while True:
            try:
                data = self._socket.recv(1 << 17)
            except BlockingIOError:
                return
            except OSError as failed:
                if failed.errno != errno.ENOBUFS:
                    raise
                self._touched.clear()
                raise Lost from failed
            yield from self._transactions(data)

    def _transactions(self, data: bytes) -> Iterator[Commit]:
        at = 0
        while at + _HEADER.size < len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, at)
            body = data[at + _HEADER.size : at + length]
            at += max(length, _HEADER.size) + 3 & ~3
            subsystem, message = kind >> 8, kind & 0xFF
            if subsystem != _NFTABLES:
                continue
            if message != _NEWGEN:
                self._note(message, body)
                continue
            found = attributes(body, 4)
            touched, self._touched = tuple(self._touched), {}
            if touched:
                generation, pid = (int.from_bytes(found.get(one, b""), "big") for one in (_GEN_ID, _GEN_PID))
                yield Commit(generation, pid, _text(found.get(_GEN_NAME, b"")), touched)

    def _note(self, message: int, body: bytes) -> None:
        what = _KINDS.get(message)
        family = _FAMILIES.get(body[0]) if body else None
        if what is None or family is None:
            return
        found = attributes(body, 4)
        table = _text(found.get(1, b""))
        if (family, table) in self._tables:
            event, named = what
            name = f" {_text(found.get(named, b''))}" if named else ""
            self._touched[f"{event} {family} {table}{name}"] = None


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
