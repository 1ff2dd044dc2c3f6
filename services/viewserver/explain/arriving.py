"""What the destination's node makes of a packet, whoever sent it, as it comes by there.

elastic IP ─▶ its instance ─▶ the host's own, or ingress rules ─▶ the port
"""

from __future__ import annotations

from ipaddress import IPv4Address

from verge.contract.rule import ICMP
from viewserver.compile.view import NO_SETTINGS
from viewserver.explain.judging import ingress, peer_of
from viewserver.explain.leaving import is_host, private_to, why_closed
from viewserver.explain.question import ECHO, End, Message, is_separate, node_of
from viewserver.explain.stages import Part, Record
from viewserver.model.network import Network


def to_instance(
    network: Network, node: str | None, name: str, source: End, destination: End, message: Message, seen: IPv4Address
) -> Part:
    """`seen` is the source address that the packet comes with."""
    instance = network.instance(name)
    record = Record(node, seen, facts={("instance", name), ("network", "network")})
    if destination.by_elastic:
        record.facts.add(("elastic_ip", str(destination.address)))
    if instance is None:
        return record.drops("port", f"there is no {name}, so no port of its own is open")
    closed = why_closed(network, name, instance, node)
    if closed is not None or node is None:
        return record.drops("port", closed or f"{name} is placed on no node")
    record.facts |= {("node", node), ("zone", node_of(network, node).zone)}
    if instance.migrating_to is not None:
        record.notes.append(
            f"{name} is migrating to {instance.migrating_to}, where its port is closed until the cut-over"
        )
    if destination.by_elastic and not _translated(network, record, name, source, destination, message):
        return record.part()
    if not destination.by_elastic and destination.address != instance.private_ip:
        return record.drops("nobody", f"{name} has {instance.private_ip} there, not {destination.address}")
    settings = network.settings or NO_SETTINGS
    if source.kind == "node" and source.name == node and settings.host_to_vm == "allow":
        if message.begins_a_flow:
            record.passes("host", f"{node} is its own host, and host_to_vm is allow")
            return record.part()
        record.notes.append(f"host_to_vm lets flows of {node} in: {message} begins none, so it is judged by rules")
    _by_private_address(network, record, node, source, destination)
    if record.judges("ingress", ingress(network, name, instance, peer_of(network, seen), message)):
        record.passes("port", f"delivered to {instance.private_ip} by {instance.port}")
    return record.part()


def _translated(network: Network, record: Record, name: str, source: End, destination: End, message: Message) -> bool:
    node, address = record.node, str(destination.address)
    assert node is not None
    if not message.begins_a_flow:
        record.drops("translation", f"{message} begins no flow, so it is not translated: it gets to no elastic IP")
        return False
    elastic = network.elastic_ip(address)
    if elastic is None or elastic.instance != name:
        has = f"{elastic.instance} has it" if elastic and elastic.instance else "nobody has it"
        record.drops("nobody", f"{address} is not {name}'s: {has}")
        return False
    fence = network.fenced.get(address)
    if fence is not None:
        why = (
            f"{node} gets it when {fence.node} has reported that it gave it up (withdrawn at revision {fence.revision})"
        )
        record.drops("translation", f"{address} is held back: {why}")
        return False
    if (
        source.kind in ("outside", "vacant")
        and is_separate(network, node)
        and private_to(network, node, source.address)
    ):
        record.drops("spoofing", f"{source.address} is private: on the public network it cannot be told from a spoof")
        return False
    instance = network.instance(name)
    assert instance is not None
    record.translates(f"{address} is {name}'s: it goes on to {instance.private_ip}")
    return True


def _by_private_address(network: Network, record: Record, node: str, source: End, destination: End) -> None:
    """On separate networks: what is not known here, and what the network between must do for it."""
    if destination.by_elastic or source.kind == "instance" or not is_separate(network, node):
        return
    if source.kind == "node":
        record.notes.append(
            f"rules see {source.name}'s address on the private network, which is not known here; taken to be {source.address}"
        )
    if source.name != node:
        record.notes.append(f"by the private network only: on {node}'s public side private addresses are dropped")


def to_node(network: Network, name: str, source: End, destination: End, message: Message, seen: IPv4Address) -> Part:
    """`source` is an instance: what anybody else sends a node is not Verge's to judge."""
    record = Record(name, seen, facts={("node", name), ("network", "network")})
    settings = network.settings or NO_SETTINGS
    assert source.name is not None
    instance = network.instance(source.name)
    is_own = instance is not None and instance.node == name
    if instance is not None and seen != instance.private_ip and network.effective_elastic_ip(source.name) != str(seen):
        record.passes(
            "host", f"{seen} is a node's address: {name} cannot tell that {source.name} is behind it (masquerade)"
        )
    elif not is_own and is_separate(network, name) and private_to(network, name, seen):
        record.drops("spoofing", f"{seen} is private: on the public network it cannot be told from a spoof")
    elif is_host(network, name, destination) and message == Message(ICMP, ECHO):
        record.passes("host", f"{name} is {source.name}'s first hop, which answers pings")
    elif settings.vm_to_host == "allow":
        record.passes("host", "vm_to_host is allow")
    else:
        record.drops("host", "vm_to_host is deny: of a node, instances reach DHCP and a ping of their first hop only")
    return record.part()
