"""The operator's network document, `cloud.network.network_configuration`, in EDGE mode.

    Mode: EDGE                                 PublicIps: ["203.0.113.10-203.0.113.99"]        required, the rest has defaults
    InstanceDnsDomain: eucalyptus.internal     PrivateIps: [...]                               of clusters without their own
    InstanceDnsServers: ["10.1.1.254"]         Subnets: [{Name, Subnet, Netmask, Gateway}]
    MacPrefix: "d0:0d"                         Clusters: [{Name, MacPrefix, Subnet: {…}, PrivateIps}]

The rules are those of Eucalyptus' NetworkConfigurations: a cluster's subnet may be a name, or partial, and is then filled
from the global one; global subnets that no cluster uses are other private networks; pools lie within their subnet, without
its first and last address. Here every fault is told, not the first only. What has no meaning for EDGE's nodes is left out
with a warning.
"""

from collections.abc import Mapping as ReadOnly
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any, Final

from viewserver.eucalyptus.subnets import Pool, parse_netmask, shared, subnet_of, usable, whole, widened
from viewserver.model.draft import Draft
from viewserver.model.faults import Pointer
from viewserver.model.places import Place
from viewserver.model.text import parse_ipv4, parse_range

KEYS: Final = {
    "Mode", "InstanceDnsDomain", "InstanceDnsServers", "MacPrefix", "PublicGateway", "PublicIps", "PrivateIps",
    "Subnets", "ManagedSubnet", "Clusters", "Mido",
}  # fmt: skip
SUBNET_KEYS: Final = {"Name", "Subnet", "Netmask", "Gateway"}
CLUSTER_KEYS: Final = {"Name", "MacPrefix", "Subnet", "PrivateIps"}

SETTINGS: Final = {
    "dns_domain": ("InstanceDnsDomain",),
    "dns_servers": ("InstanceDnsServers",),
    "mac_prefix": ("MacPrefix",),
    "public_ips": ("PublicIps",),
    "subnets": ("Subnets",),
}
"""Our settings and where the document has them."""


@dataclass(frozen=True, slots=True)
class Subnet:
    """One that could be read in full."""

    name: str
    network: IPv4Network
    gateway: str
    at: Pointer


@dataclass(frozen=True, slots=True)
class ZoneStated:
    wire: dict[str, Any]
    place: Place


@dataclass(frozen=True, slots=True)
class Document:
    settings: dict[str, Any]
    """Those of our settings that the document speaks of, as JSON values that are not checked yet."""
    zones: dict[str, ZoneStated | None]
    """By name; None: named, but beyond reading."""
    every_zone: ZoneStated | None
    """What holds for each zone there is, if the document names none."""


def read(wire: Any, draft: Draft) -> Document | None:
    """Every fault is added to `draft`; None if nothing can be made of the document."""
    if not isinstance(wire, dict):
        draft.fault((), "must be a mapping of keys such as PublicIps")
        return None
    return _Reading(wire, draft).document()


class _Reading:
    def __init__(self, wire: dict[Any, Any], draft: Draft) -> None:
        self.wire = {key: value for key, value in wire.items() if value is not None}
        """A key without a value is as good as absent, to Eucalyptus too."""
        self.draft = draft
        self.closed(wire, KEYS, ())
        self.unreadable_subnets = False
        self.subnets = self._subnets()

    def document(self) -> Document:
        self._mode()
        self._without_meaning()
        clusters = self.items(self.wire, "Clusters", ())
        used: set[IPv4Network] = set()
        zones: dict[str, ZoneStated | None] = {}
        every_zone = None
        if clusters:
            for index, cluster in clusters:
                self._cluster(cluster, ("Clusters", index), zones, used)
            self._pools_apart(zones)
        else:
            subnet = self._only_subnet(("Subnets",), "without Clusters")
            if subnet is not None:
                used.add(subnet.network)
                every_zone = self._zone(subnet, self.wire, (), self.wire.get("PrivateIps"), ("PrivateIps",))
        return Document(self._settings(used), zones, every_zone)

    def _mode(self) -> None:
        mode = self.wire.get("Mode", "EDGE")
        if mode != "EDGE":
            self.draft.fault(
                ("Mode",), f"must be EDGE, not {mode!r:.80}: Verge has no other mode, and never guesses one"
            )

    def _without_meaning(self) -> None:
        if "ManagedSubnet" in self.wire:
            self.draft.fault(("ManagedSubnet",), "belongs to the MANAGED modes; EDGE has Subnets and Clusters")
        if "Mido" in self.wire:
            self.draft.warn(("Mido",), "is ignored: it belongs to the VPCMIDO mode")
        if "PublicGateway" in self.wire:
            if not isinstance(self.wire["PublicGateway"], str):
                self.draft.fault(("PublicGateway",), "must be a string")
            message = "is kept nowhere: nodes send what leaves the cloud to their own gateway, as EDGE's did"
            self.draft.warn(("PublicGateway",), message)

    def _settings(self, used: set[IPv4Network]) -> dict[str, Any]:
        """What of a field could not be read is left to the parser of our own objects to refuse, at the same place."""
        found = {ours: self.wire[at[0]] for ours, at in SETTINGS.items() if at[0] in self.wire and ours != "subnets"}
        if "PublicIps" not in self.wire:
            self.draft.fault(("PublicIps",), "is missing")
            found["public_ips"] = []
        elif isinstance(found["public_ips"], list) and all(isinstance(one, str) for one in found["public_ips"]):
            found["public_ips"] = widened(found["public_ips"], ())
        if "Subnets" in self.wire:
            rest = dict.fromkeys(one.network for one in self.subnets.values() if one.network not in used)
            found["subnets"] = [str(network) for network in rest]
        return found

    # --- subnets ---

    def _subnets(self) -> dict[str, Subnet]:
        found: dict[str, Subnet] = {}
        for index, wire in self.items(self.wire, "Subnets", ()):
            subnet = self._subnet(wire, ("Subnets", index))
            if subnet is None:
                self.unreadable_subnets = True
            elif subnet.name in found:
                self.draft.fault((*subnet.at, "Name"), f"another subnet is called {subnet.name} too")
            else:
                found[subnet.name] = subnet
        return found

    def _subnet(self, wire: dict[Any, Any], at: Pointer, base: Subnet | None = None) -> Subnet | None:
        """`wire`, with what it does not say taken from `base`."""
        self.closed(wire, SUBNET_KEYS, at)
        texts: dict[str, str] = {}
        if base is not None:
            texts = {"Subnet": str(base.network.network_address), "Netmask": str(base.network.netmask)}
            texts["Gateway"] = base.gateway
        sound = True
        for key, parse in (("Subnet", parse_ipv4), ("Netmask", parse_netmask), ("Gateway", parse_ipv4)):
            value = wire.get(key)
            if value is None and key not in texts:
                self.draft.fault((*at, key), "is missing")
            elif value is not None:
                try:
                    texts[key] = str(parse(value))
                except ValueError as wrong:
                    self.draft.fault((*at, key), str(wrong))
                    sound = False
        name = self.text(wire, "Name", at)
        if not sound or len(texts) < 3:
            return None
        try:
            network = subnet_of(texts["Subnet"], texts["Netmask"])
        except ValueError as wrong:
            self.draft.fault((*at, "Subnet"), str(wrong))
            return None
        return Subnet(name or texts["Subnet"], network, texts["Gateway"], at)

    def _only_subnet(self, at: Pointer, when: str) -> Subnet | None:
        if self.unreadable_subnets:
            return None  # told already
        if len(self.subnets) == 1:
            return next(iter(self.subnets.values()))
        count = len(self.subnets) or "none"
        self.draft.fault(at, f"{when} there must be exactly one subnet in Subnets; there are {count}")
        return None

    # --- clusters ---

    def _cluster(
        self, wire: dict[Any, Any], at: Pointer, zones: dict[str, ZoneStated | None], used: set[IPv4Network]
    ) -> None:
        self.closed(wire, CLUSTER_KEYS, at)
        name = self.text(wire, "Name", at)
        if name is None and wire.get("Name") is None:
            self.draft.fault((*at, "Name"), "is missing: it says which zone this is")
        subnet = self._cluster_subnet(wire.get("Subnet"), (*at, "Subnet"))
        if subnet is not None:
            used.add(subnet.network)
        if name is None:
            return
        if name in zones:
            self.draft.fault((*at, "Name"), f"another cluster is called {name} too")
            return
        ranges, where = (
            (self.wire.get("PrivateIps"), ("PrivateIps",))
            if wire.get("PrivateIps") is None
            else (wire["PrivateIps"], (*at, "PrivateIps"))
        )
        zones[name] = None if subnet is None else self._zone(subnet, wire, at, ranges, where)

    def _cluster_subnet(self, wire: Any, at: Pointer) -> Subnet | None:
        if wire is None:
            return self._only_subnet(at, "for a cluster without Subnet")
        if not isinstance(wire, dict):
            self.draft.fault(at, "must be a mapping with Name, Subnet, Netmask, Gateway")
            return None
        name = self.text(wire, "Name", at)
        base = None if name is None else self.subnets.get(name)
        partial = not all(wire.get(key) is not None for key in ("Subnet", "Netmask", "Gateway"))
        if partial and base is None:
            if self.unreadable_subnets:
                return None  # the one that is meant may be among them
            if name is not None and not any(wire.get(key) is not None for key in SUBNET_KEYS - {"Name"}):
                self.draft.fault((*at, "Name"), f"no subnet in Subnets is called {name}")
                return None
            base = next(iter(self.subnets.values())) if len(self.subnets) == 1 and name is None else None
        return self._subnet(wire, at, base)

    def _zone(
        self, subnet: Subnet, wire: ReadOnly[Any, Any], at: Pointer, ranges: Any, ranges_at: Pointer
    ) -> ZoneStated:
        gateway = parse_ipv4(subnet.gateway)
        if ranges is None:
            ranges, ranges_at = whole(subnet.network, gateway), subnet.at
        elif isinstance(ranges, list):
            self._pool(ranges, ranges_at, subnet)
            if all(isinstance(one, str) for one in ranges):
                ranges = widened(ranges, (), subnet.network)
        value = {"subnet": str(subnet.network), "gateway": subnet.gateway, "private_ips": ranges}
        if at:
            value["mac_prefix"] = wire.get("MacPrefix")
        fields = {
            "subnet": (*subnet.at, "Subnet"),
            "gateway": (*subnet.at, "Gateway"),
            "private_ips": ranges_at,
            "mac_prefix": (*at, "MacPrefix"),
        }
        return ZoneStated(value, Place((*at, "Name") if at else ("Subnets",), fields))

    def _pool(self, ranges: list[Any], at: Pointer, subnet: Subnet) -> None:
        low, high = usable(subnet.network)
        pool = Pool.of_text(ranges)
        for index, text in enumerate(ranges):
            try:
                first, last = parse_range(text)
            except ValueError:
                continue
            if first in subnet.network and last in subnet.network and not (low <= int(first) and int(last) <= high):
                self.draft.fault((*at, index), f"has the network or broadcast address of {subnet.network}")
        if parse_ipv4(subnet.gateway) in pool:
            self.draft.warn(at, f"has the gateway {subnet.gateway}, which no instance is given")

    def _pools_apart(self, zones: dict[str, ZoneStated | None]) -> None:
        """Eucalyptus found out at run time."""
        pools = {f"the pool of zone {name}": zone for name, zone in zones.items() if zone is not None}
        texts = {label: (zone.wire["private_ips"], zone.place.fields["private_ips"]) for label, zone in pools.items()}
        texts["PublicIps"] = (self.wire.get("PublicIps"), ("PublicIps",))
        known = {label: Pool.of_text(ranges) for label, (ranges, _) in texts.items() if isinstance(ranges, list)}
        for both, one, other in shared(known):
            at = texts[other if one == "PublicIps" else one][1]
            self.draft.warn(at, f"{both} is in {one} and in {other}: only one may give it out")

    # --- shapes ---

    def closed(self, wire: dict[Any, Any], keys: set[str], at: Pointer) -> None:
        for key in wire:
            if key not in keys:
                shown = key if isinstance(key, str) else repr(key)
                self.draft.fault((*at, shown), f"is not a key of this document: {', '.join(sorted(keys))}")

    def items(self, wire: dict[Any, Any], key: str, at: Pointer) -> list[tuple[int, dict[Any, Any]]]:
        found = wire.get(key, [])
        if not isinstance(found, list):
            self.draft.fault((*at, key), "must be a list")
            return []
        for index, one in enumerate(found):
            if not isinstance(one, dict):
                self.draft.fault((*at, key, index), "must be a mapping")
        return [(index, one) for index, one in enumerate(found) if isinstance(one, dict)]

    def text(self, wire: dict[Any, Any], key: str, at: Pointer) -> str | None:
        found = wire.get(key)
        if found is None or isinstance(found, str):
            return found
        self.draft.fault((*at, key), "must be a string")
        return None
