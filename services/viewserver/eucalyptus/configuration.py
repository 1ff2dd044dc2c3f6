"""The operator's network document as an update of the network: its settings, and a zone for each cluster.

Settings that the document does not speak of stay as they are; those it cannot speak of (metadata, NAT of private addresses,
…) always do. The first document also allows traffic within a group, as EDGE did. Zones that it does not name stay, unless
they are to be pruned.
"""

from typing import Any, Final

from viewserver.eucalyptus.network_document import SETTINGS, Document, ZoneStated, read
from viewserver.model.draft import Draft, settings_wire
from viewserver.model.faults import Fault
from viewserver.model.network import Network
from viewserver.model.objects import THE_NETWORK
from viewserver.model.places import Place
from viewserver.model.updates import Parsed

ONLY_ZONE: Final = "default"
"""The zone of a document without Clusters while there is none: Eucalyptus would take its registered ones."""


def configuration(wire: Any, network: Network, faults: list[Fault], *, prune: bool) -> Parsed:
    """The update that the document asks for; `faults` were found in its text. Never raises."""
    draft = Draft(faults)
    document = read(wire, draft)
    if document is None:
        return draft.parsed()
    _settings(draft, document, network)
    for name, zone in _zones(draft, document, network).items():
        if zone is None:
            draft.unread("zone", name, Place(("Clusters",)))
        else:
            draft.put("zone", name, _prefixed(zone.wire, name, document, network), zone.place)
    if prune:
        draft.delete_missing(network, ["zone"], Place(("Clusters",)))
    return draft.parsed()


def _prefixed(wire: dict[str, Any], name: str, document: Document, network: Network) -> dict[str, Any]:
    """A cluster without a MacPrefix has the network's, whether its zone says so in as many words or not."""
    former = network.zone(name)
    effective = document.settings.get("mac_prefix", network.settings.mac_prefix if network.settings else None)
    if wire.get("mac_prefix") is None and former is not None and former.mac_prefix == effective:
        return {**wire, "mac_prefix": former.mac_prefix}
    return wire


def _settings(draft: Draft, document: Document, network: Network) -> None:
    former = settings_wire(network)
    wire = {"dns_servers": [], **former, **document.settings}
    if not former:
        wire["same_group_traffic"] = "allow"
    elif former["same_group_traffic"] == "rules":
        draft.warn((), "same_group_traffic stays 'rules': a group's members reach each other only as its rules say")
    if not wire["dns_servers"]:
        at = SETTINGS["dns_servers"]
        draft.warn(
            at, "names no DNS server, and instances are told of none; Eucalyptus would take the controller's own"
        )
    draft.put("network", THE_NETWORK, wire, Place((), SETTINGS))


def _zones(draft: Draft, document: Document, network: Network) -> dict[str, ZoneStated | None]:
    """Without Clusters the one subnet is that of every zone there is."""
    if document.every_zone is None:
        return document.zones
    former = dict(network.of_kind("zone"))
    if not former:
        message = f"is absent and no zone is known yet: the one subnet became zone {ONLY_ZONE}"
        draft.warn(("Clusters",), message)
        return {ONLY_ZONE: document.every_zone}
    place = document.every_zone.place
    return {
        name: ZoneStated({**document.every_zone.wire, "mac_prefix": zone.mac_prefix}, place)
        for name, zone in sorted(former.items())
    }
