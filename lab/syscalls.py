"""The Linux calls the lab needs and Python 3.11 does not offer. Each raises OSError with the kernel's errno."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

CAP_NET_ADMIN = 12
CAP_NET_RAW = 13
CAP_SYS_ADMIN = 21

_IFF_UP = 1
_SIOCSIFFLAGS = 0x8914
_PR_SET_PDEATHSIG = 1
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _checked(call: str, result: int) -> None:
    if result == -1:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{call}: {os.strerror(errno)}")


def unshare(flags: int) -> None:
    """New namespaces for the calling thread (for its children, with CLONE_NEWPID)."""
    _checked("unshare", _libc.unshare(ctypes.c_int(flags)))


def setns(fd: int, kind: int) -> None:
    """Move the calling thread, and no other, into the namespace behind `fd`."""
    _checked("setns", _libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)))


def mount(source: str, target: str | Path, kind: str | None, flags: int, data: str | None = None) -> None:
    kind_bytes = kind.encode() if kind is not None else None
    data_bytes = data.encode() if data is not None else None
    result = _libc.mount(source.encode(), str(target).encode(), kind_bytes, ctypes.c_ulong(flags), data_bytes)
    _checked(f"mount {target}", result)


def umount(target: str | Path, flags: int = 0) -> None:
    _checked(f"umount {target}", _libc.umount2(str(target).encode(), ctypes.c_int(flags)))


def set_link_up(name: str) -> None:
    """In the calling thread's network namespace; for `lo` of a new one, before there is anything to run `ip` with."""
    request = struct.pack("16sH14x", name.encode(), _IFF_UP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, request)


def die_with_parent(signum: int) -> None:
    """The kernel sends this process `signum` when its parent dies, however it dies."""
    zero = ctypes.c_ulong(0)
    _checked("prctl", _libc.prctl(ctypes.c_int(_PR_SET_PDEATHSIG), ctypes.c_ulong(signum), zero, zero, zero))


def keep_capabilities() -> None:
    """Let the capabilities of this process pass on to the programs it executes although its uid is not 0."""
    header = _CapHeader(_CAPABILITY_VERSION_3, 0)
    data = (_CapData * 2)()
    _checked("capget", _libc.capget(ctypes.byref(header), data))
    for word in data:
        word.inheritable = word.permitted
    _checked("capset", _libc.capset(ctypes.byref(header), data))
    permitted = data[0].permitted | data[1].permitted << 32
    zero = ctypes.c_ulong(0)
    for capability in range(64):
        if permitted >> capability & 1:
            raise_it = ctypes.c_ulong(_PR_CAP_AMBIENT_RAISE)
            number = ctypes.c_ulong(capability)
            _checked("prctl", _libc.prctl(ctypes.c_int(_PR_CAP_AMBIENT), raise_it, number, zero, zero))


def has_capability(capability: int) -> bool:
    """Whether the capability is effective in this process, within its user namespace."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return False
