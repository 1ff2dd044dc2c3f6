"""What must be true of the host before the agent starts, and stays true while it runs: found out at once, all of it."""

import ctypes
import fcntl
import os
from pathlib import Path
from typing import Final

from nodeagent.settings import Settings, SettingsInvalid

_CAP_NET_ADMIN: Final = 12


class StateDir:
    """The state directory, held by this process alone (flock) until it ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Makes the directory if need be, such that others may pass (dnsmasq runs as another user) but not look. Raises
        SettingsInvalid when it cannot be used, or another agent does."""
        try:
            path.mkdir(mode=0o711, parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as failed:
            raise SettingsInvalid([f"--state-dir {path} is not writable: {failed.strerror}"]) from failed
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as failed:
            holder = os.pread(self._lock, 32, 0).decode("ascii", "replace").strip()
            os.close(self._lock)
            raise SettingsInvalid([f"--state-dir {path} is in use by another agent, pid {holder}"]) from failed
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)


def check(settings: Settings) -> None:
    """Raises SettingsInvalid with every fault."""
    faults = []
    if settings.token_file:
        try:
            if not settings.token_file.read_text().strip():
                faults.append(f"--token-file {settings.token_file} is empty")
        except (OSError, UnicodeDecodeError) as failed:
            faults.append(f"--token-file {settings.token_file} cannot be read: {getattr(failed, 'strerror', failed)}")
    if not capable():
        faults.append("CAP_NET_ADMIN is missing: run as root, or with AmbientCapabilities=CAP_NET_ADMIN")
    try:
        ctypes.CDLL("libnftables.so.1")
    except OSError:
        faults.append("libnftables.so.1 is missing: apt install libnftables1 (or the package of your distribution)")
    if faults:
        raise SettingsInvalid(faults)


def capable() -> bool:
    """May this process change the network? capabilities(7): the effective set, in hexadecimal."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_NET_ADMIN & 1)
    return False
