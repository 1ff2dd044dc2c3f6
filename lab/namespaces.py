"""The namespaces of a private lab, entered in two halves: before and after the fork that makes its pid 1."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from lab import syscalls

MARK = Path("/run/verge-lab")


class Refused(Exception):
    """The kernel refused a step of entering a lab."""

    def __init__(self, step: str, error: OSError) -> None:
        super().__init__(f"{step}: {error.strerror}")
        self.step = step
        self.reason = error.strerror or str(error)
        self.errno = error.errno


def inside() -> bool:
    """Whether this process is in a lab, where links, addresses and firewalls are its own to change."""
    return MARK.exists()


def search_path() -> str:
    """PATH with the sbin directories: an ordinary user on Debian has `ip` and `nft` installed but not on it."""
    parts = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join([*parts, *(sbin for sbin in ("/usr/local/sbin", "/usr/sbin", "/sbin") if sbin not in parts)])


def become_private() -> None:
    """The capabilities to build a lab, and a new pid namespace for the next child. Raises Refused."""
    if not (syscalls.has_capability(syscalls.CAP_SYS_ADMIN) and syscalls.has_capability(syscalls.CAP_NET_ADMIN)):
        uid, gid = os.geteuid(), os.getegid()
        try:
            syscalls.unshare(syscalls.CLONE_NEWUSER)
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        except OSError as error:
            raise Refused("a user namespace", error) from error
    try:
        syscalls.unshare(syscalls.CLONE_NEWPID)
    except OSError as error:
        raise Refused("a process namespace", error) from error


def furnish(keep: Iterable[Path] = ()) -> None:
    """As pid 1: own network with lo up, private mounts, an empty /run but for `keep`, the right /proc. Raises Refused."""
    try:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        syscalls.set_link_up("lo")
    except OSError as error:
        raise Refused("a network namespace", error) from error
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
        _own_run(keep)
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        syscalls.mount("proc", "/proc", "proc", flags)
    except OSError as error:
        raise Refused("private mounts", error) from error
    if os.geteuid() != 0:
        syscalls.keep_capabilities()
    os.environ["PATH"] = search_path()


def _own_run(keep: Iterable[Path]) -> None:
    """A tmpfs on /run. What must stay reachable is held by a descriptor meanwhile, and bound to the same place again."""
    kept = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in keep if path.exists()]
    syscalls.mount("tmpfs", "/run", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=0755")
    MARK.touch()
    (MARK.parent / "netns").mkdir()
    for path, fd in kept:
        held = Path(f"/proc/self/fd/{fd}")
        if held.is_dir():
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        syscalls.mount(str(held), path, None, syscalls.MS_BIND | syscalls.MS_REC)
        os.close(fd)


def kept_paths(asked: Iterable[str] = ()) -> list[Path]:
    """What under /run stays: where names are resolved, the user's own directories, Postgres's socket, what is asked for."""
    candidates = [
        *asked,
        "/etc/resolv.conf",
        "/run/postgresql",
        str(Path.cwd()),
        sys.prefix,
        *(os.environ.get(name, "") for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME")),
    ]
    run = Path("/run")
    real = {Path(candidate).resolve() for candidate in candidates if candidate}
    below = sorted(path for path in real if run in path.parents)
    return [path for path in below if not any(parent in below for parent in path.parents)]
