"""Who has a UDP port of this network namespace: proc(5), /proc/net/udp and the descriptors of all processes."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Occupant(NamedTuple):
    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid})"


def occupants(port: int) -> list[Occupant]:
    """Those of them whose descriptors we may see; a kernel socket has no process."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    return [found for found in _processes() if sockets & _descriptors(found.pid)] if sockets else []


def _inodes(port: int) -> Iterator[str]:
    for line in Path("/proc/thread-self/net/udp").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[1].rpartition(":")[2], 16) == port:
            yield words[9]


def _processes() -> Iterator[Occupant]:
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                yield Occupant(int(directory.name), (directory / "comm").read_text().strip())
            except OSError:
                continue  # it ended


def _descriptors(pid: int) -> set[str]:
    found = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.add(str(descriptor.readlink()))
            except OSError:
                continue
    except OSError:
        return set()
    return found
