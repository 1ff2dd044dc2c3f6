"""The change record: what one revision did to the network, by whom, and which nodes' views it changed.

Replaying the records from an empty network, in the order of their revisions, gives the network at any revision.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Recorded:
    """One object, before and after. None before: it was created; None after: it was deleted."""

    kind: str
    id: str
    before: Any | None
    after: Any | None

    def to_wire(self) -> dict[str, Any]:
        return {"kind": self.kind, "id": self.id, "before": self.before, "after": self.after}


@dataclass(frozen=True, slots=True)
class NewChange:
    """A change that is about to be committed; the store adds revision, epoch and time."""

    actor: str
    operations: tuple[Recorded, ...]
    """At most one for each object."""
    affected: tuple[str, ...]
    """The nodes whose digest it changes; their version becomes this change's revision."""
    caused_by: int | None = None
    """The revision that this one completes: a grant names its withdrawal."""


@dataclass(frozen=True, slots=True)
class Change:
    """A committed change. Revisions have no gaps and ascend in commit order."""

    revision: int
    epoch: int
    at: datetime
    """Postgres's clock, at the write."""
    actor: str
    operations: tuple[Recorded, ...]
    affected: tuple[str, ...]
    caused_by: int | None = None
