"""DIR/view.deltas: the deltas that lead from view.last to what was held since, appended one by one.

A node with 20,000 members has a view of 400 kB. Written whole for each member that comes or goes it would take 0.9 ms
before the kernel is told anything, as long as telling it, and megabytes a second on a busy cloud; a record takes 0.02 ms and
some hundred bytes. (Measured by `bench.node_delta`. Flushing it is a quarter of flushing the whole view, and runs beside the
kernel's transaction either way.)

    record   SHA-256 of all that follows, in hex, and a space
             {"base", "etag", "seen", "generation", "bytes"} and a line feed, then as many bytes and a line feed
       or    {"accepted": etag} and a line feed: all up to here went in

What is read is the records up to the first that is torn or does not follow from the one before; the first one follows from
view.last. So a log that was left behind by a newer view.last says nothing, and a tail that a crash tore is as if it had not
been begun. It is cut off before anything is appended.
"""

import contextlib
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from verge.contract.etag import At, ETag

_MOST: Final = 500
"""Records; folding them at the next start takes some 0.2 ms each."""
_LEAST_BYTES: Final = 65536
"""Up to so many bytes the log may grow, however small the view that it is based on."""


@dataclass(frozen=True, slots=True)
class StoredDelta:
    base: ETag
    etag: ETag
    seen: At | None
    body: bytes
    """As it was received."""
    generation: int = 0


class DeltaLog:
    """One thread at a time. What fails leaves the log closed to appending (`tip` is None), until it is begun anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tip: ETag | None = None
        """What the last delta leads to, or what the log is based on; None: nothing can be appended."""
        self._room = 0
        self._length = 0
        self._count = 0
        self._file: int | None = None
        self._named = False

    def begin(self, base: ETag | None, size: int) -> None:
        """There is a new view.last, of so many bytes: what the log held is history."""
        self._close()
        self.path.unlink(missing_ok=True)
        self._based_on(base, size)

    def load(self, base: ETag | None, size: int) -> tuple[list[StoredDelta], int]:
        """What follows from view.last, and how many of them went in."""
        self._close()
        self._based_on(base, size)
        deltas: list[StoredDelta] = []
        accepted = 0
        try:
            content = self.path.read_bytes()
        except OSError:
            return deltas, accepted
        while (found := _read(content, self._length)) is not None:
            about, body, end = found
            if "accepted" in about:
                if about["accepted"] != str(self.tip):
                    break
                accepted = len(deltas)
            else:
                delta = _delta(about, body)
                if delta is None or delta.base != self.tip:
                    break
                deltas.append(delta)
                self.tip = delta.etag
            self._length = end
        self._count = len(deltas)
        return deltas, accepted

    def append(self, delta: StoredDelta) -> bool:
        """Safe against a killed process on return. False: it does not follow, or the log is long enough. Raises OSError."""
        if delta.base != self.tip or self._length + len(delta.body) > self._room or self._count >= _MOST:
            return False
        about = {
            "base": str(delta.base),
            "etag": str(delta.etag),
            "seen": str(delta.seen) if delta.seen else None,
            "generation": delta.generation,
            "bytes": len(delta.body),
        }
        self._write(orjson.dumps(about) + b"\n" + delta.body + b"\n")
        self._count += 1
        self.tip = delta.etag
        return True

    def accept(self) -> None:
        """Raises OSError."""
        self._write(orjson.dumps({"accepted": str(self.tip)}) + b"\n")

    def settle(self) -> None:
        """Safe against a loss of power on return. Raises OSError."""
        if self._file is not None:
            os.fdatasync(self._file)
        if not self._named:
            flush(self.path.parent)
            self._named = True

    def _based_on(self, base: ETag | None, size: int) -> None:
        self.tip, self._length, self._count = base, 0, 0
        self._room = max(size, _LEAST_BYTES)

    def _write(self, content: bytes) -> None:
        record = sha256(content).hexdigest().encode() + b" " + content
        try:
            if self._file is None:
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
                os.ftruncate(self._file, self._length)
                self._named = False
            written = os.write(self._file, record)
            if written != len(record):  # a full disk takes part of it first
                written += os.write(self._file, record[written:])
            self._length += written
        except OSError as failed:
            self.tip = None
            with contextlib.suppress(OSError):
                os.truncate(self.path, self._length)
            raise OSError(failed.errno, failed.strerror, str(self.path)) from failed

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def flush(path: Path) -> None:
    """A file's content, or a directory's names. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(content: bytes, at: int) -> tuple[dict[str, Any], bytes, int] | None:
    """The record that begins there, and where the next one does; None: none that is whole."""
    line = content.find(b"\n", at)
    if line < 0 or content[at + 64 : at + 65] != b" ":
        return None
    try:
        about = orjson.loads(content[at + 65 : line])
        end = line + 1 if "accepted" in about else line + 1 + int(about["bytes"]) + 1
    except (ValueError, KeyError, TypeError):
        return None
    if end > len(content) or sha256(content[at + 65 : end]).hexdigest().encode() != content[at : at + 64]:
        return None
    return about, content[line + 1 : end - 1], end


def _delta(about: dict[str, Any], body: bytes) -> StoredDelta | None:
    try:
        base, etag = ETag.parse(about["base"]), ETag.parse(about["etag"])
        seen = At.parse(about["seen"]) if about["seen"] else None
        return StoredDelta(base, etag, seen, body, int(about["generation"]))
    except (ValueError, KeyError, TypeError):
        return None
