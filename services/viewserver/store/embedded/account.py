"""As whom Postgres runs, and how one of its programs is started.

Postgres refuses to run as root. Where the view server is root, it runs as the owner of its data directory (`postgres`,
or `nobody` on a machine without that user), and reaches the two things such a user may not be able to walk to:

* the data directory, below a parent of mode 0700: by an inherited descriptor, as /proc/self/fd/N, which the kernel
  follows without asking the parents. So no directory is opened to others for its sake.
* the programs, in a virtual environment in root's home: by a bind mount in a mount namespace of its own.

In every case the programs run without capabilities, unable to gain any, in a session of their own (so that Ctrl-C is
the view server's to handle), and told by the kernel to stop when their parent dies.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from viewserver.store.embedded.binaries import Binaries
from viewserver.store.errors import PostgresFailed, PostgresMissing

_MOUNT = 'mount --bind -- "$1" "$2" && shift 2 && exec "$@"'


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int
    switching: bool
    """We are root, and Postgres's programs are to become this user."""

    @classmethod
    def for_data(cls, data: Path) -> "Account":
        """The owner of `data`, which may not exist yet. Raises PostgresFailed when that cannot be."""
        owner = data.stat() if data.exists() else None
        if os.geteuid() != 0:
            if owner is not None and owner.st_uid != os.geteuid():
                raise PostgresFailed(
                    f"{data} belongs to user {owner.st_uid}, the view server runs as {os.geteuid()}: "
                    "run it as before, or as root, or give it another data directory"
                )
            return cls(os.geteuid(), os.getegid(), switching=False)
        if owner is not None and owner.st_uid != 0:
            return cls(owner.st_uid, owner.st_gid, switching=True)
        for name in ("postgres", "nobody"):
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(entry.pw_uid, entry.pw_gid, switching=True)
        raise PostgresFailed("Postgres refuses to run as root, and there is neither a user postgres nor nobody")

    def check(self) -> None:
        """Raises PostgresFailed where the kernel will not let us become this user."""
        if self.switching and not _mapped(self.uid):
            raise PostgresFailed(
                "Postgres refuses to run as root, and this user namespace has no second user to run it as: begin it "
                "with `unshare --map-current-user --keep-caps` in place of --map-root-user, or set DATABASE_URL"
            )


def _mapped(uid: int) -> bool:
    """user_namespaces(7): each line is the first id inside, the first outside, and how many."""
    ranges = [[int(number) for number in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return any(inside <= uid < inside + count for inside, _outside, count in ranges)


def user_name() -> str:
    """Of the user that the view server runs as: whom Postgres lets in. Raises PostgresFailed."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise PostgresFailed(
            f"user {os.geteuid()} has no name in /etc/passwd, and Postgres knows its peers by name: "
            "add one, or set DATABASE_URL"
        ) from None


@dataclass(frozen=True, slots=True)
class Programs:
    """Postgres's programs, startable as `account`."""

    binaries: Binaries
    account: Account
    mountpoint: Path
    """An empty directory that `account` can reach, for binaries that it cannot."""

    def start(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        keep: Sequence[int],
        output: IO[bytes] | int,
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start one as our child, with the descriptors `keep`.

        The kernel's notice of a parent's death follows the thread that forked, so call it in one that lives as long as
        the process: the event loop's.
        """
        drop = _setpriv(self.account)
        path = self.binaries.bin / program
        if not self.account.switching or self._reachable():
            argv = [*drop, str(path), *arguments]
        else:
            there = self.mountpoint / path.relative_to(self.binaries.root)
            namespace = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-ec", _MOUNT, "sh"]
            argv = [*namespace, str(self.binaries.root), str(self.mountpoint), *drop, str(there), *arguments]
        return subprocess.Popen(  # noqa: S603 - our own words, and paths
            argv,
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            pass_fds=list(keep),
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _reachable(self) -> bool:
        tried = [*_setpriv(self.account), "test", "-x", str(self.binaries.bin / "postgres")]
        found = subprocess.run(tried, cwd="/", stderr=subprocess.PIPE, text=True, check=False, timeout=30)  # noqa: S603
        if found.stderr:
            raise PostgresFailed(f"cannot become user {self.account.uid} to run Postgres: {found.stderr.strip()}")
        return found.returncode == 0


def _setpriv(account: Account) -> list[str]:
    if shutil.which("setpriv") is None:
        raise PostgresMissing("the view server runs its own Postgres by means of setpriv: install util-linux")
    become = [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"] if account.switching else []
    return ["setpriv", *become, "--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all", "--pdeathsig", "INT", "--"]
