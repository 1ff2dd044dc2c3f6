"""Which instances of a view can be enforced, which are prepared for, and which are quarantined.

An instance that is on its way here by migration runs elsewhere still: here its port is closed like one that no view names,
and its address is another node's business.

The view server checks all of this at its door. A view can also be handed to the agent directly, and some of it only the
host knows; a node that took everything at its word could be made to drop its own gateway's packets.
"""

import re
from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from nodeagent.state.host import HostFacts
from verge.contract.view import InstanceId, View, ViewInstance

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_MAC = re.compile(r"[0-9a-f][02468ace](?::[0-9a-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class Sorted:
    enforced: tuple[ViewInstance, ...]
    """By id."""
    prepared: tuple[ViewInstance, ...]
    """Likewise: those whose port another node has open."""
    quarantined: dict[InstanceId, str]
    """With the reason."""
    closed: frozenset[int]
    """Addresses of quarantined instances that can be closed by address: pool addresses, and nobody else's."""


def sort(view: View, facts: HostFacts, refused: AbstractSet[InstanceId] = frozenset()) -> Sorted:
    """`refused` are instances that the host did not take when it was last asked."""
    instances = sorted(view.instances.values(), key=lambda instance: instance.id)
    shared = _shared(instances)
    enforced: list[ViewInstance] = []
    prepared: list[ViewInstance] = []
    quarantined: dict[InstanceId, str] = {}
    closed: set[int] = set()
    for instance in instances:
        address = _address_fault(instance, view)
        fault = address or _fault(instance, facts) or shared.get(instance.id)
        if instance.id in refused:
            fault = "the host refused it"
        is_here = instance.node == view.node
        if fault is None:
            (enforced if is_here else prepared).append(instance)
            continue
        quarantined[instance.id] = fault
        if address is None and is_here:
            closed.add(int(instance.private_ip))
    return Sorted(tuple(enforced), tuple(prepared), quarantined, frozenset(closed))


def _address_fault(instance: ViewInstance, view: View) -> str | None:
    """Filtering an address that is not an instance's would cut the host off from whoever has it."""
    address, network = instance.private_ip, view.network
    used = {view.host.address: "the node itself", view.zone.gateway: "the gateway"}
    used |= dict.fromkeys(network.dns_servers, "a DNS server")
    if network.metadata is not None:
        used[network.metadata.host] = "the metadata service"
    if address in used:
        return f"{address} is the address of {used[address]}"
    if not any(low <= address <= high for low, high in network.private_ranges):
        return f"{address} is in none of the network's private ranges"
    return None


def _fault(instance: ViewInstance, facts: HostFacts) -> str | None:
    name = instance.interface
    if not _NAME.fullmatch(name):
        return f"{name!r} is no interface name"
    if name in facts.own_interfaces:
        return f"{name} is an interface of the host itself"
    if not facts.is_port(name):
        return f"{name} does not match {facts.ports}, the pattern that keeps ports closed before the agent starts"
    if not _MAC.fullmatch(instance.mac):
        return f"{instance.mac!r} is no unicast MAC address"
    return None


def _shared(instances: Iterable[ViewInstance]) -> dict[InstanceId, str]:
    """Instances that claim what another claims too. Nobody here knows whose it is, so all of them are closed."""
    faults: dict[InstanceId, str] = {}
    instances = list(instances)
    for what in ("interface", "mac", "private_ip"):
        count = Counter(getattr(instance, what) for instance in instances)
        for instance in instances:
            value = getattr(instance, what)
            if count[value] > 1:
                others = [other.id for other in instances if getattr(other, what) == value and other is not instance]
                faults.setdefault(instance.id, f"{value} is claimed by {', '.join(others)} too")
    return faults
