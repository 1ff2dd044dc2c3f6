"""The runtime directory: short, because a socket's path has at most 107 bytes, however deep the data directory is."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from viewserver.store.embedded.account import Account, user_name

# Who may enter, as which role: the view server's own user as the owner of its database, and, for an operator's psql or
# pg_dump under the same user, as the superuser.
_HBA = "local all all peer map=verge\n"
_IDENT = 'verge "{user}" verge\nverge "{user}" postgres\n'


@dataclass(frozen=True, slots=True)
class Runtime:
    path: Path

    @property
    def socket(self) -> Path:
        return self.path / "socket"

    @property
    def hba(self) -> Path:
        return self.path / "pg_hba.conf"

    @property
    def ident(self) -> Path:
        return self.path / "pg_ident.conf"

    @property
    def programs(self) -> Path:
        """A mountpoint, used in Postgres's own mount namespace only."""
        return self.path / "programs"

    def prepare(self, account: Account) -> None:
        """Before every start, not once: what lies in /tmp for weeks may have been swept away."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        # Postgres's user reads the two files and enters the socket's directory; nobody else can do the latter.
        self.path.chmod(0o755 if account.switching else 0o700)
        for directory in (self.socket, self.programs):
            directory.mkdir(exist_ok=True)
        self.socket.chmod(0o700)
        if account.switching:
            os.chown(self.socket, account.uid, account.gid)
        self.hba.write_text(_HBA)
        self.ident.write_text(_IDENT.format(user=user_name()))
        for file in (self.hba, self.ident):
            file.chmod(0o644)

    def remove(self) -> None:
        """By name, never as a tree: `programs` is a mountpoint."""
        for file in (self.hba, self.ident, *self.socket.glob(".s.PGSQL.*")):
            file.unlink(missing_ok=True)
        for directory in (self.socket, self.programs, self.path):
            with contextlib.suppress(OSError):
                directory.rmdir()


@contextlib.contextmanager
def runtime_directory(home: Path) -> Iterator[Runtime]:
    """Ours for as long as the block lasts. What a killed predecessor left there is taken over."""
    runtime = Runtime(_own_directory(f"verge-{os.geteuid()}-{hashlib.sha256(bytes(home)).hexdigest()[:10]}"))
    try:
        yield runtime
    finally:
        runtime.remove()


def _own_directory(name: str) -> Path:
    """Made, or found and surely ours: in /tmp anybody may have put something of that name."""
    base = next(
        place
        for place in (Path("/run"), Path(os.environ.get("XDG_RUNTIME_DIR", "/run")), Path("/tmp"))  # noqa: S108
        if place == Path("/tmp") or os.access(place, os.W_OK | os.X_OK)  # noqa: S108
    )
    path = base / name
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if path.is_symlink() or not path.is_dir() or found.st_uid != os.geteuid():
        return Path(tempfile.mkdtemp(prefix="verge-", dir=base))
    return path
