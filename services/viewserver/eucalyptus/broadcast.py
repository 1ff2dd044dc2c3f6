"""Global network information as an update of the network: settings, zones, nodes, groups, instances, elastic IPs.

A document names every instance, group and associated elastic IP of the cloud: those that it lacks are deleted. It names only
zones that are enabled, so a zone or node that it lacks is unknown, and stays unless it is to be pruned. What the document
cannot say (metadata port, the name of a group or of an interface, a node's gateway mode) stays as it is.
"""

import re
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final

from viewserver.eucalyptus.gni import CONFIGURATION, Cluster, Group, Information, Instance, Node
from viewserver.eucalyptus.placement import Spot, outside, placements, with_known_names
from viewserver.eucalyptus.rules import WORDS, ingress_of
from viewserver.eucalyptus.subnets import Pool, subnet_of, usable, widened
from viewserver.model.draft import Draft, naming, settings_wire
from viewserver.model.faults import Pointer
from viewserver.model.network import Network
from viewserver.model.objects import THE_NETWORK
from viewserver.model.places import Place
from viewserver.model.text import parse_ipv4
from viewserver.model.updates import Parsed

NONE: Final = "0.0.0.0"  # noqa: S104 - how Eucalyptus writes that there is no address
_SHORT_ID = re.compile(r"i-([0-9a-fA-F]{8})")


def broadcast(info: Information, network: Network, *, prune: bool, force: bool) -> Parsed:
    """The update that the document asks for. Never raises; `force` allows many instances to go."""
    return _Broadcast(info, network, prune, force).parsed()


class _Broadcast:
    def __init__(self, info: Information, network: Network, prune: bool, force: bool) -> None:
        self.network = network
        self.prune = prune
        self.force = force
        self.draft = Draft(info.faults, info.warnings)
        self.info = info = with_known_names(info, network, self.draft)
        self.subnets: dict[str, IPv4Network] = {}
        self.addresses: dict[str, IPv4Address] = {}
        """Of instances, where it is one."""
        self.spots: dict[str, Spot] = {}
        self.by_zone: dict[str, dict[str, IPv4Address]] = {}
        """The addresses of a zone's instances."""
        self.nodes = {node.name for cluster in info.clusters for node in cluster.nodes}

    def parsed(self) -> Parsed:
        info, draft = self.info, self.draft
        for cluster in info.clusters:
            subnet = self._subnet(cluster)
            if subnet is not None:
                self.subnets[cluster.name] = subnet
        for instance in info.instances:
            try:
                self.addresses[instance.name] = parse_ipv4(instance.fields.get("privateIp"))
            except ValueError:
                continue  # refused with the instance
        self.spots = placements(info, self.subnets, self.network, draft, prune=self.prune)
        for name, spot in self.spots.items():
            if spot.zone is not None and name in self.addresses:
                self.by_zone.setdefault(spot.zone, {})[name] = self.addresses[name]
        groups = {group.name for group in info.groups}
        for cluster in info.clusters:
            self._zone(cluster)
            for node in cluster.nodes:
                self._node(node, cluster.name)
        for group in info.groups:
            self._group(group, groups)
        for instance in info.instances:
            self._instance(instance, groups)
        public = self._elastic_ips()
        self._settings(public)
        draft.delete_missing(self.network, ["instance", "group", "elastic_ip"], Place(("network-data",)))
        if self.prune:
            clusters = (*CONFIGURATION, "property[@name='clusters']")
            draft.delete_missing(self.network, ["zone", "node"], Place(clusters))
        if not self.force:
            draft.guard_instances(self.network, ("network-data", "instances"))
        return draft.parsed()

    # --- network and zones ---

    def _settings(self, public: dict[str, Pointer]) -> None:
        values, draft = self.info.values, self.draft
        former = settings_wire(self.network)
        wire: dict[str, Any] = {"dns_servers": [], **former, "same_group_traffic": "allow"}
        at = {name: (*CONFIGURATION, f"property[@name='{name}']") for name in _PLACES.values()}
        if former.get("same_group_traffic") == "rules":
            draft.warn((), "same_group_traffic becomes 'allow': in EDGE, members of a group reach each other")
        if values.get("instanceDNSServers"):
            wire["dns_servers"] = list(values["instanceDNSServers"])
        elif not wire["dns_servers"]:
            draft.warn(at["instanceDNSServers"], "names no DNS server, and instances are told of none")
        if values.get("instanceDNSDomain"):
            wire["dns_domain"] = values["instanceDNSDomain"][0]
        controller = values.get("enabledCLCIp", (NONE,))[:1]
        if controller not in ((), (NONE,)):
            wire["metadata"] = {**(former.get("metadata") or {}), "host": controller[0]}
        else:
            draft.warn(at["enabledCLCIp"], "names no controller; where metadata comes from stays as it is")
        if values.get("publicGateway"):
            message = "is kept nowhere: nodes send what leaves the cloud to their own gateway, as EDGE's did"
            draft.warn((*CONFIGURATION, "property[@name='publicGateway']"), message)
        wire["public_ips"] = self._public_pool(public, at["publicIps"])
        wire["subnets"] = self._other_subnets()
        items = {
            ours: tuple((*at[theirs], f"value[{number + 1}]") for number in range(len(values.get(theirs, ()))))
            for ours, theirs in _PLACES.items()
        }
        place = Place(CONFIGURATION, {ours: at[theirs] for ours, theirs in _PLACES.items()}, items)
        draft.put("network", THE_NETWORK, wire, place)

    def _public_pool(self, public: dict[str, Pointer], at: Pointer) -> list[str]:
        ranges = self.info.values.get("publicIps", ())
        pool = Pool.of_text(ranges)
        extra = [address for address in map(IPv4Address, public) if address not in pool]
        if extra:
            self.draft.warn(at, f"is widened by {naming(map(str, extra))}, which instances have")
        return widened(ranges, extra)

    def _other_subnets(self) -> list[str]:
        """Those that are no cluster's own."""
        found: dict[str, None] = {}
        own = set(self.subnets.values())
        for one in self.info.subnets:
            try:
                subnet = subnet_of(one.subnet or "", one.netmask or "")
            except ValueError as wrong:
                self.draft.fault(one.at, str(wrong))
                continue
            if subnet not in own:
                found[str(subnet)] = None
        return list(found)

    def _subnet(self, cluster: Cluster) -> IPv4Network | None:
        if cluster.subnet is None:
            self.draft.fault(cluster.at, "has no subnet")
            return None
        try:
            return subnet_of(cluster.subnet.subnet or "", cluster.subnet.netmask or "")
        except ValueError as wrong:
            self.draft.fault(cluster.subnet.at, str(wrong))
            return None

    def _zone(self, cluster: Cluster) -> None:
        ranges_at = (*cluster.at, "property[@name='privateIps']")
        items = tuple((*ranges_at, f"value[{number + 1}]") for number in range(len(cluster.private_ips)))
        fields = {"private_ips": ranges_at, "mac_prefix": (*cluster.at, "property[@name='macPrefix']")}
        subnet = self.subnets.get(cluster.name)
        if subnet is None or cluster.subnet is None:
            return self.draft.unread("zone", cluster.name, Place(cluster.at))
        fields |= {
            "subnet": (*cluster.subnet.at, "property[@name='subnet']"),
            "gateway": (*cluster.subnet.at, "property[@name='gateway']"),
        }
        former, settings = self.network.zone(cluster.name), self.network.settings
        prefix = cluster.mac_prefix or (former.mac_prefix if former else None)
        if former is not None and former.mac_prefix is None and settings is not None and settings.mac_prefix == prefix:
            prefix = None  # the document always names it; that it is the network's is said without
        wire = {
            "subnet": str(subnet),
            "gateway": cluster.subnet.gateway,
            "private_ips": self._pool(cluster, subnet, ranges_at),
            "mac_prefix": prefix,
        }
        self.draft.put("zone", cluster.name, wire, Place(cluster.at, fields, {"private_ips": items}))
        return None

    def _pool(self, cluster: Cluster, subnet: IPv4Network, at: Pointer) -> list[str]:
        """With the addresses that its instances hold, though the operator may have shrunk it since: EDGE let them keep them."""
        low, high = usable(subnet)
        here = {
            name: address for name, address in self.by_zone.get(cluster.name, {}).items() if low <= int(address) <= high
        }
        extra = outside(here, cluster, subnet)
        gateway = cluster.subnet.gateway if cluster.subnet else None
        extra = {name: address for name, address in extra.items() if str(address) != gateway}
        if extra:
            held = naming(f"{address} ({name})" for name, address in extra.items())
            self.draft.warn(at, f"is widened by what instances have outside it: {held}")
        return widened(cluster.private_ips, extra.values(), subnet)

    def _node(self, node: Node, zone: str) -> None:
        former = self.network.node(node.name)
        try:
            address: str | None = str(IPv4Address(node.name))
        except ValueError:
            address = None if former is None else str(former.address)
        place = Place((*node.at, "@name"))
        if address is None:
            message = (
                f"{node.name} is no IPv4 address, and no node of this name is known: put it first, with its address"
            )
            self.draft.fault(place.at, message)
            return self.draft.unread("node", node.name, place)
        wire = {"zone": zone, "address": address, "gateway_mode": former.gateway_mode if former else None}
        self.draft.put("node", node.name, wire, place)
        return None

    # --- groups and instances ---

    def _group(self, group: Group, groups: set[str]) -> None:
        rules, places = ingress_of(group, groups, self.draft)
        if group.egress:
            message = f"{group.egress} left out: EDGE never enforced egress rules, and let everything out"
            self.draft.warn((*group.at, "egressRules"), message)
        former = self.network.group(group.name)
        wire = {"name": former.name if former else group.name, "ingress": rules}
        if group.owner is not None:
            wire["account"] = group.owner
        fields = {"account": (*group.at, "ownerId"), "ingress": (*group.at, "ingressRules")}
        self.draft.put("group", group.name, wire, Place(group.at, fields, {"ingress": places}, WORDS))

    def _instance(self, instance: Instance, groups: set[str]) -> None:
        at, draft = instance.at, self.draft
        spot = self.spots.get(instance.name)
        if spot is None:
            return draft.unread("instance", instance.name, Place(at))
        former = self.network.instance(instance.name)
        wire: dict[str, Any] = {
            ours: instance.fields[theirs] for ours, theirs in _FIELDS.items() if theirs in instance.fields
        }
        if wire.get("private_ip") == NONE:
            wire.pop("private_ip")
        wire |= {"node": spot.node, "zone": spot.zone if spot.node is None else None, "groups": []}
        if "mac" not in wire:
            wire |= self._mac(instance, spot)
        for group in instance.groups:
            if group in groups:
                wire["groups"].append(group)
            else:
                message = f"security group {group} is not in the document, and is left out: nothing is admitted by it"
                draft.warn((*at, "securityGroups"), message)
        if not wire["groups"]:
            draft.warn((*at, "securityGroups"), "has none: nothing is admitted to the instance")
        if former is not None:
            wire["interface"] = former.interface
            if former.node == spot.node is not None:
                stays = former.migrating_to in self.nodes or not self.prune
                wire |= {"zone": former.zone, "migrating_to": former.migrating_to if stays else None}
        fields = {ours: (*at, theirs) for ours, theirs in _FIELDS.items()} | {"groups": (*at, "securityGroups")}
        draft.put("instance", instance.name, wire, Place(at, fields))
        return None

    def _mac(self, instance: Instance, spot: Spot) -> dict[str, str]:
        """As the controller makes it: two octets of prefix, and the eight digits of the id."""
        digits = _SHORT_ID.fullmatch(instance.name)
        prefix = next((one.mac_prefix for one in self.info.clusters if one.name == spot.zone), None)
        if digits is None or prefix is None:
            return {}
        mac = ":".join([prefix, *(digits[1].lower()[at : at + 2] for at in range(0, 8, 2))])
        self.draft.warn((*instance.at, "macAddress"), f"is absent; it is taken to be {mac}, as Eucalyptus makes them")
        return {"mac": mac}

    def _elastic_ips(self) -> dict[str, Pointer]:
        """Puts them; answers each address and where it stands."""
        holders: dict[str, str] = {}
        found: dict[str, Pointer] = {}
        for instance in self.info.instances:
            text, at = instance.fields.get("publicIp", NONE), (*instance.at, "publicIp")
            if text == NONE:
                continue
            try:
                address = str(parse_ipv4(text))
            except ValueError as wrong:
                self.draft.fault(at, str(wrong))
                continue
            if address in holders:
                self.draft.fault(at, f"{address} is the public IP of instance {holders[address]} too")
                continue
            holders[address], found[address] = instance.name, at
            self.draft.put("elastic_ip", address, {"instance": instance.name}, Place(at))
        return found


_FIELDS: Final = {"mac": "macAddress", "private_ip": "privateIp", "account": "ownerId"}
_PLACES: Final = {
    "dns_servers": "instanceDNSServers",
    "public_ips": "publicIps",
    "dns_domain": "instanceDNSDomain",
    "metadata": "enabledCLCIp",
}
