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
from viewserver.compile.derived import Derived


def difference(before: Derived, after: Derived, node: str) -> dict[str, Any]:
    """What leads from the node's view in `before` to that in `after`; a node that was not there had an empty view.

    For orjson: members are fragments. Raises KeyError if `after` has no such node.
    """
    network, found, was = after.network, after.network.node(node), before.network.node(node)
    if found is None:
        raise KeyError(node)
    new = view.sight(network, node)
    old = view.sight(before.network, node)
    changed: dict[str, Any] = {}
    gone: dict[str, list[str]] = {}
    host = view.host_wire(network, found)
    if was is None or view.host_wire(before.network, was) != host:
        changed["host"] = host
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
