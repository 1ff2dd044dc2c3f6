"""How far each of the last changes has come: on how many of the nodes it affects it is in force, and who waits for that.

Counted while reports come in, so a barrier compares two numbers, whatever the number of nodes. Those who wait for a change say
with how many nodes still missing they would be content, and are woken then and not at each report: ten thousand reports of
a change that a thousand barriers wait for wake each of them once.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from viewserver.waiting import Waiting


@dataclass(slots=True)
class Advance:
    """Counts only nodes that still exist."""

    affected: int
    behind: int
    """Nodes that have not applied it."""
    caused_by: int | None
    closed: set[str] = field(default_factory=set)
    """Nodes that have applied it, but had to close an object which it touched."""

    def in_force(self, *, allow_degraded: bool) -> int:
        return self.affected - self.behind - (0 if allow_degraded else len(self.closed))


class Advances:
    def __init__(self) -> None:
        self.waiting: Waiting[tuple[int, int]] = Waiting()
        """By revision, and by how many nodes may be missing."""
        self._of: dict[int, Advance] = {}
        self._closed: dict[str, set[int]] = {}
        """By node: the changes of which it had to close an object."""
        self._inherited: dict[str, list[int]] = {}
        """By node that was removed and created again: recent changes that affected the former one."""
        self._content: dict[int, set[int]] = {}

    def __getitem__(self, revision: int) -> Advance:
        return self._of[revision]

    # --- changes ---

    def begin(self, revision: int, affected: int, caused_by: int | None) -> None:
        """A change was committed; all these nodes have yet to apply it."""
        self._of[revision] = Advance(affected, affected, caused_by)
        self.news((revision,) if caused_by is None else (revision, caused_by))

    def forget(self, revision: int) -> None:
        self._of.pop(revision, None)
        self.news((revision,))

    def clear(self) -> None:
        """Another epoch: revisions mean something else."""
        self._of.clear()
        self._closed.clear()
        self._inherited.clear()
        self.news_of_nodes()

    # --- nodes ---

    def applied(self, revisions: Iterable[int]) -> None:
        """A node has applied these changes, or nobody waits for it any more."""
        for revision in revisions:
            found = self._of.get(revision)
            if found is not None:
                found.behind -= 1
                self._tell(revision, found)

    def fell_back(self, revisions: Iterable[int]) -> None:
        """A node no longer has these: it tells of an older version than before."""
        for revision in revisions:
            self._of[revision].behind += 1

    def closes(self, node: str, revisions: set[int]) -> None:
        """These are, from now on, the changes that the node has applied without an object of theirs."""
        before = self._closed.pop(node, set())
        if revisions:
            self._closed[node] = revisions
        for revision in before ^ revisions:
            found = self._of.get(revision)
            if found is not None:
                (found.closed.add if revision in revisions else found.closed.discard)(node)
                self._tell(revision, found)

    def closing(self, node: str) -> bool:
        return node in self._closed

    def joined(self, node: str, earlier: list[int]) -> None:
        """The node was created; `earlier` affected a former one of its name, and are not in force on it before it has applied a
        view. Its lag begins with its own first change."""
        for revision in earlier:
            self._of[revision].affected += 1
            self._of[revision].behind += 1
        if earlier:
            self._inherited[node] = earlier

    def caught_up(self, node: str) -> list[int]:
        """The node has applied a view: those of the changes before it that have waited for that."""
        return self._inherited.pop(node, [])

    def gone(self, node: str, affecting: Iterable[int], pending: Iterable[int]) -> None:
        """The node was removed: `affecting` are the changes that named it, `pending` those of them that it lacked."""
        self.closes(node, set())
        for revision in affecting:
            self._of[revision].affected -= 1
        self.applied([*pending, *self.caught_up(node)])
        self.news_of_nodes()

    # --- waiting ---

    @contextmanager
    def ticket(self, revision: int, content: int) -> "Iterator[asyncio.Future[None]]":
        """Done once the change is missing on no more than `content` nodes, or there is other news of it than that one node
        more has applied it."""
        contents = self._content.setdefault(revision, set())
        contents.add(content)
        try:
            with self.waiting.ticket((revision, content)) as future:
                yield future
        finally:
            if not self.waiting.held((revision, content)):
                contents.discard(content)
                if not contents and self._content.get(revision) is contents:
                    del self._content[revision]

    def news(self, revisions: Iterable[int]) -> None:
        """Wake all who wait for these."""
        for revision in revisions:
            self.waiting.wake([(revision, content) for content in self._content.get(revision, ())])

    def news_of_nodes(self) -> None:
        """It is another question which nodes matter: wake all."""
        self.news(list(self._content))

    def _tell(self, revision: int, found: Advance) -> None:
        contents = self._content.get(revision)
        if contents:
            self.waiting.wake([(revision, content) for content in contents if found.behind <= content])
        if found.caused_by is not None and not found.behind:
            self.news((found.caused_by,))
