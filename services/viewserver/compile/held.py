"""The network at a revision, as one replica holds it: derived state, and the version of each node's view.

Folding change records into it, in order, gives the same value in every replica, before and after a restart. The version of
a node is the last revision that the change records name it in; only the committing replica computes that set.
"""

from __future__ import annotations  # rpds types cannot be subscripted at run time

from dataclasses import dataclass

from rpds import HashTrieMap

from verge.contract.etag import At, ETag
from viewserver.compile.derived import Derived
from viewserver.model.change import Change
from viewserver.model.network import Network
from viewserver.model.updates import replay


@dataclass(frozen=True, slots=True)
class Held:
    epoch: int
    revision: int
    derived: Derived
    versions: HashTrieMap[str, int]
    """Node → the revision at which its view last changed."""

    @classmethod
    def empty(cls, epoch: int = 1) -> Held:
        return cls(epoch, 0, Derived.empty(), HashTrieMap())

    @classmethod
    def of(cls, epoch: int, revision: int, network: Network, versions: dict[str, int]) -> Held:
        """`versions` may lack nodes whose version is yet to be folded in; until then it is 0."""
        known = {node: version for node, version in versions.items() if network.node(node) is not None}
        return cls(epoch, revision, Derived.of(network), HashTrieMap(known))

    @property
    def network(self) -> Network:
        return self.derived.network

    @property
    def at(self) -> At:
        return At(self.epoch, self.revision)

    def fold(self, change: Change) -> Held:
        """After the next change record. Raises ValueError for any other record than the next."""
        if change.revision != self.revision + 1:
            raise ValueError(f"revision {change.revision} does not follow {self.revision}")
        after = replay(self.network, change.operations)
        derived, _ = self.derived.advance(after, [(item.kind, item.id) for item in change.operations])  # type: ignore[misc]
        return self.committed(change, derived)

    def committed(self, change: Change, derived: Derived) -> Held:
        """After a change whose derived state is known already, as it is to the replica that committed it."""
        versions = self.versions
        for node in change.affected:
            versions = versions.insert(node, change.revision)
        for item in change.operations:
            if item.kind == "node" and item.after is None:
                versions = versions.discard(item.id)
        return Held(change.epoch, change.revision, derived, versions)

    def etag(self, node: str) -> ETag | None:
        """The validator of a node's view, or None where there is no such node."""
        digest = self.derived.digests.get(node)
        return None if digest is None else ETag(self.epoch, self.versions.get(node, 0), digest)
