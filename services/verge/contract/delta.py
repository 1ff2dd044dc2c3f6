"""The difference between two versions of one node's view (RFC 3229, `IM: verge-delta`).

    delta  {"set": {"host"?, "network"?, "zone"?, "instances"?: {"i-…": {…}}, "groups"?: {…}},
            "unset": {"instances"?: ["i-…"], "groups"?: […], "members"?: ["sg-…"]},
            "members": {"sg-…": {"add": […], "remove": […]}}}

A delta saves bytes and nothing else: fold it into the view it is based on, check the digest, forget it. Laws, each a
property test: apply(a, diff(a, b)) = b; diff(a, a) is empty; applying diff(a, b) and then diff(b, c) is applying
diff(a, c). Parts that are one value and objects are set whole; members are added and removed one by one, `add` and
`remove` disjoint and relative to the base. A group whose members are newly visible has no `remove`; one whose members no
longer are is in `unset`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from verge.contract.digest import leaf
from verge.contract.members import Members, format_address, parse_address
from verge.contract.rule import GroupId
from verge.contract.view import PARTS, SECTIONS, View, ViewInvalid, Wire, at, mapping, read_object, read_part

IM = "verge-delta"
EMPTY: dict[str, Any] = {"set": {}, "unset": {}, "members": {}}


def diff(older: View, newer: View) -> dict[str, Any]:
    """What leads from one view of a node to another."""
    changed: dict[str, Any] = {
        name: newer.wire.parts[name] for name in PARTS if older.wire.part_leaves[name] != newer.wire.part_leaves[name]
    }
    gone: dict[str, list[str]] = {}
    for name in SECTIONS:
        was, now = older.wire.leaves[name], newer.wire.leaves[name]
        _put(changed, name, {key: newer.wire.objects[name][key] for key in now if was.get(key) != now[key]})
        _put(gone, name, sorted(was.keys() - now.keys()))
    _put(gone, "members", sorted(older.members.keys() - newer.members.keys()))
    edits = {
        group: edit for group, now in newer.members.items() if (edit := member_edit(older.members.get(group), now))
    }
    return {"set": changed, "unset": gone, "members": edits}


def member_edit(older: Members | None, newer: Members) -> dict[str, list[str]] | None:
    """The entry of one group in `members`; None where there is nothing to say. `older` is None for one newly visible."""
    if older is None:
        return {"add": newer.texts(), "remove": []}
    added, removed = newer.difference(older)
    if not added and not removed:
        return None
    return {"add": [format_address(one) for one in added], "remove": [format_address(one) for one in removed]}


def apply(view: View, delta: Any) -> View:
    """The view that the delta leads to, sharing all that it leaves alone. Raises ViewInvalid for a delta that is none, or
    that is not based on this view."""
    if not isinstance(delta, dict):
        raise ViewInvalid("", "a delta is a JSON object")
    changed, gone, edits = (mapping(delta, name) for name in ("set", "unset", "members"))
    for part, known, where in (
        (changed, {*PARTS, *SECTIONS}, "set"),
        (gone, {*SECTIONS, "members"}, "unset"),
    ):
        for name in part.keys() - known:
            raise ViewInvalid(f"/{where}/{name}", "is no part of a view that this code knows")
    parts: dict[str, Any] = {name: changed[name] for name in PARTS if name in changed}
    objects, leaves, typed = dict(view.wire.objects), dict(view.wire.leaves), {}
    for name in SECTIONS:
        values = mapping(changed, name, "/set") if name in changed else {}
        lost = _names(gone, name)
        typed[name] = _edited(
            getattr(view, name), {key: read_object(name, key, one) for key, one in values.items()}, lost
        )
        objects[name] = _edited(view.wire.objects[name], values, lost)
        leaves[name] = _edited(view.wire.leaves[name], {key: leaf(one) for key, one in values.items()}, lost)
    wire = Wire(
        view.wire.node,
        {**view.wire.parts, **parts},
        {**view.wire.part_leaves, **{name: leaf(value) for name, value in parts.items()}},
        objects,
        leaves,
    )
    return View.of(
        wire,
        host=read_part("host", parts["host"]) if "host" in parts else view.host,
        network=read_part("network", parts["network"]) if "network" in parts else view.network,
        zone=read_part("zone", parts["zone"]) if "zone" in parts else view.zone,
        instances=typed["instances"],
        groups=typed["groups"],
        members=_edited(
            view.members,
            {GroupId(group): _members(view.members.get(GroupId(group)), group, edit) for group, edit in edits.items()},
            _names(gone, "members"),
        ),
    )


def _edited(before: Mapping[Any, Any], values: Mapping[Any, Any], lost: Iterable[Any]) -> Mapping[Any, Any]:
    lost = set(lost)
    if not values and not lost:
        return before
    absent = lost - before.keys()
    if absent:
        raise ViewInvalid("/unset", f"{min(absent)} is not in the view that this delta is based on")
    return {**{key: value for key, value in before.items() if key not in lost}, **values}


def _members(before: Members | None, group: str, edit: Any) -> Members:
    pointer = f"/members/{group}"
    if not isinstance(edit, dict) or edit.keys() != {"add", "remove"}:
        raise ViewInvalid(pointer, "must be an object of add and remove")
    added, removed = (at(f"{pointer}/{name}", _addresses, edit[name]) for name in ("add", "remove"))
    older = Members({}) if before is None else before
    if any(one in older for one in added) or not all(one in older for one in removed):
        raise ViewInvalid(pointer, "is not relative to the view that this delta is based on")
    return older.changed(add=added, remove=removed)


def _addresses(texts: Any) -> list[int]:
    if not isinstance(texts, list):
        raise ValueError("must be a list")
    return [parse_address(text) for text in texts]


def _names(gone: Mapping[str, Any], name: str) -> list[str]:
    names = gone.get(name, [])
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise ViewInvalid(f"/unset/{name}", "must be a list of ids")
    return names


def _put(into: dict[str, Any], name: str, value: Any) -> None:
    if value:
        into[name] = value
