"""The cloud's objects as its operations leave them: the last value of each, untouched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Value = Mapping[str, Any]
Operation = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cloud:
    """By id; `settings` is the one network object."""

    settings: Value
    zones: Mapping[str, Value]
    nodes: Mapping[str, Value]
    groups: Mapping[str, Value]
    instances: Mapping[str, Value]
    elastic_ips: Mapping[str, Value]


def read(operations: Iterable[Operation]) -> Cloud:
    """After all operations, in their order."""
    objects: dict[str, dict[str, Value]] = {
        kind: {} for kind in ("network", "zone", "node", "group", "instance", "elastic_ip")
    }
    for operation in operations:
        if operation["op"] == "put":
            objects[operation["kind"]][operation["id"]] = operation["value"]
        else:
            objects[operation["kind"]].pop(operation["id"], None)
    return Cloud(
        objects["network"].get("network", {}),
        objects["zone"],
        objects["node"],
        objects["group"],
        objects["instance"],
        objects["elastic_ip"],
    )
