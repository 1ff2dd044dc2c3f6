"""Whom dnsmasq runs as: it parses what instances send, so it is to own nothing.

Started by root it binds its port, opens its lease file, and becomes the user `dnsmasq` of Debian's package, keeping of
root's capabilities CAP_NET_ADMIN and CAP_NET_RAW (it answers clients that have no address yet). It keeps the agent's user
where it cannot be otherwise, or where we could not get at it any more:

* the agent is not root, or that user does not exist or is not known here (a user namespace has few);
* a directory on the way to its files is closed to others;
* the agent has not the capabilities to become another, and to see and end what runs as another.
"""

import os
import pwd
from pathlib import Path
from typing import Final

USER: Final = "dnsmasq"

_NEEDED: Final = {"CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SYS_PTRACE": 19}


def choose(directory: Path) -> tuple[str, str | None]:
    """(user, why it is the agent's own). An empty user is the agent's own."""
    if os.geteuid() != 0:
        return "", "the agent is not root"
    try:
        found = pwd.getpwnam(USER)
    except KeyError:
        return "", f"there is no user {USER}"
    if not _mapped("uid", found.pw_uid) or not _mapped("gid", found.pw_gid):
        return "", f"this user namespace does not know the user {USER}"
    missing = [name for name, bit in _NEEDED.items() if not _effective() >> bit & 1]
    if missing:
        return "", f"the agent lacks {', '.join(missing)}"
    for one in (directory, *directory.parents):
        if not one.stat().st_mode & 0o001:
            return "", f"{one} is closed to others (chmod o+x)"
    return USER, None


def of(pid: int) -> str | None:
    """Whom a process runs as; None: it has ended."""
    try:
        owner = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    number = next(int(line.split()[2]) for line in owner.splitlines() if line.startswith("Uid:"))
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _mapped(kind: str, number: int) -> bool:
    """user_namespaces(7): lines of (first inside, first outside, how many)."""
    for line in Path(f"/proc/self/{kind}_map").read_text().splitlines():
        first, _, count = map(int, line.split())
        if first <= number < first + count:
            return True
    return False


def _effective() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
