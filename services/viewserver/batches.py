"""Which of the batches of reports that Postgres has numbered are known here: read, or written by this very replica.

Every replica hears of every batch, its own too. What it wrote itself it need not read: where ten thousand nodes report at once,
reading it all again would be half of the work.
"""

from collections.abc import Iterable


class Batches:
    def __init__(self, through: int) -> None:
        self.through = through
        """All up to this one are known."""
        self._own: set[int] = set()
        """Written here and committed, above `through`."""
        self._writing: frozenset[int] = frozenset()
        """Numbered for a transaction of this replica that may be committed already: nobody else has these numbers, unless it
        fails."""

    @property
    def own(self) -> frozenset[int]:
        """Above `through`, and not to be read."""
        return frozenset(self._own)

    def writing(self, numbers: Iterable[int]) -> None:
        self._writing = frozenset(numbers)

    def written(self) -> None:
        """It is committed, and what it wrote is taken in."""
        self._own |= self._writing
        self._writing = frozenset()
        self._advance()

    def failed(self) -> None:
        """Or nobody knows whether it did not: then its batch is read like anybody's."""
        self._writing = frozenset()

    def missing(self, heard: int) -> bool:
        """Of the batches up to `heard` there are some to be read. What is being written is taken in by who writes it."""
        return any(
            number not in self._own and number not in self._writing for number in range(self.through + 1, heard + 1)
        )

    def read(self, through: int) -> None:
        """All that others have written up to this one."""
        self.through = max(self.through, through)
        self._advance()

    def _advance(self) -> None:
        while self.through + 1 in self._own:
            self.through += 1
        self._own = {number for number in self._own if number > self.through}
