"""A network with the digests derived from it: what it takes to say at once which views a change alters.

Each object's digest and each group's member set are kept once and shared by all nodes that see them. `advance` works out
only what the changed objects touch; a full compile (`Derived.of`) gives the same digests, and a property test says so on
random networks.
"""

from __future__ import annotations  # rpds types cannot be subscripted at run time

from collections.abc import Iterable
from dataclasses import dataclass, replace

from rpds import HashTrieMap

from verge.contract.digest import Digest, fold, leaf
from verge.contract.members import Members
from verge.contract.view import Digests, root_digest
from viewserver.compile import view
from viewserver.compile.placement import touched_nodes
from viewserver.model.network import Network
from viewserver.model.objects import Key

NO_MEMBERS = Members({})


@dataclass(frozen=True, slots=True)
class Derived:
    network: Network
    members: HashTrieMap[str, Members]
    """Group → its member addresses; a group without any is absent."""
    instance_leaves: HashTrieMap[str, Digest]
    group_leaves: HashTrieMap[str, Digest]
    zone_leaves: HashTrieMap[str, Digest]
    network_leaf: Digest
    digests: HashTrieMap[str, str]
    """Node → the root digest of its view, as an ETag carries it."""

    @classmethod
    def empty(cls) -> Derived:
        nothing = Network()
        return cls(
            nothing,
            HashTrieMap(),
            HashTrieMap(),
            HashTrieMap(),
            HashTrieMap(),
            leaf(view.network_wire(nothing)),
            HashTrieMap(),
        )

    @classmethod
    def of(cls, network: Network) -> Derived:
        """The full compile of a network."""
        derived, _ = cls.empty().advance(network, list(network.objects))
        return derived

    def advance(self, after: Network, changed: Iterable[Key]) -> tuple[Derived, tuple[str, ...]]:
        """The derived state of `after`, which differs from this network in the `changed` objects at most, and the nodes
        whose views differ: new nodes among them, removed ones not."""
        keys = list(changed)
        instances = {key for kind, key in keys if kind == "instance"} | self._rehoused(after, keys)
        shared = kinds_of(keys) & {"network", "zone"}
        parts = Derived(
            network=after,
            members=self._members(after, instances),
            instance_leaves=_leaves(
                self.instance_leaves,
                ((key, view.instance_wire(after, key) if after.instance(key) else None) for key in instances),
            ),
            group_leaves=_leaves(
                self.group_leaves,
                ((key, view.group_wire(after, key) if after.group(key) else None) for k, key in keys if k == "group"),
            ),
            zone_leaves=_leaves(
                self.zone_leaves,
                ((key, view.zone_wire(after, key) if after.zone(key) else None) for k, key in keys if k == "zone"),
            ),
            network_leaf=leaf(view.network_wire(after)) if shared else self.network_leaf,
            digests=self.digests,
        )
        digests = self.digests
        affected = []
        for node in sorted(touched_nodes(self.network, after, keys)):
            digest = parts.digest_of(node)
            if digests.get(node) != digest:
                digests = digests.insert(node, digest)
                affected.append(node)
        for kind, key in keys:
            if kind == "node" and after.node(key) is None:
                digests = digests.discard(key)
        return replace(parts, digests=digests), tuple(affected)

    def digest_of(self, node: str) -> str:
        """The root digest of a node's view, from the shared leaves. Costs what the node sees, not what the cloud holds."""
        seen = view.sight(self.network, node)
        found = self.network.node(node)
        assert found is not None
        return root_digest(
            node,
            Digests(
                host=leaf(view.host_wire(self.network, found)),
                network=self.network_leaf,
                zone=self.zone_leaves[found.zone],
                instances=fold((key, self.instance_leaves[key]) for key in seen.instances),
                groups=fold((key, self.group_leaves[key]) for key in seen.groups),
                members=fold((key, self.members_of(key).digest) for key in seen.members),
            ),
        )

    def members_of(self, group: str) -> Members:
        found = self.members.get(group)
        return NO_MEMBERS if found is None else found  # `or` would count them

    def render(self, node: str) -> bytes:
        """The node's whole view as JSON."""
        seen = view.sight(self.network, node)
        return view.render(self.network, node, {group: self.members_of(group) for group in seen.members})

    def _rehoused(self, after: Network, keys: Iterable[Key]) -> set[str]:
        """Instances that gained or lost an address that is an object of its own: an elastic IP, or one under a fence."""
        found = set()
        for kind, key in keys:
            if kind in ("elastic_ip", "withdrawal"):
                found |= {network.holder(key) for network in (self.network, after)}
        return {holder for holder in found if holder is not None}

    def _members(self, after: Network, instances: Iterable[str]) -> HashTrieMap[str, Members]:
        removed: dict[str, set[int]] = {}
        added: dict[str, set[int]] = {}
        for key in instances:
            for network, sets in ((self.network, removed), (after, added)):
                instance = network.instance(key)
                if instance is not None:
                    addresses = set(view.member_addresses(network, key))
                    for group in instance.groups:
                        sets.setdefault(group, set()).update(addresses)
        members = self.members
        for group in removed.keys() | added.keys():
            gone, come = removed.get(group, set()), added.get(group, set())
            if gone == come:
                continue
            now = self.members_of(group).changed(add=come, remove=gone - come)
            members = members.insert(group, now) if len(now) else members.discard(group)
        return members


def kinds_of(keys: Iterable[Key]) -> set[str]:
    return {kind for kind, _ in keys}


def _leaves(leaves: HashTrieMap[str, Digest], values: Iterable[tuple[str, object | None]]) -> HashTrieMap[str, Digest]:
    for key, value in values:
        leaves = leaves.discard(key) if value is None else leaves.insert(key, leaf(value))
    return leaves
