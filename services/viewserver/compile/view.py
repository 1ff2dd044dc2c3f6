"""What one node sees, and its rendering.

A node sees the network's settings, its zone, its own instances and those migrating to it, their groups, and the member
addresses of every group that a rule of theirs names; under `same_group_traffic: allow` also the members of its instances'
groups. Members are the private and elastic addresses of placed instances; an address that is fenced is nobody's, unless its
instance takes it along. An instance's `node` says which node has its port open: to the end of a cut-over, the former. Nothing
else: no other node's instances, no other tenant's groups.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import orjson

from verge.contract.members import Members
from verge.contract.view import SCHEMA, format_range
from viewserver.model.network import Network, names
from viewserver.model.objects import Instance, Node, Settings, to_wire

_SETTINGS_HIDDEN = ("subnets", "gateway_mode", "mac_prefix")
"""Merged into private_ranges, or said elsewhere in the view, or the cloud's own business."""

NO_SETTINGS = Settings(dns_servers=(), public_ips=())
"""What holds before a cloud has said anything."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Which objects a node sees, by id."""

    instances: tuple[str, ...]
    groups: frozenset[str]
    members: frozenset[str]


def sight(network: Network, node: str) -> Sight:
    instances = tuple(
        key
        for key in network.instances_at(node)
        if network.effective_node(key) == node or node in network.prepared_at(key)
    )
    groups = {group for key in instances for group in _placed(network, key).groups}
    members = {named for group in groups for named in _names(network, group)}
    if (network.settings or NO_SETTINGS).same_group_traffic == "allow":
        members |= groups
    return Sight(instances, frozenset(groups), frozenset(members))


def _placed(network: Network, key: str) -> Instance:
    instance = network.instance(key)
    assert instance is not None
    return instance


def _names(network: Network, group: str) -> set[Any]:
    found = network.group(group)
    return names(found) if found else set()


def host_wire(network: Network, node: Node) -> dict[str, Any]:
    mode = node.gateway_mode or (network.settings or NO_SETTINGS).gateway_mode
    return {"address": str(node.address), "gateway_mode": mode}


def network_wire(network: Network) -> dict[str, Any]:
    wire = to_wire("network", network.settings or NO_SETTINGS)
    for name in _SETTINGS_HIDDEN:
        del wire[name]
    wire["private_ranges"] = [format_range(pair) for pair in private_ranges(network)]
    return wire


def zone_wire(network: Network, name: str) -> dict[str, Any]:
    zone = network.zone(name)
    assert zone is not None
    return {"name": name, **to_wire("zone", zone)}


def instance_wire(network: Network, key: str) -> dict[str, Any]:
    instance, waiting = _placed(network, key), network.cut_over(key)
    wire = {**to_wire("instance", instance), "elastic_ip": network.effective_elastic_ip(key)}
    if waiting is not None:
        # the new node's view stays what it was, so that it is woken once; the former has no port to open any more, also
        # where the instance is on its way back
        former = None if waiting.node == instance.migrating_to else waiting.node
        wire |= {"node": former, "migrating_to": instance.node}
    return wire


def group_wire(network: Network, key: str) -> dict[str, Any]:
    group = network.group(key)
    assert group is not None
    return to_wire("group", group)


def private_ranges(network: Network) -> list[tuple[IPv4Address, IPv4Address]]:
    """The pools of all zones and the extra subnets, merged and ascending."""
    ranges = [pair for _, zone in network.of_kind("zone") for pair in zone.private_ips]
    ranges += [(net.network_address, net.broadcast_address) for net in (network.settings or NO_SETTINGS).subnets]
    merged: list[tuple[IPv4Address, IPv4Address]] = []
    for low, high in sorted(ranges):
        if merged and int(low) <= int(merged[-1][1]) + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def member_addresses(network: Network, key: str) -> Iterator[int]:
    """The addresses by which an instance is a member of its groups; none while no node has it in its view, save at the
    cut-over of its migration: whoever admits it goes on doing so."""
    if network.effective_node(key) is None and network.cut_over(key) is None:
        return
    yield int(_placed(network, key).private_ip)
    elastic = network.effective_elastic_ip(key)
    if elastic is not None:
        yield int(IPv4Address(elastic))


def render(network: Network, node: str, seen: Sight, members: dict[str, Members]) -> bytes:
    """The whole view as JSON. `members` holds those of every group the node sees, at least."""
    found = network.node(node)
    assert found is not None
    return orjson.dumps(
        {
            "schema": SCHEMA,
            "node": node,
            "host": host_wire(network, found),
            "network": network_wire(network),
            "zone": zone_wire(network, found.zone),
            "instances": {key: instance_wire(network, key) for key in seen.instances},
            "groups": {key: group_wire(network, key) for key in sorted(seen.groups)},
            "members": {key: orjson.Fragment(members[key].json) for key in sorted(seen.members)},
        }
    )
