"""An update as it is read out of a document that says how things shall be, not which operations lead there."""

from collections.abc import Iterable
from typing import Any, Final

from viewserver.model.faults import Fault, Pointer
from viewserver.model.network import Network
from viewserver.model.objects import CLASSES, Key, Kind, Object, to_wire
from viewserver.model.partial import UNREAD
from viewserver.model.places import Place
from viewserver.model.updates import Operation, Parsed, parse_value, wrong_id

MOST_WARNINGS: Final = 1000
MANY_INSTANCES: Final = 20
"""Losing more than these, and more than a tenth of all, is taken for a mistake."""
NAMED: Final = 20
"""How many objects a message names before it only counts them."""


class Draft:
    """Collects, and never raises: what is wrong with one object does not hide what is wrong with the next."""

    def __init__(self, faults: Iterable[Fault] = (), warnings: Iterable[Fault] = ()) -> None:
        self.places: dict[Key, Place] = {}
        """Of every object that the document names."""
        self._faults = list(faults)
        self._warnings = list(warnings)
        self._operations: dict[Key, Operation] = {}
        self._set_aside: set[Pointer] = set()
        self._unread: set[Key] = set()

    def fault(self, at: Pointer, message: str, *, in_use: bool = False) -> None:
        self._faults.append(Fault(at, message, in_use))

    def warn(self, at: Pointer, message: str) -> None:
        self._warnings.append(Fault(at, message))

    def put(self, kind: Kind, key: str, wire: Any, place: Place) -> Object | None:
        """The object's value as far as it can be read; `wire` is the value as an operation would spell it."""
        if (kind, key) in self.places:
            self.fault(place.at, f"{kind} {key} stands in the document twice")
            return None
        self.places[kind, key] = place
        message = wrong_id(kind, key)
        value, wrong = parse_value(kind, UNREAD if message else key, wire, (kind, key, "value"))
        if message:
            self.fault((kind, key, "id"), message)
        self._faults += wrong
        self._set_aside |= {fault.pointer for fault in wrong}
        if wrong or message:
            self._unread.add((kind, key))
        if value is not None and not message:
            self._operations[kind, key] = Operation(kind, key, value, (kind, key), wire)
        return value

    def unread(self, kind: Kind, key: str, place: Place) -> None:
        """The document names the object, but its value is beyond reading; the fault is told by the caller."""
        self.places.setdefault((kind, key), place)
        self._unread.add((kind, key))

    def delete(self, kind: Kind, key: str, place: Place) -> None:
        """A fault of the deletion is told at `place`."""
        self.places[kind, key] = place
        self._operations[kind, key] = Operation(kind, key, None, (kind, key))

    def delete_missing(self, network: Network, kinds: Iterable[Kind], place: Place) -> None:
        """Delete what the document does not name."""
        wanted = set(kinds)
        for kind, key in sorted(network.objects):
            if kind in wanted and kind in CLASSES and (kind, key) not in self.places:
                self.delete(kind, key, place)

    def guard_instances(self, network: Network, at: Pointer) -> None:
        """A document that lacks many of the instances is more likely cut short than meant."""
        lost = [key for kind, key in self._operations if kind == "instance" and not self._puts("instance", key)]
        total = sum(1 for _ in network.of_kind("instance"))
        if len(lost) > MANY_INSTANCES and len(lost) * 10 > total:
            message = (
                f"{len(lost)} of {total} instances would be removed ({naming(lost)}); if so it shall be, say force=true"
            )
            self.fault(at, message, in_use=True)

    def _puts(self, kind: Kind, key: str) -> bool:
        operation = self._operations.get((kind, key))
        return operation is not None and operation.value is not None

    def parsed(self, *, silent_deletions: bool = False) -> Parsed:
        """`silent_deletions`: whoever needs what is deleted stands in the document too, and the fault is told there."""
        aside = set(self._set_aside)
        if silent_deletions:
            aside |= {key for key, operation in self._operations.items() if operation.value is None}
        warnings = self._warnings[:MOST_WARNINGS]
        if len(self._warnings) > MOST_WARNINGS:
            warnings.append(Fault((), f"and {len(self._warnings) - MOST_WARNINGS} warnings more"))
        return Parsed(
            tuple(self._operations.values()),
            tuple(self._faults),
            frozenset(aside),
            frozenset(self._unread),
            self.places,
            tuple(warnings),
        )


def naming(names: Iterable[str]) -> str:
    """A few of them by name, the rest by number."""
    found = list(names)
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more


def settings_wire(network: Network) -> dict[str, Any]:
    """The network's settings as JSON values, to be written over; nothing if there are none yet."""
    return {} if network.settings is None else to_wire("network", network.settings)
