"""Which nodes and VMs of a document are built: of every zone some, of every node some, and what is left out is said."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import TypeVar

from demo.document.model import Model, Vm

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Choice:
    nodes: tuple[str, ...]
    vms: tuple[Vm, ...]
    left_out: tuple[str, ...]
    """A sentence for each thing that the document has and the lab has not."""


def choose(model: Model, most_nodes: int, most_vms: int) -> Choice:
    """Nodes that host something first, zone by zone in turn; then their VMs, node by node in turn."""
    hosted: dict[str, list[Vm]] = {name: [] for name in model.nodes}
    for vm in model.vms.values():
        hosted[vm.node].append(vm)
    by_zone = [
        sorted((name for name, node in model.nodes.items() if node.zone == zone), key=lambda name: -len(hosted[name]))
        for zone in model.zones
    ]
    nodes = tuple(_in_turn(by_zone))[:most_nodes]
    taken: dict[str, Vm] = {}
    namesakes = []
    for vm in _in_turn([hosted[name] for name in nodes]):
        if vm.interface in taken:
            namesakes.append(vm.id)
        elif len(taken) < most_vms:
            taken[vm.interface] = vm
    left_out = []
    if len(nodes) < len(model.nodes):
        left_out.append(f"{len(model.nodes) - len(nodes)} of {len(model.nodes)} nodes: they will never be seen")
    rest = len(model.vms) - len(taken) - len(namesakes)
    if rest:
        left_out.append(f"{rest} of {len(model.vms)} VMs: nobody plugs them in")
    if namesakes:
        left_out.append(f"VMs whose interface is named as another's, elsewhere: {', '.join(namesakes)}")
    return Choice(nodes, tuple(taken.values()), tuple(left_out))


def _in_turn(rows: Sequence[Sequence[Item]]) -> Iterable[Item]:
    """The first of each row, the second of each row, …"""
    return (item for item in chain.from_iterable(zip_longest(*rows)) if item is not None)
