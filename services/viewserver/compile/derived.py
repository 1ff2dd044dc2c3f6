"""A network with the digests derived from it: what it takes to say at once which views a change alters.

Each object's digest and each group's member set are kept once and shared by all nodes that see them. `advance` works out
only what the changed objects touch; a full compile (`Derived.of`) gives the same digests, and a property test says so on
random networks.
"""

from __future__ import annotations  # rpds types cannot be subscripted at run time

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from rpds import HashTrieMap

from verge.contract.digest import Digest, fold, leaf
from verge.contract.members import Members
from verge.contract.view import Digests, root_digest
from viewserver.compile import view
from viewserver.compile.placement import touched_nodes
from viewserver.compile.view import NO_SETTINGS, Sight
from viewserver.model.network import Network, names, places
from viewserver.model.objects import Key

NO_MEMBERS = Members({})


@dataclass(frozen=True, slots=True)
class Seen:
    """What one node sees, and the digests of the parts of its view that are its own."""

    sight: Sight
    """The same object as before, as long as the node sees the same objects."""
    zone: str
    host: Digest
    instances: Digest
    groups: Digest
    members: Digest


@dataclass(frozen=True, slots=True)
class Step:
    """Which objects differ from those of the network before; where any other kind differs, its leaf tells."""

    instances: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    members: frozenset[str] = frozenset()
    """Groups whose members differ."""

    def __or__(self, later: Step) -> Step:
        return Step(self.instances | later.instances, self.groups | later.groups, self.members | later.members)


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
    seen: HashTrieMap[str, Seen]
    step: Step = field(default=Step(), compare=False, repr=False)
    """From the network that this one was advanced from."""

    @classmethod
    def empty(cls) -> Derived:
        nothing = Network()
        none: HashTrieMap[str, Any] = HashTrieMap()
        return cls(nothing, none, none, none, none, leaf(view.network_wire(nothing)), none, none)

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
        groups = {key for kind, key in keys if kind == "group"}
        members, of_groups = self._members(after, instances)
        shared = kinds_of(keys) & {"network", "zone"}
        parts = replace(
            self,
            network=after,
            members=members,
            instance_leaves=_leaves(
                self.instance_leaves,
                ((key, view.instance_wire(after, key) if after.instance(key) else None) for key in instances),
            ),
            group_leaves=_leaves(
                self.group_leaves, ((key, view.group_wire(after, key) if after.group(key) else None) for key in groups)
            ),
            zone_leaves=_leaves(
                self.zone_leaves,
                ((key, view.zone_wire(after, key) if after.zone(key) else None) for k, key in keys if k == "zone"),
            ),
            network_leaf=leaf(view.network_wire(after)) if shared else self.network_leaf,
            step=Step(frozenset(instances), frozenset(groups), frozenset(of_groups)),
        )
        resighted = self._resighted(after, instances, groups)
        was, is_ = self.network.settings or NO_SETTINGS, after.settings or NO_SETTINGS
        resights = was.same_group_traffic != is_.same_group_traffic
        rehosts = was.gateway_mode != is_.gateway_mode
        seen: dict[str, Seen] = {}
        digests: dict[str, str] = {}
        rehosted = {key for kind, key in keys if kind == "node"}
        for node in touched_nodes(self.network, after, keys):
            former = self.seen.get(node)
            now = parts.look(node, former, resight=resights or node in resighted, rehost=rehosts or node in rehosted)
            digest = parts.digest_of(node, now)
            if self.digests.get(node) != digest:
                digests[node] = digest
            if now is not former:
                seen[node] = now
        removed = [key for key in rehosted if after.node(key) is None]
        parts = replace(
            parts,
            digests=_without(self.digests.update(digests), removed),
            seen=_without(self.seen.update(seen), removed),
        )
        return parts, tuple(sorted(digests))

    def look(self, node: str, former: Seen | None, *, resight: bool, rehost: bool) -> Seen:
        """What a node sees, from the shared leaves. What the step left alone is taken from `former`, which is what it saw
        before; without `resight` it sees the same objects, without `rehost` it is itself the same."""
        if former is None:
            return self.look_anew(node)
        sight, step = former.sight, self.step
        if resight:
            now = view.sight(self.network, node)
            sight = sight if now == sight else now
        other = sight is not former.sight
        if not (resight or rehost) and step.groups.isdisjoint(sight.groups) and step.members.isdisjoint(sight.members):
            return former
        zone, host = self._host(node) if rehost else (former.zone, former.host)
        return Seen(
            sight,
            zone,
            host,
            self._instances(sight) if resight else former.instances,
            self._groups(sight) if other or not step.groups.isdisjoint(sight.groups) else former.groups,
            self._members_seen(sight) if other or not step.members.isdisjoint(sight.members) else former.members,
        )

    def look_anew(self, node: str) -> Seen:
        sight = view.sight(self.network, node)
        return Seen(sight, *self._host(node), self._instances(sight), self._groups(sight), self._members_seen(sight))

    def _host(self, node: str) -> tuple[str, Digest]:
        """Its zone, and the digest of what its view says of itself."""
        found = self.network.node(node)
        assert found is not None
        return found.zone, leaf(view.host_wire(self.network, found))

    def _instances(self, sight: Sight) -> Digest:
        return fold((key, self.instance_leaves[key]) for key in sight.instances)

    def _groups(self, sight: Sight) -> Digest:
        return fold((key, self.group_leaves[key]) for key in sight.groups)

    def _members_seen(self, sight: Sight) -> Digest:
        return fold((key, self.members_of(key).digest) for key in sight.members)

    def digest_of(self, node: str, seen: Seen | None = None) -> str:
        """The root digest of a node's view, which sees this."""
        seen = self.seen[node] if seen is None else seen
        return root_digest(
            node,
            Digests(
                host=seen.host,
                network=self.network_leaf,
                zone=self.zone_leaves[seen.zone],
                instances=seen.instances,
                groups=seen.groups,
                members=seen.members,
            ),
        )

    def _resighted(self, after: Network, instances: Iterable[str], groups: Iterable[str]) -> set[str]:
        """Nodes that may see other objects, or other values of their instances, than before."""
        found: set[str] = set()
        for network in (self.network, after):
            for key in instances:
                instance = network.instance(key)
                if instance is not None:
                    found |= places(instance)
        for key in groups:
            was, now = self.network.group(key), after.group(key)
            if was is None or now is None or names(was) != names(now):
                found.update(self.network.nodes_of_group.get(key, ()), after.nodes_of_group.get(key, ()))
        return found

    def members_of(self, group: str) -> Members:
        found = self.members.get(group)
        return NO_MEMBERS if found is None else found  # `or` would count them

    def render(self, node: str) -> bytes:
        """The node's whole view as JSON."""
        sight = self.seen[node].sight
        return view.render(self.network, node, sight, {group: self.members_of(group) for group in sight.members})

    def _rehoused(self, after: Network, keys: Iterable[Key]) -> set[str]:
        """Instances that gained or lost an address that is an object of its own: an elastic IP, or one under a fence."""
        found = set()
        for kind, key in keys:
            if kind in ("elastic_ip", "withdrawal"):
                found |= {network.holder(key) for network in (self.network, after)}
        return {holder for holder in found if holder is not None}

    def _members(self, after: Network, instances: Iterable[str]) -> tuple[HashTrieMap[str, Members], list[str]]:
        """The members after a change of these instances, and the groups whose members differ."""
        removed: dict[str, set[int]] = {}
        added: dict[str, set[int]] = {}
        for key in instances:
            for network, sets in ((self.network, removed), (after, added)):
                instance = network.instance(key)
                if instance is not None:
                    addresses = set(view.member_addresses(network, key))
                    for group in instance.groups:
                        sets.setdefault(group, set()).update(addresses)
        members, differ = self.members, []
        for group in removed.keys() | added.keys():
            gone, come = removed.get(group, set()), added.get(group, set())
            if gone == come:
                continue
            was = self.members_of(group)
            now = was.changed(add=come, remove=gone - come)
            if now == was:  # others have the same addresses
                continue
            members = members.insert(group, now) if len(now) else members.discard(group)
            differ.append(group)
        return members, differ


def _without(index: HashTrieMap[str, Any], keys: Iterable[str]) -> HashTrieMap[str, Any]:
    for key in keys:
        index = index.discard(key)
    return index


def kinds_of(keys: Iterable[Key]) -> set[str]:
    return {kind for kind, _ in keys}


def _leaves(leaves: HashTrieMap[str, Digest], values: Iterable[tuple[str, object | None]]) -> HashTrieMap[str, Digest]:
    gone, come = [], {}
    for key, value in values:
        if value is None:
            gone.append(key)
        else:
            come[key] = leaf(value)
    return _without(leaves.update(come), gone)
