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
    draft = Draft()
    for name in sorted(wire.keys() - SECTIONS.keys() - {"revision"}):
        draft.fault((name,), f"is not a section: {', '.join(SECTIONS)}")
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


_MISSING = "is missing; {} says that there are none"


def _read(draft: Draft, section: str, kind: Kind, found: Any) -> bool:
    if kind == "network":
        if found is not None:
            draft.put(kind, THE_NETWORK, found, Place((section,), ours=True))
        return True
    if not isinstance(found, dict):
        draft.fault((section,), "must be an object: id to value")
        return False
    for key, value in found.items():
        draft.put(kind, key, value, Place((section, key), ours=True))
    return True
