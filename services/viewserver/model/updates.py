"""One atomic update: its operations applied to a network, in order, and everything that is wrong with them.

    {"operations": [{"op": "put", "kind": "instance", "id": "i-1a2b3c4d", "value": {…}},
                    {"op": "delete", "kind": "elastic_ip", "id": "10.111.101.91"}]}

Checks are made on the network as it would be after the whole update, so operations may come in any order and two
instances may swap addresses. A malformed operation does not hide the faults of the others: its faulty fields are set
aside, what is left of it is checked, and faults that could only follow from a field set aside are not reported.
Deleting what does not exist is no fault: an update says what shall be so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from viewserver.model.change import Recorded
from viewserver.model.faults import Fault, Pointer, as_faults
from viewserver.model.invariants import check
from viewserver.model.network import Network
from viewserver.model.objects import CLASSES, THE_NETWORK, Key, Kind, Object, from_wire, normal, to_wire
from viewserver.model.partial import salvage
from viewserver.model.places import Place, located
from viewserver.model.text import HostName, Id, parse_ipv4

FIELDS = {"put": {"op", "kind", "id", "value"}, "delete": {"op", "kind", "id"}}


@dataclass(frozen=True, slots=True)
class Operation:
    kind: Kind
    id: str
    value: Object | None
    """None deletes."""
    at: Pointer = ()
    """Where it stands in the request, for the pointers of its faults."""
    wire: Any = None
    """The value as it came: faults in its lists are pointed at where they stand there."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The network after an update, and what the update changed in it."""

    network: Network
    changed: tuple[Recorded, ...]
    """One entry for each object whose value differs before and after; empty if the update changed nothing."""


@dataclass(frozen=True, slots=True)
class Refused:
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A request's operations, as far as they could be read."""

    operations: tuple[Operation, ...]
    faults: tuple[Fault, ...]
    set_aside: frozenset[Pointer]
    """Where faulty values stood; a later fault at or below one of these is a consequence, not news."""
    unread: frozenset[Key]
    """Objects that an operation names without giving a good value: what others say of them is let pass."""
    places: Mapping[Key, Place] = field(default_factory=dict)
    """Of objects that stand elsewhere in the document than in an operation; their operations are `at` their key."""
    warnings: tuple[Fault, ...] = ()
    """What is no fault, but not what the document's author may expect either."""


def parse(wire: Any, at: Pointer = ("operations",)) -> Parsed:
    """Read the operations of a request. Never raises."""
    if not isinstance(wire, list):
        return Parsed((), (Fault(at, "must be a list of operations"),), frozenset(), frozenset())
    operations: list[Operation] = []
    faults: list[Fault] = []
    set_aside: set[Pointer] = set()
    unread: set[Key] = set()
    for index, item in enumerate(wire):
        here = (*at, index)
        before = len(faults)
        kind, key = _named(item, here, faults)
        if kind is None or key is None:
            continue
        if item.get("op") == "delete":
            operations.append(Operation(kind, key, None, here))
        elif "value" in item:
            value, wrong = parse_value(kind, key, item["value"], (*here, "value"))
            faults += wrong
            set_aside |= {fault.pointer for fault in wrong}
            if wrong:
                unread.add((kind, key))
            if value is not None:
                operations.append(Operation(kind, key, value, here, item["value"]))
        elif len(faults) == before:
            faults.append(Fault((*here, "value"), "is missing"))
            unread.add((kind, key))
    return Parsed(tuple(operations), tuple(faults), frozenset(set_aside), frozenset(unread))


def parse_value(kind: Kind, key: str, wire: Any, at: Pointer) -> tuple[Object | None, list[Fault]]:
    """An object's value, with every fault in it. With faults, the value is what could be salvaged, or None."""
    try:
        return normal(key, from_wire(kind, wire)), []
    except ValidationError as wrong:
        value = salvage(kind, wire, wrong)
        return (None if value is None else normal(key, value)), as_faults(wrong, at)


def apply(network: Network, parsed: Parsed) -> Applied | Refused:
    """The network with the operations applied, or every fault of the update."""
    last: dict[Key, Operation] = {(operation.kind, operation.id): operation for operation in parsed.operations}
    # Of several operations on one object only the last is carried out: an address that an earlier one took for a
    # moment would otherwise be lost from the indices of the object that holds it all along.
    after = network
    for key, operation in last.items():
        after = after.without(*key) if operation.value is None else after.put(*key, operation.value)
    touched = {key: operation.at for key, operation in last.items()}
    wires = {(*operation.at, "value"): operation.wire for operation in last.values()}
    faults = [
        *parsed.faults,
        *(
            _at_its_item(fault, wires.get(fault.pointer[:-1]))
            for fault in check(network, after, touched, parsed.unread)
            if not any(fault.pointer[:length] in parsed.set_aside for length in range(len(fault.pointer) + 1))
        ),
    ]
    if faults:
        return Refused(tuple(located(faults, parsed.places)))
    return Applied(after, tuple(_differences(network, after, list(touched))))


def _at_its_item(fault: Fault, wire: Any) -> Fault:
    """Normal forms are sorted sets; the fault is pointed at where the item stands in the list that came."""
    if fault.about is None or not isinstance(wire, dict):
        return fault
    items = wire.get(str(fault.pointer[-1]))
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if item == fault.about:
            return replace(fault, pointer=(*fault.pointer, index))
        if isinstance(item, dict) and item.get("group") == fault.about:
            return replace(fault, pointer=(*fault.pointer, index, "group"))
    return fault


def _differences(before: Network, after: Network, keys: Sequence[Key]) -> list[Recorded]:
    changed = []
    for kind, key in keys:
        old, new = before.get(kind, key), after.get(kind, key)
        if old != new:
            changed.append(
                Recorded(
                    kind, key, None if old is None else to_wire(kind, old), None if new is None else to_wire(kind, new)
                )
            )
    return changed


def replay(network: Network, changed: Sequence[Recorded]) -> Network:
    """Fold one change record into a network; no checks, they were made when it was committed."""
    for record in changed:
        kind = cast(Kind, record.kind)
        if record.after is None:
            network = network.without(kind, record.id)
        else:
            network = network.put(kind, record.id, from_wire(kind, record.after))
    return network


def rewind(network: Network, changed: Sequence[Recorded]) -> Network:
    """Take one change record back out of a network that holds it."""
    return replay(network, [Recorded(item.kind, item.id, item.after, item.before) for item in changed])


def _named(item: Any, here: Pointer, faults: list[Fault]) -> tuple[Kind | None, str | None]:
    """Which object an operation is about; faults of its frame are added to `faults`."""
    if not isinstance(item, dict):
        faults.append(Fault(here, "must be an object"))
        return None, None
    op, kind, key = item.get("op"), item.get("kind"), item.get("id")
    fields = FIELDS.get(op) if isinstance(op, str) else None
    if fields is None:
        faults.append(Fault((*here, "op"), "must be put or delete"))
    for name in item.keys() - (fields or FIELDS["put"]):
        faults.append(Fault((*here, str(name)), f"is not a field of a {op if fields else 'put'}"))
    if not isinstance(kind, str) or kind not in CLASSES:
        faults.append(Fault((*here, "kind"), f"must be one of {', '.join(CLASSES)}"))
        return None, None
    message = wrong_id(kind, key)
    if message:
        faults.append(Fault((*here, "id"), message))
        return kind, None
    if fields is None:
        return None, None
    return kind, key


_ID: TypeAdapter[str] = TypeAdapter(Id)
_HOST: TypeAdapter[str] = TypeAdapter(HostName)


def wrong_id(kind: Kind, key: Any) -> str | None:
    """What is wrong with an id of this kind, or None."""
    if not isinstance(key, str):
        return "must be a string"
    if kind == "network":
        return None if key == THE_NETWORK else f"the one network's id is {THE_NETWORK!r}"
    if kind == "elastic_ip":
        try:
            parse_ipv4(key)
        except ValueError as wrong:
            return str(wrong)
        return None
    try:
        (_HOST if kind == "node" else _ID).validate_python(key)
    except ValidationError as wrong:
        return as_faults(wrong, ())[0].message
    return None
