"""The difference between two views of one node, in the form a delta has.

    {"set": {"instances": {…}, …}, "unset": {"instances": ["i-…"]}, "members": {"sg-…": {"add": […], "remove": […]}}}

A part that is one value (`host`, `network`, `zone`) is set whole; an object that differs is set whole; members of a group
that both views see are added and removed one by one. A group newly seen comes with all its members.
"""

from typing import Any

from verge.contract.members import format_address
from viewserver.compile import view
from viewserver.compile.derived import Derived


def difference(before: Derived, after: Derived, node: str) -> dict[str, Any]:
    """What leads from the node's view in `before` to that in `after`. A node that was not there had an empty view."""
    old, new = _parts(before, node), _parts(after, node)
    changed: dict[str, Any] = {part: new[part] for part in ("host", "network", "zone") if old.get(part) != new[part]}
    gone: dict[str, list[str]] = {}
    for section in ("instances", "groups"):
        was, now = old.get(section, {}), new[section]
        different = {key: value for key, value in now.items() if was.get(key) != value}
        if different:
            changed[section] = different
        lost = sorted(was.keys() - now.keys())
        if lost:
            gone[section] = lost
    members: dict[str, Any] = {}
    seen_before, seen_after = old.get("members", {}), new["members"]
    for group, addresses in seen_after.items():
        if group not in seen_before:
            members[group] = {"add": addresses.texts(), "remove": []}
            continue
        added, removed = addresses.difference(seen_before[group])
        if added or removed:
            members[group] = {
                "add": [format_address(one) for one in added],
                "remove": [format_address(one) for one in removed],
            }
    lost = sorted(seen_before.keys() - seen_after.keys())
    if lost:
        gone["members"] = lost
    return {"set": changed, "unset": gone, "members": members}


def _parts(derived: Derived, node: str) -> dict[str, Any]:
    network = derived.network
    found = network.node(node)
    if found is None:
        return {}
    seen = view.sight(network, node)
    return {
        "host": view.host_wire(network, found),
        "network": view.network_wire(network),
        "zone": view.zone_wire(network, found.zone),
        "instances": {key: view.instance_wire(network, key) for key in seen.instances},
        "groups": {key: view.group_wire(network, key) for key in seen.groups},
        "members": {key: derived.members_of(key) for key in seen.members},
    }
