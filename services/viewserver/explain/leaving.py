"""What the source's node makes of a packet that its instance sends.

    the port ─▶ DHCP and metadata, which are the cloud's own ─▶ egress rules ─▶ as whom it goes on

Egress rules see the destination as the instance wrote it, an elastic IP included; the source is translated behind them.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from verge.contract.rule import TCP, UDP
from verge.contract.view import Range
from viewserver.compile.view import NO_SETTINGS, private_ranges
from viewserver.explain.judging import egress, peer_of
from viewserver.explain.question import End, Message, is_separate, node_of
from viewserver.explain.stages import Part, Record
from viewserver.model.network import Network
from viewserver.model.objects import Instance, Settings

DHCP_SERVER = 67


def leaving(network: Network, node: str | None, name: str, destination: End, message: Message) -> Part:
    """`node` is the one that is asked; None for an instance that nowhere has a port."""
    instance = network.instance(name)
    if instance is None:
        record = Record(node, IPv4Address(0), facts={("instance", name)})
        return record.drops("port", f"there is no {name}, so no port of its own is open")
    record = Record(node, instance.private_ip, facts={("instance", name), ("network", "network")})
    closed = why_closed(network, name, instance, node)
    if closed is not None or node is None:
        return record.drops("port", closed or f"{name} is placed on no node")
    record.facts |= {("node", node), ("zone", node_of(network, node).zone)}
    record.passes("port", f"{name} sends as {instance.mac} and {instance.private_ip}, by {instance.port}")
    if instance.migrating_to is not None:
        record.notes.append(
            f"{name} is migrating to {instance.migrating_to}, where its port is closed until the cut-over"
        )
    settings = network.settings or NO_SETTINGS
    if destination.kind == "instance" and destination.address == instance.private_ip:
        record.passes("unjudged", "it is for itself: it never leaves the instance")
    elif message.protocol == UDP and message.first == DHCP_SERVER:
        return record.drops("dhcp", f"only {name}'s own DHCP requests pass, and {node} itself answers them")
    elif destination.kind == "metadata":
        _to_metadata(network, record, name, message, settings)
    elif record.judges("egress", egress(network, name, instance, peer_of(network, destination.address), message)):
        _go_on(network, record, name, instance, destination, message)
    return record.part()


def why_closed(network: Network, name: str, instance: Instance, node: str | None) -> str | None:
    """Why this node lets nothing of the instance's through; None where its port is open there."""
    if instance.node is None:
        return f"{name} is placed on no node: a port that no view names is closed both ways"
    fence = network.fenced.get(str(instance.private_ip))
    if fence is not None:
        moving = "in the midst of its cut-over" if fence.cut_over else "held back"
        return (
            f"{name} is {moving}: {instance.node} gets {instance.private_ip} when {fence.node} has reported that it gave it"
            f" up (withdrawn at revision {fence.revision})"
        )
    if node is not None and instance.node != node:
        return f"{name}'s port is closed on {node}: it is placed on {instance.node}"
    return None


def _to_metadata(network: Network, record: Record, name: str, message: Message, settings: Settings) -> None:
    service = settings.metadata
    if (message.protocol, message.first) != (TCP, 80):
        record.drops("metadata", "of 169.254.169.254 only tcp 80 passes")
    elif service is None:
        record.drops("metadata", "the network names no metadata service")
    else:
        record.passes("metadata", "whatever the egress rules say: the metadata service is the cloud's own")
        record.translates(f"to {service.host} port {service.port}")
        elastic = network.effective_elastic_ip(name)
        if service.identity == "elastic" and elastic is not None:
            _become(record, IPv4Address(elastic), f"as its elastic IP {elastic} (metadata.identity is elastic)")


def _go_on(network: Network, record: Record, name: str, instance: Instance, destination: End, message: Message) -> None:
    """As whom. The kernel looks at the first packet of a flow only, and at no ICMP that begins none."""
    node = record.node
    assert node is not None
    settings, address = network.settings or NO_SETTINGS, node_of(network, node).address
    elastic = network.effective_elastic_ip(name)
    if network.elastic_ip_of.get(name) is not None:
        record.facts.add(("elastic_ip", network.elastic_ip_of[name]))
    if destination.by_elastic and not message.begins_a_flow:
        record.drops("translation", f"{message} begins no flow, so it is not translated: it gets to no elastic IP")
    elif destination.name == node or is_host(network, node, destination):
        record.notes.append(f"{destination.address} is {node} itself: nothing is translated")
    elif not destination.by_elastic and private_to(network, node, destination.address):
        record.passes("translation", f"private addresses stay what they are towards each other: {instance.private_ip}")
    elif not message.begins_a_flow:
        record.passes("translation", f"{message} begins no flow, so it is not translated: {instance.private_ip}")
    elif elastic is not None:
        _become(record, IPv4Address(elastic), f"as its elastic IP {elastic}")
    elif settings.private_nat == "masquerade":
        _become(record, address, f"as {node}'s address {address} (private_nat is masquerade, and it has no elastic IP)")
    elif destination.by_elastic and is_separate(network, node):
        why = "a private source on a separate public network could not be told from a spoof"
        _become(record, address, f"as {node}'s address {address}: it has no elastic IP, and {why}")
    else:
        record.passes("translation", f"it has no elastic IP and private_nat is none: it stays {instance.private_ip}")


def is_host(network: Network, node: str, destination: End) -> bool:
    """Is it the gateway that this node is itself?"""
    found = node_of(network, node)
    zone = network.zone(found.zone)
    mode = found.gateway_mode or (network.settings or NO_SETTINGS).gateway_mode
    return mode == "node" and zone is not None and destination.address == zone.gateway


def private_to(network: Network, node: str, address: IPv4Address) -> bool:
    """Is it an address of instances? A range that holds the host, its gateway or a server is a subnet and no pool."""
    found, settings = node_of(network, node), network.settings or NO_SETTINGS
    zone = network.zone(found.zone)
    others = {found.address, *settings.dns_servers}
    others |= {zone.gateway} if zone else set()
    others |= {settings.metadata.host} if settings.metadata else set()

    def is_pool(pair: Range) -> bool:
        return not any(pair[0] <= other <= pair[1] for other in others)

    return any(low <= address <= high and is_pool((low, high)) for low, high in private_ranges(network))


def _become(record: Record, address: IPv4Address, text: str) -> None:
    record.seen = address
    record.translates(f"it goes on {text}")
