"""The difference between two views of one node as the server holds them: a delta's body (`verge.contract.delta`).

Works on digests and renders only what differs; a group's member edit is worked out once and shared by all nodes that see
the group.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import orjson
from rpds import HashTrieMap

from verge.contract.delta import member_edit
from verge.contract.digest import Digest
from verge.contract.members import Members
from viewserver.compile import view
from viewserver.compile.derived import Derived, Step
from viewserver.compile.view import Sight

NOTHING = Sight((), frozenset(), frozenset())


def difference(before: Derived, after: Derived, node: str) -> dict[str, Any]:
    """What leads from the node's view in `before` to that in `after`; a node that was not there had an empty view.

    For orjson: members are fragments. Raises KeyError if `after` has no such node.
    """
    network, found, was = after.network, after.network.node(node), before.network.node(node)
    if found is None:
        raise KeyError(node)
    new, host_leaf = after.seen[node].sight, after.seen[node].host
    known = before.seen.get(node)
    old = NOTHING if known is None else known.sight
    changed: dict[str, Any] = {}
    gone: dict[str, list[str]] = {}
    if known is None or known.host != host_leaf:
        changed["host"] = view.host_wire(network, found)
    if was is None or before.network_leaf != after.network_leaf:
        changed["network"] = view.network_wire(network)
    if was is None or was.zone != found.zone or before.zone_leaves[was.zone] != after.zone_leaves[found.zone]:
        changed["zone"] = view.zone_wire(network, found.zone)
    instances = _differing(new.instances, before.instance_leaves, after.instance_leaves, set(old.instances))
    if instances:
        changed["instances"] = {key: view.instance_wire(network, key) for key in instances}
    groups = _differing(new.groups, before.group_leaves, after.group_leaves, old.groups)
    if groups:
        changed["groups"] = {key: view.group_wire(network, key) for key in groups}
    for name, then, now in (
        ("instances", old.instances, new.instances),
        ("groups", old.groups, new.groups),
        ("members", old.members, new.members),
    ):
        lost = sorted(set(then) - set(now))
        if lost:
            gone[name] = lost
    edits = {}
    for key in sorted(new.members):
        edit = _member_edit(before.members_of(key) if key in old.members else None, after.members_of(key))
        if edit is not None:
            edits[key] = orjson.Fragment(edit)
    return {"set": changed, "unset": gone, "members": edits}


class Between:
    """The deltas of all nodes from one network to a later one: what many nodes are told is rendered once.

    With `step`, which names what differs, a delta costs what differs and not what the node sees.
    """

    def __init__(self, before: Derived, after: Derived, step: Step | None) -> None:
        self.before = before
        self.after = after
        self._step = step
        self._bodies: dict[object, bytes] = {}
        self.rendered = 0
        """How many bodies were made: tests assert that nodes share them."""

    def body(self, node: str) -> bytes:
        """The node's delta as JSON. Raises KeyError for a node that is none."""
        what = self._what(node)
        if what is None:
            return self._render(node)
        body = self._bodies.get(what)
        if body is None:
            body = self._bodies[what] = self._render(node)
        return body

    def _render(self, node: str) -> bytes:
        self.rendered += 1
        return orjson.dumps(difference(self.before, self.after, node))

    def _what(self, node: str) -> object:
        """What the delta says, where nodes of which the same is true are told the same; None where they may not be."""
        step, before, after = self._step, self.before.seen.get(node), self.after.seen[node]
        if step is None or before is None or before.sight is not after.sight or before.host != after.host:
            return None
        sight = after.sight
        return (
            before.zone,
            after.zone,
            tuple(key for key in step.groups if key in sight.groups),
            tuple(key for key in step.members if key in sight.members),
            tuple(key for key in step.instances if key in sight.instances) if step.instances else (),
        )


def _differing(
    keys: Iterable[str],
    before: "HashTrieMap[str, Digest] | Mapping[str, Digest]",
    after: "HashTrieMap[str, Digest] | Mapping[str, Digest]",
    seen: "set[str] | frozenset[str]",
) -> list[str]:
    return sorted(key for key in keys if key not in seen or before.get(key) != after.get(key))


@lru_cache(maxsize=1024)
def _member_edit(older: Members | None, newer: Members) -> bytes | None:
    edit = member_edit(older, newer)
    return None if edit is None else orjson.dumps(edit)
