"""Where the instances of a broadcast document are: on the node that lists them, or, where none does, as near as can be told.

The controller leaves out zones that it has disabled, with their nodes, but not the instances there: such an instance is kept
where it is known to be. Otherwise it is not placed, in the zone that its address belongs to.
"""

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from viewserver.eucalyptus.gni import CONFIGURATION, Cluster, Information, Instance
from viewserver.eucalyptus.subnets import Pool
from viewserver.model.draft import Draft, naming
from viewserver.model.network import Network
from viewserver.model.text import parse_ipv4


@dataclass(frozen=True, slots=True)
class Spot:
    node: str | None
    zone: str | None
    """The node's, or the address's."""


@dataclass(frozen=True, slots=True)
class _Area:
    zone: str
    subnet: IPv4Network
    pool: Pool


def with_known_names(info: Information, network: Network, draft: Draft) -> Information:
    """Eucalyptus calls a node by its address; here it may have a name of its own, under which its agent asks for its view."""
    named = {node.name for cluster in info.clusters for node in cluster.nodes}
    known = {str(value.address): name for name, value in network.of_kind("node") if name not in named}
    found: dict[str, str] = {
        name: known[name] for name in sorted(named) if name in known and network.node(name) is None
    }
    if not found:
        return info
    said = naming(f"{address} is {name}" for address, name in found.items())
    draft.warn(
        (*CONFIGURATION, "property[@name='clusters']"), f"nodes are taken for those that have their address: {said}"
    )
    clusters = [
        replace(one, nodes=tuple(replace(node, name=found.get(node.name, node.name)) for node in one.nodes))
        for one in info.clusters
    ]
    return replace(info, clusters=clusters)


def placements(
    info: Information, subnets: dict[str, IPv4Network], network: Network, draft: Draft, *, prune: bool
) -> dict[str, Spot]:
    """By instance, as far as it can be told; `subnets` are those of the document's zones that could be read."""
    listed = _listed(info, draft)
    nodes = {node.name for cluster in info.clusters for node in cluster.nodes}
    areas = [
        _Area(one.name, subnets[one.name], Pool.of_text(one.private_ips))
        for one in info.clusters
        if one.name in subnets
    ]
    if not prune:
        known = {one.name for one in info.clusters}
        areas += [
            _Area(name, zone.subnet, Pool(zone.private_ips))
            for name, zone in network.of_kind("zone")
            if name not in known
        ]
    spots = {}
    for instance in info.instances:
        if instance.name in listed:
            spots[instance.name] = listed[instance.name]
            continue
        former = network.instance(instance.name)
        if former is not None and former.node is not None and former.node not in nodes and not prune:
            spots[instance.name] = Spot(former.node, network.zone_of(former))
            message = f"is on no node of the document; it stays on {former.node}, which the document does not know"
        else:
            zone = _zone_of(instance, areas, None if former is None else network.zone_of(former))
            if zone is None:
                draft.fault(instance.at, "is on no node of the document, and its address is in no zone's subnet")
                continue
            spots[instance.name] = Spot(None, zone)
            message = f"is on no node of the document; it is kept in zone {zone}, without a node"
        draft.warn(instance.at, message)
    return spots


def _listed(info: Information, draft: Draft) -> dict[str, Spot]:
    described = {instance.name for instance in info.instances}
    found: dict[str, Spot] = {}
    for cluster in info.clusters:
        for node in cluster.nodes:
            for name in node.instances:
                former = found.setdefault(name, Spot(node.name, cluster.name))
                if name not in described:
                    draft.warn((*node.at, "instanceIds"), f"instance {name} is described nowhere, and is left out")
                elif former.node != node.name:
                    draft.fault((*node.at, "instanceIds"), f"instance {name} is on node {former.node} too")
    return found


def _zone_of(instance: Instance, areas: list[_Area], former: str | None) -> str | None:
    """The zone whose pool has the address, else whose subnet has it; of several, the one where it was."""
    try:
        address = parse_ipv4(instance.fields.get("privateIp"))
    except ValueError:
        return former or (areas[0].zone if areas else None)  # the address is refused elsewhere
    candidates = [area.zone for area in areas if address in area.pool and address in area.subnet]
    candidates = candidates or [area.zone for area in areas if address in area.subnet]
    return former if former in candidates else next(iter(sorted(candidates)), None)


def outside(addresses: dict[str, IPv4Address], cluster: Cluster, subnet: IPv4Network) -> dict[str, IPv4Address]:
    """Those of the cluster's instances whose address is in its subnet, but not in its pool."""
    pool = Pool.of_text(cluster.private_ips)
    return {name: address for name, address in addresses.items() if address in subnet and address not in pool}
