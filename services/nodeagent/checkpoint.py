"""The views on disk: what a restarted agent enforces before it has spoken to anybody.

    DIR/view.next     the newest view, written before it is applied
    DIR/view.last     the last view whose every object went in (or was closed by name)
    DIR/view.deltas   what leads from there to newer ones, some of which went in (`deltalog`)
    DIR/view.pinned   a view handed over by hand, in force instead of either until it is taken back

A pass over a new view goes through these lines; this is what a kill -9 or a loss of power leaves after each:

    1  write(next) to a temporary name      last, as before; the temporary file is ignored and overwritten
    2  rename to view.next                  next and last. The restarted agent applies next: rolls forward, never back
    3  the kernel's transaction             as 2: applying next again changes nothing
    4  settle(): flush file and directory   as 2. Before this line a loss of power may leave next torn or absent; then
                                            last is enforced, and nobody was told that next was applied
    5  accept(): rename next over last      as 3, under the other name. A view that is rejected skips this line: last stays,
                                            and is what a restarted agent falls back to when next is rejected again
    6  report                               the server hears it again after the restart, from the new boot

Lines 3 and 4 run beside each other; a view is reported as applied only when both are done. So what was reported applied
survives a loss of power, and what was not reported is at worst applied early, never undone.

A newer view that came as a delta is a record at the end of view.deltas instead of a new view.next: line 1 is writing it,
there is no line 2, line 4 flushes the log, and line 5 appends that all up to there went in. When the log is long, or view.next
waits to be accepted, the whole view is written as above; with line 5 the log is history.

A file is one line with a SHA-256 over all that follows it, one line of JSON, and the view's bytes as they were received.
Anything else, torn or foreign, is refused with a message and counts as absent.
"""

import os
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import orjson

from nodeagent.deltalog import DeltaLog, StoredDelta, flush
from nodeagent.session import Offered, read_delta, read_view
from verge.contract.etag import At, ETag
from verge.contract.view import View

Slot = Literal["next", "last", "pinned"]

_MAGIC = b"verge-checkpoint 1 "


class CheckpointUnreadable(Exception):
    """There is a file, but it is not a whole checkpoint of this node; the text says what it is."""


@dataclass(frozen=True, slots=True)
class Stored:
    node: str
    etag: ETag | None
    """None: handed over by hand, without a version."""
    seen: At | None
    body: bytes
    """The view as it was received."""
    generation: int = 0
    """The enforcement's policy generation when this was written."""
    deltas: tuple[bytes, ...] = ()
    """What leads from the body to the view of this ETag, in this order."""

    def view(self) -> View:
        """Checked as one from the server is. Raises CheckpointUnreadable."""
        view = read_view(self.body)
        for delta in self.deltas:
            view = read_delta(delta, view) if isinstance(view, View) else view
        if not isinstance(view, View):
            raise CheckpointUnreadable(f"the view of {self.etag} on disk cannot be read: {view}")
        if self.etag and self.etag.digest != view.digest:
            raise CheckpointUnreadable(f"the view of {self.etag} on disk has the digest {view.digest}")
        return view


class Checkpoint:
    """The files. Every method blocks on the disk; one thread at a time."""

    def __init__(self, directory: Path, node: str) -> None:
        self._directory = directory
        self._node = node
        self._log = DeltaLog(directory / "view.deltas")
        self._next: tuple[ETag | None, int] | None = None
        """What view.next holds, and its bytes; None: it is not there."""

    def path(self, slot: Slot) -> Path:
        return self._directory / f"view.{slot}"

    def load(self, slot: Slot) -> Stored | None:
        """None: there is none. Raises CheckpointUnreadable."""
        if slot == "pinned":
            return self._read(slot)
        if slot == "next":
            proposed = self._read("next")
            self._next = (proposed.etag, len(proposed.body)) if proposed else None
            if proposed:
                return proposed
        last = self._read("last")
        if last is None:
            return None
        deltas, accepted = self._log.load(last.etag, len(last.body))
        if slot == "next" and len(deltas) == accepted:
            return None
        if slot == "last":
            deltas = deltas[:accepted]
        if not deltas:
            return last
        newest, bodies = deltas[-1], tuple(delta.body for delta in deltas)
        return replace(last, etag=newest.etag, seen=newest.seen, generation=newest.generation, deltas=bodies)

    def keep(self, offered: Offered, seen: At | None, generation: int) -> None:
        """Lines 1 and 2 for a newer view, as a delta if it came as one and can be kept so. Raises OSError."""
        if offered.base and self._extend(StoredDelta(offered.base, offered.etag, seen, offered.body, generation)):
            return
        body = offered.body if offered.base is None else offered.view.to_bytes()
        self.propose(Stored(self._node, offered.etag, seen, body, generation))

    def propose(self, stored: Stored) -> None:
        """Lines 1 and 2. Safe against a killed process, not yet against a loss of power."""
        self._write("next", stored, durable=False)
        self._next = (stored.etag, len(stored.body))

    def settle(self) -> None:
        """Line 4."""
        if self._next is None:
            self._log.settle()
            return
        flush(self.path("next"))
        flush(self._directory)

    def accept(self) -> None:
        """Line 5. Need not be flushed: undone by a loss of power, it leaves the same view under its old name."""
        if self._next is None:
            self._log.accept()
            return
        self.path("next").replace(self.path("last"))
        base, self._next = self._next, None
        self._log.begin(*base)

    def pin(self, stored: Stored) -> None:
        """Durable on return."""
        self._write("pinned", stored, durable=True)
        flush(self._directory)

    def unpin(self) -> None:
        """Durable on return. Absent is well."""
        self.path("pinned").unlink(missing_ok=True)
        flush(self._directory)

    def _extend(self, delta: StoredDelta) -> bool:
        """False: the log cannot be continued with this one."""
        return self._next is None and self._log.append(delta)

    def _read(self, slot: Slot) -> Stored | None:
        """Raises CheckpointUnreadable."""
        path = self.path(slot)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as failed:
            raise CheckpointUnreadable(f"{path}: {failed.strerror}") from failed
        try:
            stored = _decode(content)
        except (ValueError, KeyError, TypeError) as wrong:
            raise CheckpointUnreadable(f"{path} is torn or not a checkpoint ({wrong}); it is not used") from wrong
        if stored.node != self._node:
            raise CheckpointUnreadable(f"{path} belongs to node {stored.node}, this is {self._node}; it is not used")
        return stored

    def _write(self, slot: Slot, stored: Stored, *, durable: bool) -> None:
        temporary = self._directory / f".view.{slot}.tmp"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(_encode(stored))
            if durable:
                file.flush()
                os.fsync(handle)
        temporary.replace(self.path(slot))


def _encode(stored: Stored) -> bytes:
    about: dict[str, Any] = {
        "node": stored.node,
        "etag": str(stored.etag) if stored.etag else None,
        "seen": str(stored.seen) if stored.seen else None,
        "generation": stored.generation,
        "bytes": len(stored.body),
    }
    rest = orjson.dumps(about) + b"\n" + stored.body
    return _MAGIC + sha256(rest).hexdigest().encode() + b"\n" + rest


def _decode(content: bytes) -> Stored:
    """Raises ValueError, KeyError or TypeError."""
    first, _, rest = content.partition(b"\n")
    if not first.startswith(_MAGIC):
        raise ValueError(f"it does not begin with {_MAGIC.decode().strip()!r}")
    if first[len(_MAGIC) :].decode("ascii", "replace") != sha256(rest).hexdigest():
        raise ValueError("its content is not what its first line says")
    second, _, body = rest.partition(b"\n")
    about = orjson.loads(second)
    return Stored(
        node=str(about["node"]),
        etag=ETag.parse(about["etag"]) if about["etag"] else None,
        seen=At.parse(about["seen"]) if about["seen"] else None,
        body=body,
        generation=int(about["generation"]),
    )
