"""What is left of a malformed value once its faulty fields are taken out.

So that an instance with a bad MAC is still checked for the group that does not exist: the faulty scalar is replaced by a
stand-in, faulty list items and unknown fields are dropped, and the caller ignores whatever is later found at the places
that were touched. Nothing salvaged is ever kept: an update with one fault is refused whole.
"""

from typing import Any, Final

from pydantic import ValidationError

from viewserver.model.objects import CLASSES, Kind, Object, from_wire

UNREAD: Final = "unread.invalid"
"""A name that nothing has (RFC 2606)."""

STAND_INS: Final[dict[str, Any]] = {
    "dns_servers": [],
    "public_ips": [],
    "private_ips": [],
    "groups": [],
    "ingress": [],
    "egress": None,
    "subnets": [],
    "additional_protocols": [],
    "mac": "02:75:6e:72:65:61",  # and no other instance's, as far as anyone can tell
    "private_ip": "0.0.0.0",  # noqa: S104 - a stand-in that is never kept
    "address": "0.0.0.0",  # noqa: S104
    "subnet": "0.0.0.0/0",
    "gateway": "0.0.0.0",  # noqa: S104
    "zone": UNREAD,
    "name": "unread",
    "account": "unread",
    "node": UNREAD,
    "instance": None,
    "metadata": None,
    "mac_prefix": "02:00",
}


def salvage(kind: Kind, wire: Any, error: ValidationError) -> Object | None:
    """A value with the faulty parts replaced or dropped, or None if nothing can be made of it."""
    if not isinstance(wire, dict):
        return None
    rest = {name: list(one) if isinstance(one, list) else one for name, one in wire.items()}
    for location in sorted({found["loc"][:2] for found in error.errors()}, key=_last_first):
        if not location:
            return None
        name = str(location[0])
        items = rest.get(name)
        if len(location) > 1 and isinstance(location[1], int) and isinstance(items, list):
            if location[1] < len(items):
                del items[location[1]]
        elif name in STAND_INS and name in CLASSES[kind].__dataclass_fields__:
            rest[name] = STAND_INS[name]
        else:
            rest.pop(name, None)
    try:
        return from_wire(kind, rest)
    except ValidationError:
        return None


def _last_first(location: tuple[Any, ...]) -> tuple[str, int]:
    """List items are dropped from the end, so that the indices of the others stay true."""
    index = location[1] if len(location) > 1 and isinstance(location[1], int) else 0
    return str(location[0]), -index
