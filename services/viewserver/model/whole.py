"""The whole network as one JSON document, in the shape that `GET /v1/model` shows:

    {"revision"?, "network": {…} | null, "zones": {…}, "nodes": {…}, "groups": {…}, "instances": {…}, "elastic_ips": {…}}

What is in it shall be, what is not shall not. Every section is there, if only as {}: a document that was cut short must not
pass for one that deletes. A `revision` is tolerated, so that what was read can be changed and put back.
"""

from typing import Any, Final

from viewserver.model.draft import Draft
from viewserver.model.faults import Fault
from viewserver.model.network import Network
from viewserver.model.objects import CLASSES, THE_NETWORK, Kind
from viewserver.model.places import Place
from viewserver.model.updates import Parsed

SECTIONS: Final[dict[str, Kind]] = {
    "network": "network",
    **{f"{kind}s": kind for kind in CLASSES if kind != "network"},
}


def replacement(wire: Any, network: Network, *, force: bool) -> Parsed:
    """The update that makes `network` what the document says. Never raises; `force` allows many instances to go."""
    if not isinstance(wire, dict):
        return Parsed((), (Fault((), "must be an object as GET /v1/model answers it"),), frozenset(), frozenset())
    draft = _drafted(wire)
    readable = set()
    for section, kind in SECTIONS.items():
        if section not in wire:
            draft.fault((section,), "is missing; null says that there is none" if kind == "network" else _MISSING)
        elif _read(draft, section, kind, wire[section]):
            readable.add(kind)
    # Of a section that could not be read nobody knows what it would have kept.
    draft.delete_missing(network, readable, Place(()))
    if not force:
        draft.guard_instances(network, ("instances",))
    return draft.parsed(silent_deletions=True)


def part(wire: Any, network: Network, *, prune: bool, force: bool) -> Parsed:
    """The update that makes what the document names what it says, and leaves the rest: the same sections, any of them, and in
    them any of the objects. Null deletes one. With `prune`, the objects that a section does not name are deleted too. Never
    raises; `force` allows many instances to go."""
    if not isinstance(wire, dict):
        return Parsed((), (Fault((), "must be an object: sections of objects by id"),), frozenset(), frozenset())
    draft = _drafted(wire)
    readable = set()
    for section, kind in SECTIONS.items():
        if section not in wire:
            continue
        if kind == "network" and wire[section] is None:
            draft.delete(kind, THE_NETWORK, Place((section,), ours=True))
        elif _read(draft, section, kind, wire[section], null_deletes=True):
            readable.add(kind)
    if prune:
        for section, kind in SECTIONS.items():
            if kind in readable and kind != "network":
                draft.delete_missing(network, (kind,), Place((section,)))
    if not force:
        draft.guard_instances(network, ("instances",))
    return draft.parsed()


def _drafted(wire: dict[str, Any]) -> Draft:
    draft = Draft()
    for name in sorted(wire.keys() - SECTIONS.keys() - {"revision"}):
        draft.fault((name,), f"is not a section: {', '.join(SECTIONS)}")
    return draft


_MISSING = "is missing; {} says that there are none"


def _read(draft: Draft, section: str, kind: Kind, found: Any, *, null_deletes: bool = False) -> bool:
    if kind == "network":
        if found is not None:
            draft.put(kind, THE_NETWORK, found, Place((section,), ours=True))
        return True
    if not isinstance(found, dict):
        draft.fault((section,), "must be an object: id to value")
        return False
    for key, value in found.items():
        place = Place((section, key), ours=True)
        if value is None and null_deletes:
            draft.delete(kind, key, place)
        else:
            draft.put(kind, key, value, place)
    return True
