"""One node's view of a network of which nothing else is derived: a network of the past, which nobody follows.

`Derived.of` compiles a whole cloud, seconds of work at 100,000 instances; this costs what the node sees, and gives the same
view, digest and differences. Pure.
"""

from __future__ import annotations  # rpds types cannot be subscripted at run time

from dataclasses import replace

from rpds import HashTrieMap

from verge.contract.digest import leaf
from verge.contract.members import Members
from viewserver.compile import view
from viewserver.compile.derived import Derived
from viewserver.model.network import Network


def alone(network: Network, node: str) -> Derived:
    """The derived state as far as this node sees it; good for `render`, `digest_of` and `difference` of this node only. A
    node that the network has not sees nothing."""
    found = network.node(node)
    seen = view.sight(network, node)
    parts = Derived(
        network,
        HashTrieMap({group: members for group in seen.members if len(members := members_in(network, group))}),
        HashTrieMap({key: leaf(view.instance_wire(network, key)) for key in seen.instances}),
        HashTrieMap({key: leaf(view.group_wire(network, key)) for key in seen.groups}),
        HashTrieMap({} if found is None else {found.zone: leaf(view.zone_wire(network, found.zone))}),
        leaf(view.network_wire(network)),
        HashTrieMap(),
        HashTrieMap(),
    )
    return parts if found is None else replace(parts, seen=HashTrieMap({node: parts.look_anew(node)}))


def members_in(network: Network, group: str) -> Members:
    """The member addresses of a group, from its instances."""
    instances = network.in_group.get(group)
    return Members.of(address for key in instances or () for address in view.member_addresses(network, key))
