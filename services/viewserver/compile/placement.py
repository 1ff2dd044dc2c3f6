"""Which nodes an update may touch: found through the network's indices, before anything is compiled.

The answer may name a node whose view turns out the same (its digest decides); it never misses one. Pure.
"""

from collections.abc import Collection, Iterator

from viewserver.compile.view import NO_SETTINGS
from viewserver.model.network import Network, places
from viewserver.model.objects import ElasticIp, Instance, Key, Node, SecurityGroup, Settings, Withdrawal, Zone


def touched_nodes(before: Network, after: Network, keys: Collection[Key]) -> set[str]:
    """Nodes of `after` whose view may differ from the one they had in `before`."""
    touched: set[str] = set()
    for network in (before, after):
        changed_instances: set[str] = set()
        for key in keys:
            if key in network.objects:
                touched.update(_of_object(network, key))
                changed_instances.update(_instances_of(network, key))
        touched |= _of_instances(network, changed_instances)
    return touched - {name for kind, name in keys if kind == "node" and after.node(name) is None}


def _of_object(network: Network, key: Key) -> Iterator[str]:
    """The nodes that see the object itself, unless it is about an instance."""
    name = key[1]
    match network.objects[key]:
        case Settings():
            yield from (node for node, _ in network.of_kind("node"))
        case Zone():  # its pool is part of every view's private ranges
            yield from (node for node, _ in network.of_kind("node"))
        case Node():
            yield name
        case SecurityGroup():
            yield from network.nodes_of_group.get(name, {})
        case _:
            return


def _instances_of(network: Network, key: Key) -> Iterator[str]:
    """The instance that the object is, or gives an address."""
    name = key[1]
    match network.objects[key]:
        case Instance():
            yield name
        case ElasticIp(instance=instance) if instance is not None:
            yield instance
        case Withdrawal():
            holder = network.holder(name)
            if holder is not None:
                yield holder
        case _:
            return


def _of_instances(network: Network, keys: set[str]) -> set[str]:
    """Where they are, and who sees the members of their groups; each group is looked at once, however many there are."""
    nodes: set[str] = set()
    groups: set[str] = set()
    for key in keys:
        instance = network.instance(key)
        if instance is not None and (on := places(instance)):
            nodes |= on
            groups.update(instance.groups)
    seeing = {namer for group in groups for namer in network.namers.get(group, {})}
    if (network.settings or NO_SETTINGS).same_group_traffic == "allow":
        seeing |= groups
    return nodes.union(*(network.nodes_of_group.get(group, {}) for group in seeing))
