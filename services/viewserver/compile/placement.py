"""Which nodes an update may touch: found through the network's indices, before anything is compiled.

The answer may name a node whose view turns out the same (its digest decides); it never misses one. Pure.
"""

from collections.abc import Iterable, Iterator

from viewserver.compile.view import NO_SETTINGS
from viewserver.model.network import Network
from viewserver.model.objects import ElasticIp, Instance, Key, Node, SecurityGroup, Settings, Withdrawal, Zone


def watchers(network: Network, group: str) -> Iterator[str]:
    """The nodes that see the members of this group."""
    for namer in network.namers.get(group, {}):
        yield from network.nodes_of_group.get(namer, {})
    if (network.settings or NO_SETTINGS).same_group_traffic == "allow":
        yield from network.nodes_of_group.get(group, {})


def touched_nodes(before: Network, after: Network, keys: Iterable[Key]) -> set[str]:
    """Nodes of `after` whose view may differ from the one they had in `before`."""
    touched: set[str] = set()
    for key in keys:
        for network in (before, after):
            if key in network.objects:
                touched.update(_of_object(network, key))
    return {node for node in touched if after.node(node) is not None}


def _of_object(network: Network, key: Key) -> Iterator[str]:
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
        case Instance():
            yield from _of_instance(network, name)
        case ElasticIp(instance=instance) if instance is not None:
            yield from _of_instance(network, instance)
        case Withdrawal():
            holder = network.holder(name)
            if holder is not None:
                yield from _of_instance(network, holder)
        case _:
            return


def _of_instance(network: Network, key: str) -> Iterator[str]:
    instance = network.instance(key)
    if instance is None or instance.node is None:
        return
    yield instance.node
    for group in instance.groups:
        yield from watchers(network, group)
