"""What lies between two revisions: each object once, as it was at the one and as it is at the other. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from viewserver.model.change import Change, Recorded

_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Edited:
    """One object that differs. None before: it was created; None after: it was deleted."""

    kind: str
    id: str
    before: Any | None
    after: Any | None
    revisions: tuple[int, ...] = ()
    """The changes that touched it on the way, ascending."""

    def to_wire(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "id": self.id,
            "op": "create" if self.before is None else "delete" if self.after is None else "change",
            "before": self.before,
            "after": self.after,
            "fields": fields(self.before, self.after),
            "revisions": list(self.revisions),
        }


def edited(record: Recorded) -> Edited:
    return Edited(record.kind, record.id, record.before, record.after)


def fields(before: Any | None, after: Any | None) -> dict[str, Any]:
    """The fields of an object that differ, `{"before", "after"}` each; nothing for one that was created or deleted."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return {}
    return {
        name: {"before": before.get(name), "after": after.get(name)}
        for name in sorted({*before, *after})
        if before.get(name, _ABSENT) != after.get(name, _ABSENT)
    }


@dataclass(slots=True)
class Between:
    """Taken in from the newest change record to the oldest, as a network is rewound."""

    _found: dict[tuple[str, str], tuple[Any, Any, list[int]]] = field(default_factory=dict)
    """By object: before, after, revisions descending."""

    def take(self, changes: Iterable[Change]) -> None:
        """The next older records, the newest first."""
        for change in changes:
            for item in change.operations:
                key = (item.kind, item.id)
                _, after, revisions = self._found.get(key, (None, item.after, []))
                self._found[key] = (item.before, after, [*revisions, change.revision])

    def reversal(self) -> list[Recorded]:
        """What leads back, as records to replay."""
        return [Recorded(kind, key, after, before) for (kind, key), (before, after, _) in self._found.items()]

    def edits(self) -> list[Edited]:
        """What differs, by kind and id; an object that came to what it was is not among them."""
        return [
            Edited(kind, key, before, after, tuple(reversed(revisions)))
            for (kind, key), (before, after, revisions) in sorted(self._found.items())
            if before != after
        ]
