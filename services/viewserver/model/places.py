"""Where an object stands in a document that does not spell it as an operation, so that faults point into the document.

While such a document is read, every fault of an object is at (kind, id, "value", field, …) or (kind, id, "id"), whatever
the document calls it; `located` then says it in the document's own words. Faults of the document's frame are in its words
from the start: their pointers never begin with the key of an object that has a place.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from viewserver.model.faults import Fault, Pointer
from viewserver.model.objects import Key


@dataclass(frozen=True, slots=True)
class Place:
    at: Pointer
    """The object."""
    fields: Mapping[str, Pointer] = field(default_factory=dict)
    """Where each field stands; one that is not here is at the object as a whole."""
    items: Mapping[str, tuple[Pointer, ...]] = field(default_factory=dict)
    """Where each item of a field that is a list stands, where that is not index by index."""
    words: Mapping[str, str] = field(default_factory=dict)
    """The document's names of fields within an item."""
    ours: bool = False
    """The document calls fields what we call them."""

    def of(self, rest: Pointer) -> Pointer:
        """`rest` as it follows the object's key: ("id",), ("value",) or ("value", field, …)."""
        if len(rest) < 2:
            return self.at
        name, inner = str(rest[1]), rest[2:]
        if self.ours:
            return (*self.at, name, *inner)
        items = self.items.get(name)
        if items is not None and inner and isinstance(inner[0], int) and inner[0] < len(items):
            return (*items[inner[0]], *(self.words.get(str(part), part) for part in inner[1:]))
        return (*self.fields[name], *inner) if name in self.fields else self.at


def located(faults: Iterable[Fault], places: Mapping[Key, Place]) -> list[Fault]:
    if not places:
        return list(faults)
    found = []
    for fault in faults:
        place = places.get(cast(Key, fault.pointer[:2]))
        found.append(fault if place is None else replace(fault, pointer=place.of(fault.pointer[2:])))
    return found
