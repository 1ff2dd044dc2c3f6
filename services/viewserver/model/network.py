"""The network: every object, with the indices that say in constant time who holds an address and who names whom.

Immutable, on persistent hash tries: `put` and `without` return another network that shares all but a few trie nodes with
this one. An update is validated on the network it would make; if it is refused, that network is dropped.
"""

from __future__ import annotations  # rpds types cannot be subscripted at run time

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Any, cast

from rpds import HashTrieMap

from verge.contract.rule import GroupId
from viewserver.model.objects import (
    CLASSES,
    THE_NETWORK,
    ElasticIp,
    Instance,
    Key,
    Kind,
    Node,
    Object,
    SecurityGroup,
    Settings,
    Withdrawal,
    Zone,
    from_wire,
    to_wire,
)


@dataclass(frozen=True, slots=True)
class Network:
    objects: HashTrieMap[Key, Object] = HashTrieMap()
    at_node: HashTrieMap[str, HashTrieMap[str, None]] = HashTrieMap()
    """Node → its placed instances, those migrating to it included."""
    in_group: HashTrieMap[str, HashTrieMap[str, None]] = HashTrieMap()
    """Group → its instances, placed or not."""
    nodes_of_group: HashTrieMap[str, HashTrieMap[str, int]] = HashTrieMap()
    """Group → nodes with instances of it, and how many; nodes that they are migrating to included."""
    namers: HashTrieMap[str, HashTrieMap[str, None]] = HashTrieMap()
    """Group → groups whose rules name it."""
    by_private_ip: HashTrieMap[IPv4Address, str] = HashTrieMap()
    by_mac: HashTrieMap[str, str] = HashTrieMap()
    elastic_ip_of: HashTrieMap[str, str] = HashTrieMap()
    """Instance → its elastic IP."""
    by_node_address: HashTrieMap[IPv4Address, str] = HashTrieMap()
    zones: HashTrieMap[str, Zone] = HashTrieMap()
    """Every view names all their addresses, and a cloud has few of them among many objects."""
    fenced: HashTrieMap[str, Withdrawal] = HashTrieMap()
    """Address → the withdrawal that its new holder waits for."""

    # --- reading ---

    def get(self, kind: Kind, key: str) -> Object | None:
        return self.objects.get((kind, key))

    @property
    def settings(self) -> Settings | None:
        return cast(Settings | None, self.get("network", THE_NETWORK))

    def zone(self, name: str) -> Zone | None:
        return cast(Zone | None, self.get("zone", name))

    def node(self, name: str) -> Node | None:
        return cast(Node | None, self.get("node", name))

    def group(self, key: str) -> SecurityGroup | None:
        return cast(SecurityGroup | None, self.get("group", key))

    def instance(self, key: str) -> Instance | None:
        return cast(Instance | None, self.get("instance", key))

    def elastic_ip(self, address: str) -> ElasticIp | None:
        return cast(ElasticIp | None, self.get("elastic_ip", address))

    def withdrawal(self, address: str) -> Withdrawal | None:
        return cast("Withdrawal | None", self.get("withdrawal", address))

    def effective_node(self, key: str) -> str | None:
        """The node that has the instance in its view: none while it is not placed, or its address is fenced."""
        instance = self.instance(key)
        if instance is None or str(instance.private_ip) in self.fenced:
            return None
        return instance.node

    def cut_over(self, key: str) -> Withdrawal | None:
        """What the instance's new node waits for at the end of its migration; None at any other time."""
        instance = self.instance(key)
        found = self.fenced.get(str(instance.private_ip)) if instance is not None else None
        return found if found is not None and found.cut_over else None

    def prepared_at(self, key: str) -> set[str]:
        """The nodes that have the instance in their view with its port closed: by a migration, to the end of its cut-over."""
        instance = self.instance(key)
        if instance is None:
            return set()
        arriving = instance.node if self.cut_over(key) is not None else None
        return {node for node in (instance.migrating_to, arriving) if node is not None}

    def effective_elastic_ip(self, key: str) -> str | None:
        """The elastic IP that the instance has in views: none while that address is fenced, unless it is on its way with
        the instance, whose port is closed so long."""
        address = self.elastic_ip_of.get(key)
        fence = self.fenced.get(address) if address is not None else None
        return address if fence is None or (fence.cut_over and self.cut_over(key)) else None

    def holder(self, address: str) -> str | None:
        """The instance that is meant to have an address: an elastic IP, or a private one."""
        elastic = self.elastic_ip(address)
        return elastic.instance if elastic is not None else self.by_private_ip.get(IPv4Address(address))

    def of_kind(self, kind: Kind) -> Iterator[tuple[str, Any]]:
        """Every object of a kind, in no order. Goes through all objects, except for zones."""
        if kind == "zone":
            return iter(self.zones.items())
        return ((key, value) for (found, key), value in self.objects.items() if found == kind)

    def instances_at(self, node: str) -> list[str]:
        return sorted(self.at_node.get(node, _NOBODY))

    def zone_of(self, instance: Instance) -> str | None:
        """Where its address belongs: its node's zone, or the one it names while it has no node."""
        if instance.node is not None:
            node = self.node(instance.node)
            return node.zone if node else None
        return instance.zone

    # --- the two changes ---

    def put(self, kind: Kind, key: str, value: Object) -> Network:
        """With this object, in its normal form, in place of any former one."""
        former = self.get(kind, key)
        network = self._unlinked(key, former) if former is not None else self
        return replace(network, objects=network.objects.insert((kind, key), value))._linked(key, value)

    def without(self, kind: Kind, key: str) -> Network:
        former = self.get(kind, key)
        if former is None:
            return self
        return replace(self._unlinked(key, former), objects=self.objects.remove((kind, key)))

    def _linked(self, key: str, value: Object) -> Network:
        match value:
            case Instance():
                at_node, nodes_of_group = self.at_node, self.nodes_of_group
                for node in places(value):
                    at_node = at_node.insert(node, at_node.get(node, _NOBODY).insert(key, None))
                    for group in value.groups:
                        nodes_of_group = _counted(nodes_of_group, group, node, 1)
                in_group = self.in_group
                for group in value.groups:
                    in_group = in_group.insert(group, in_group.get(group, _NOBODY).insert(key, None))
                return replace(
                    self,
                    at_node=at_node,
                    nodes_of_group=nodes_of_group,
                    in_group=in_group,
                    by_private_ip=self.by_private_ip.insert(value.private_ip, key),
                    by_mac=self.by_mac.insert(value.mac, key),
                )
            case SecurityGroup():
                namers = self.namers
                for named in names(value):
                    namers = namers.insert(named, namers.get(named, _NOBODY).insert(key, None))
                return replace(self, namers=namers)
            case ElasticIp() if value.instance is not None:
                return replace(self, elastic_ip_of=self.elastic_ip_of.insert(value.instance, key))
            case Node():
                return replace(self, by_node_address=self.by_node_address.insert(value.address, key))
            case Zone():
                return replace(self, zones=self.zones.insert(key, value))
            case Withdrawal() if value.fence is not None:
                return replace(self, fenced=self.fenced.insert(key, value))
            case _:
                return self

    def _unlinked(self, key: str, value: Object) -> Network:
        match value:
            case Instance():
                at_node, nodes_of_group, in_group = self.at_node, self.nodes_of_group, self.in_group
                for node in places(value):
                    at_node = _less(at_node, node, key)
                    for group in value.groups:
                        nodes_of_group = _counted(nodes_of_group, group, node, -1)
                for group in value.groups:
                    in_group = _less(in_group, group, key)
                return replace(
                    self,
                    at_node=at_node,
                    nodes_of_group=nodes_of_group,
                    in_group=in_group,
                    by_private_ip=_unheld(self.by_private_ip, value.private_ip, key),
                    by_mac=_unheld(self.by_mac, value.mac, key),
                )
            case SecurityGroup():
                namers = self.namers
                for named in names(value):
                    namers = _less(namers, named, key)
                return replace(self, namers=namers)
            case ElasticIp() if value.instance is not None:
                return replace(self, elastic_ip_of=_unheld(self.elastic_ip_of, value.instance, key))
            case Node():
                return replace(self, by_node_address=_unheld(self.by_node_address, value.address, key))
            case Zone():
                return replace(self, zones=self.zones.discard(key))
            case Withdrawal():
                return replace(self, fenced=self.fenced.discard(key))
            case _:
                return self

    # --- as JSON ---

    def to_wire(self) -> dict[str, Any]:
        """`GET /v1/model`: {"network": {…} | null, "zones": {…}, "nodes": {…}, "groups": …, "instances": …, "elastic_ips": …}."""
        sections: dict[Kind, dict[str, Any]] = {kind: {} for kind in CLASSES}
        for (kind, key), value in self.objects.items():
            if kind in sections:
                sections[kind][key] = to_wire(kind, value)
        wire: dict[str, Any] = {f"{kind}s": dict(sorted(found.items())) for kind, found in sections.items()}
        wire["network"] = wire.pop("networks").get(THE_NETWORK)
        return wire

    @classmethod
    def from_objects(cls, objects: Mapping[Key, Any]) -> Network:
        """From the JSON values of objects in their normal form, as Postgres keeps them."""
        network = cls()
        for (kind, key), wire in objects.items():
            network = network.put(kind, key, from_wire(kind, wire))
        return network


_NOBODY: HashTrieMap[str, None] = HashTrieMap()
_NOWHERE: HashTrieMap[str, int] = HashTrieMap()


def names(group: SecurityGroup) -> set[GroupId]:
    """The groups that its rules name."""
    return {rule.peer for rule in (*group.ingress, *(group.egress or ())) if isinstance(rule.peer, str)}


def places(instance: Instance) -> set[str]:
    """The nodes that it is on, or going to."""
    return {node for node in (instance.node, instance.migrating_to) if node is not None}


def _less(index: HashTrieMap[str, HashTrieMap[str, None]], name: str, member: str) -> HashTrieMap[str, Any]:
    rest = index[name].remove(member)
    return index.insert(name, rest) if len(rest) else index.remove(name)


def _counted(
    index: HashTrieMap[str, HashTrieMap[str, int]], name: str, member: str, step: int
) -> HashTrieMap[str, HashTrieMap[str, int]]:
    counts = index.get(name, _NOWHERE)
    count = counts.get(member, 0) + step
    counts = counts.insert(member, count) if count else counts.remove(member)
    return index.insert(name, counts) if len(counts) else index.remove(name)


def _unheld(index: HashTrieMap[Any, str], held: Any, holder: str) -> HashTrieMap[Any, str]:
    return index.remove(held) if index.get(held) == holder else index
