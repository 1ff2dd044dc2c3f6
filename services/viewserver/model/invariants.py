"""What must hold in every network, checked for what an update touched and for what leans on it.

The source of the rules is the HTTP contract ("Objects"). Each check is local: it looks at one object, at those it names
and, through the network's indices, at those that share an address or an interface with it. Only a changed pool, zone or
public range is checked against everything that lives in it. `check_all` applies the same checks to a whole network;
that it agrees with `check` after any sequence of updates is a property test.
"""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from ipaddress import IPv4Address, IPv4Network
from typing import cast

from verge.contract.view import Range
from viewserver.model.faults import Fault, Pointer
from viewserver.model.network import Network, names
from viewserver.model.objects import (
    THE_NETWORK,
    ElasticIp,
    Instance,
    Key,
    Node,
    SecurityGroup,
    Settings,
    Zone,
)


def check(
    before: Network, after: Network, touched: Mapping[Key, Pointer], unread: AbstractSet[Key] = frozenset()
) -> Iterator[Fault]:
    """Every fault that the update leading from `before` to `after` would introduce.

    `touched` names the objects it writes or deletes and where it does so. Objects in `unread` are being written by a
    malformed operation: they are taken to exist and to say the right thing.
    """
    scope = _Scope(before, after, unread)
    for key, at in touched.items():
        value = after.objects.get(key)
        if value is None:
            if key in before.objects:
                yield from _deleted(scope, key, at)
            continue
        here = (*at, "value")
        match value:
            case Settings():
                yield from _settings(scope, value, here, touched)
            case Zone():
                yield from _zone(scope, key[1], value, here, touched)
            case Node():
                yield from _node(scope, key[1], value, here, touched)
            case SecurityGroup():
                yield from _group(scope, value, here)
            case Instance():
                yield from _instance(scope, key[1], value, here)
            case ElasticIp():
                yield from _elastic_ip(scope, key[1], value, at)


def check_all(network: Network) -> list[Fault]:
    """Every fault of a whole network; each is pointed at by kind and id."""
    return list(check(Network(), network, {key: key for key in network.objects}))


class _Scope:
    def __init__(self, before: Network, after: Network, unread: AbstractSet[Key]) -> None:
        self.before = before
        self.after = after
        self.unread = unread
        self._ports: dict[str, dict[str | None, list[str]]] = {}

    def exists(self, key: Key) -> bool:
        return key in self.after.objects or key in self.unread

    def sure(self, key: Key) -> bool:
        """Exists and was read in full: what it says can be held against others."""
        return key in self.after.objects and key not in self.unread

    def ports_at(self, node: str) -> dict[str | None, list[str]]:
        """The instances that are or will be there, by their port's name; worked out once for each node that is touched."""
        known = self._ports.get(node)
        if known is None:
            known = self._ports[node] = {}
            for key in self.after.at_node.get(node, {}):
                held = self.after.instance(key)
                if held is not None:
                    known.setdefault(held.interface, []).append(key)
        return known

    def others_with_ip(self, address: IPv4Address, instance: str) -> list[str]:
        found = {network.by_private_ip.get(address) for network in (self.before, self.after)} - {None, instance}
        return sorted(
            other
            for other in cast(set[str], found)
            if (held := self.after.instance(other)) is not None and held.private_ip == address
        )

    def others_with_mac(self, mac: str, instance: str) -> list[str]:
        found = {network.by_mac.get(mac) for network in (self.before, self.after)} - {None, instance}
        return sorted(
            other
            for other in cast(set[str], found)
            if (held := self.after.instance(other)) is not None and held.mac == mac
        )


def _settings(scope: _Scope, value: Settings, here: Pointer, touched: Mapping[Key, Pointer]) -> Iterator[Fault]:
    former = scope.before.settings
    if not scope.sure(("network", THE_NETWORK)) or (former is not None and former.public_ips == value.public_ips):
        return
    for address, _ in scope.after.of_kind("elastic_ip"):
        if ("elastic_ip", address) not in touched and not _within(IPv4Address(address), value.public_ips):
            yield Fault(
                (*here, "public_ips"), f"elastic IP {address} exists and would be outside the pool", in_use=True
            )


def _zone(scope: _Scope, name: str, value: Zone, here: Pointer, touched: Mapping[Key, Pointer]) -> Iterator[Fault]:
    subnet = value.subnet
    if value.gateway not in subnet:
        yield Fault((*here, "gateway"), f"{value.gateway} is outside the zone's subnet {subnet}")
    elif value.gateway in _edges(subnet):
        yield Fault((*here, "gateway"), f"{value.gateway} is the network or broadcast address of {subnet}")
    for index, (low, high) in enumerate(value.private_ips):
        if low not in subnet or high not in subnet:
            yield Fault((*here, "private_ips", index), f"is not wholly inside the zone's subnet {subnet}")
    if not scope.sure(("zone", name)) or scope.before.zone(name) == value:
        return
    for key, instance in scope.after.of_kind("instance"):
        if ("instance", key) in touched or scope.after.zone_of(instance) != name:
            continue
        if _out_of_place(instance.private_ip, value):
            yield Fault(
                (*here, "private_ips"),
                f"instance {key} holds {instance.private_ip}, which the zone would not allow",
                in_use=True,
            )


def _node(scope: _Scope, name: str, value: Node, here: Pointer, touched: Mapping[Key, Pointer]) -> Iterator[Fault]:
    if not scope.exists(("zone", value.zone)):
        yield Fault((*here, "zone"), f"zone {value.zone} does not exist")
    for network in (scope.before, scope.after):
        other = network.by_node_address.get(value.address)
        held = scope.after.node(other) if other not in (None, name) else None
        if held is not None and held.address == value.address:
            yield Fault((*here, "address"), f"{value.address} is node {other}'s address")
            break
    holder = scope.after.by_private_ip.get(value.address)
    if holder is not None:
        yield Fault((*here, "address"), f"{value.address} is the private IP of instance {holder}")
    if scope.after.elastic_ip(str(value.address)) is not None:
        yield Fault((*here, "address"), f"{value.address} is an elastic IP")
    former = scope.before.node(name)
    zone = scope.after.zone(value.zone)
    if former is not None and former.zone != value.zone and zone is not None and scope.sure(("zone", value.zone)):
        for key in scope.after.instances_at(name):
            instance = scope.after.instance(key)
            if instance is None or ("instance", key) in touched:
                continue
            if _leaves_zone(scope, instance):
                yield Fault((*here, "zone"), f"instance {key} is migrating between it and another zone", in_use=True)
            if instance.node != name:
                continue
            if instance.zone not in (None, value.zone):
                yield Fault((*here, "zone"), f"instance {key} on it is in zone {instance.zone}", in_use=True)
            elif _out_of_place(instance.private_ip, zone):
                yield Fault(
                    (*here, "zone"),
                    f"instance {key} on it holds {instance.private_ip}, which is not in zone {value.zone}'s pool",
                    in_use=True,
                )


def _group(scope: _Scope, value: SecurityGroup, here: Pointer) -> Iterator[Fault]:
    for side in ("ingress", "egress"):
        named = names(SecurityGroup(value.name, value.account, **{side: getattr(value, side) or ()}))
        for group in sorted(named):
            if not scope.exists(("group", group)):
                yield Fault((*here, side), f"security group {group} does not exist", about=group)


def _instance(scope: _Scope, key: str, value: Instance, here: Pointer) -> Iterator[Fault]:
    after = scope.after
    for name in ("node", "migrating_to"):
        node = getattr(value, name)
        if node is not None and not scope.exists(("node", node)):
            yield Fault((*here, name), f"node {node} does not exist")
    yield from _migration(scope, value, here)
    if value.zone is not None and not scope.exists(("zone", value.zone)):
        yield Fault((*here, "zone"), f"zone {value.zone} does not exist")
    if value.zone is None and value.node is None:
        yield Fault((*here, "zone"), "is needed while the instance has no node: it says where its address belongs")
    zone_name = after.zone_of(value)
    placed = value.node is not None and scope.sure(("node", value.node))
    if value.zone is not None and placed and zone_name not in (None, value.zone):
        yield Fault((*here, "zone"), f"node {value.node} is in zone {zone_name}, not {value.zone}")
    for group in value.groups:
        if not scope.exists(("group", group)):
            yield Fault((*here, "groups"), f"security group {group} does not exist", about=group)
    yield from _address(scope, key, value, zone_name, here)
    for other in scope.others_with_mac(value.mac, key):
        yield Fault((*here, "mac"), f"{value.mac} is instance {other}'s MAC")
    yield from _interface(scope, key, value, here)


def _migration(scope: _Scope, value: Instance, here: Pointer) -> Iterator[Fault]:
    """A guest that migrates keeps its address, its gateway and its netmask, and runs all the while."""
    pointer = (*here, "migrating_to")
    if value.migrating_to is None:
        return
    if value.node is None:
        yield Fault(pointer, "needs a node that the instance is on; without one it is started where it shall be")
    elif value.migrating_to == value.node:
        yield Fault(pointer, f"is where the instance is already: {value.node}")
    elif _leaves_zone(scope, value):
        source, target = (scope.after.node(name) for name in (value.node, value.migrating_to))
        assert source is not None
        assert target is not None
        yield Fault(pointer, f"node {value.migrating_to} is in zone {target.zone}, the instance in {source.zone}")


def _leaves_zone(scope: _Scope, value: Instance) -> bool:
    nodes = [name for name in (value.node, value.migrating_to) if name is not None]
    sure = all(scope.sure(("node", name)) for name in nodes)
    return sure and len({node.zone for name in nodes if (node := scope.after.node(name)) is not None}) > 1


def _address(scope: _Scope, key: str, value: Instance, zone_name: str | None, here: Pointer) -> Iterator[Fault]:
    address, pointer = value.private_ip, (*here, "private_ip")
    for other in scope.others_with_ip(address, key):
        yield Fault(pointer, f"{address} is instance {other}'s private IP")
    node = scope.after.by_node_address.get(address)
    if node is not None:
        yield Fault(pointer, f"{address} is node {node}'s address")
    if scope.after.elastic_ip(str(address)) is not None:
        yield Fault(pointer, f"{address} is an elastic IP")
    zone = scope.after.zone(zone_name) if zone_name is not None else None
    if zone_name is None or zone is None or not scope.sure(("zone", zone_name)):
        return
    why = _out_of_place(address, zone)
    if why:
        yield Fault(pointer, f"{address} {why.format(zone=zone_name)}")


def _out_of_place(address: IPv4Address, zone: Zone) -> str | None:
    """Why an instance in this zone may not have this address; {zone} stands for the zone's name."""
    if address == zone.gateway:
        return "is the gateway of zone {zone}"
    if address in _edges(zone.subnet):
        return "is the network or broadcast address of zone {zone}"
    if not _within(address, zone.private_ips):
        return "is not in the pool of zone {zone}"
    return None


def _edges(subnet: IPv4Network) -> tuple[IPv4Address, ...]:
    """Its network and broadcast address; subnets of one or two addresses have neither (RFC 3021)."""
    return () if subnet.prefixlen >= 31 else (subnet.network_address, subnet.broadcast_address)


def _interface(scope: _Scope, key: str, value: Instance, here: Pointer) -> Iterator[Fault]:
    """A port's name is unique on every node where the instance is, or is going to be."""
    for node in {value.node, value.migrating_to} - {None}:
        for other in scope.ports_at(cast(str, node)).get(value.interface, ()):
            if other != key:
                yield Fault((*here, "interface"), f"{value.interface} is instance {other}'s interface on node {node}")


def _elastic_ip(scope: _Scope, address: str, value: ElasticIp, at: Pointer) -> Iterator[Fault]:
    after, settings = scope.after, scope.after.settings
    if ("network", THE_NETWORK) not in scope.unread:
        if settings is None:
            yield Fault((*at, "id"), "there is no network yet, so no pool of elastic IPs")
        elif not _within(IPv4Address(address), settings.public_ips):
            yield Fault((*at, "id"), f"{address} is not in the network's public_ips")
    node = after.by_node_address.get(IPv4Address(address))
    if node is not None:
        yield Fault((*at, "id"), f"{address} is node {node}'s address")
    holder = after.by_private_ip.get(IPv4Address(address))
    if holder is not None:
        yield Fault((*at, "id"), f"{address} is the private IP of instance {holder}")
    if value.instance is None:
        return
    pointer = (*at, "value", "instance")
    if not scope.exists(("instance", value.instance)):
        yield Fault(pointer, f"instance {value.instance} does not exist")
    for network in (scope.before, after):
        other = network.elastic_ip_of.get(value.instance)
        held = after.elastic_ip(other) if other not in (None, address) else None
        if held is not None and held.instance == value.instance:
            yield Fault(pointer, f"instance {value.instance} has elastic IP {other} already")
            break


def _deleted(scope: _Scope, key: Key, at: Pointer) -> Iterator[Fault]:
    """An object may go when nothing that stays needs it."""
    after, (kind, name) = scope.after, key
    users: Iterable[str] = ()
    match kind:
        case "network":
            users = (f"elastic IP {address}" for address, _ in after.of_kind("elastic_ip"))
        case "zone":
            users = (
                *(f"node {node}" for node, value in after.of_kind("node") if value.zone == name),
                *(f"instance {instance}" for instance, value in after.of_kind("instance") if value.zone == name),
            )
        case "node":
            users = (f"instance {instance}" for instance in after.instances_at(name))
        case "group":
            users = (
                *(f"instance {instance}" for instance in after.in_group.get(name, {})),
                *(f"security group {group}" for group in after.namers.get(name, {}) if group != name),
            )
        case "instance":
            address = after.elastic_ip_of.get(name)
            users = (f"elastic IP {address}",) if address is not None else ()
        case "elastic_ip":
            users = ()
    named = sorted(users)
    if named:
        shown = ", ".join(named[:20]) + (f" and {len(named) - 20} more" if len(named) > 20 else "")
        yield Fault((*at, "id"), f"{kind} {name} is in use by {shown}", in_use=True)


def _within(address: IPv4Address, ranges: Iterable[Range]) -> bool:
    return any(low <= address <= high for low, high in ranges)
