"""The checkpoint beside the event loop: in threads, and a disk that fails is said and reported but stops nothing, since the
rules matter more than the copy."""

import asyncio
from collections.abc import Callable

from nodeagent.checkpoint import Checkpoint, CheckpointUnreadable, Slot, Stored
from nodeagent.journal import Journal
from verge.contract.view import View


class Disk:
    """One call at a time, but for `load`."""

    def __init__(self, checkpoint: Checkpoint, journal: Journal) -> None:
        self.checkpoint = checkpoint
        self.problem: str | None = None
        """Why the newest view is not on it; the caller takes it back when it tries anew."""
        self._journal = journal

    async def do(self, step: Callable[[], None]) -> None:
        """One of the checkpoint's writing methods."""
        try:
            await asyncio.to_thread(step)
        except OSError as failed:
            self.problem = f"{failed.strerror or failed} ({failed.filename})"
            self._journal.say("checkpoint-failed", reason=self.problem)

    async def load(self, slot: Slot) -> tuple[Stored, View] | None:
        """What is wrong with a view on disk is said, and it counts as absent."""
        try:
            return await asyncio.to_thread(self._load, slot)
        except CheckpointUnreadable as wrong:
            self._journal.say("checkpoint-refused", reason=str(wrong))
            return None

    def _load(self, slot: Slot) -> tuple[Stored, View] | None:
        stored = self.checkpoint.load(slot)
        return (stored, stored.view()) if stored else None
