"""May the first packet of a flow pass? Rows 7 to 14 and 24 of the outcomes, and "Objects" of the contract.

Source and destination are each an instance's id, a node's name, or an address; one that is an elastic IP of the cloud means
the instance that has it. Replies pass with their flow and are not asked about.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from tests.oracle.message import ICMP, NAMES, TCP, UDP, Message
from tests.oracle.objects import Cloud, Value


def passes(cloud: Cloud, source: str, destination: str, message: Message) -> bool:
    """Both ends must agree: the source may send it, and the destination may get it."""
    return may_send(cloud, source, destination, message) and may_get(cloud, source, destination, message)


def may_send(cloud: Cloud, source: str, destination: str, message: Message) -> bool:
    """Whoever is no instance may send anything. Egress rules see the destination as the instance wrote it."""
    if source not in cloud.instances:
        return True
    if not is_placed(cloud, source):
        return False  # a port that no view names is closed both ways
    if destination in cloud.nodes and cloud.settings.get("vm_to_host", "deny") == "deny":
        return False
    groups = groups_of(cloud, source)
    if not groups or any(group.get("egress") is None for group in groups):
        return True  # null in any of them, or no group at all, allows all
    known_as = address_of(cloud, destination)
    return any(_allows(cloud, rule, known_as, message) for group in groups for rule in group["egress"])


def may_get(cloud: Cloud, source: str, destination: str, message: Message) -> bool:
    """Whoever is no instance may get anything. Ingress rules see the source as the instance sees it."""
    instance = holder_of(cloud, destination)
    if instance is None:
        return True
    if not is_placed(cloud, instance):
        return False
    host = cloud.instances[instance]["node"]
    if source == host and cloud.settings.get("host_to_vm", "allow") == "allow":
        return True
    seen_as = source_seen(cloud, source, destination)
    groups = groups_of(cloud, instance)
    if cloud.settings.get("same_group_traffic", "rules") == "allow" and any(
        seen_as in members(cloud, group) for group in cloud.instances[instance]["groups"]
    ):
        return True
    return any(_allows(cloud, rule, seen_as, message) for group in groups for rule in group.get("ingress", ()))


def holder_of(cloud: Cloud, end: str) -> str | None:
    """The instance that is meant; None where it is none."""
    if end in cloud.elastic_ips:
        held: str | None = cloud.elastic_ips[end]["instance"]
        return held
    return end if end in cloud.instances else None


def source_seen(cloud: Cloud, source: str, destination: str) -> IPv4Address:
    """Row 11: private addresses stay what they are towards each other; towards an elastic IP a source shows its own, if it
    has one, else its node's under masquerade or where elastic IPs are on another network than it."""
    if source not in cloud.instances or destination not in cloud.elastic_ips:
        return address_of(cloud, source)
    own = elastic_of(cloud, source)
    if own is not None:
        return own
    node = cloud.instances[source]["node"]
    subnet = cloud.zones[cloud.nodes[node]["zone"]]["subnet"]
    is_separate = IPv4Address(destination) not in IPv4Network(subnet)
    if is_separate or cloud.settings.get("private_nat", "none") == "masquerade":
        return address_of(cloud, node)
    return address_of(cloud, source)


def elastic_of(cloud: Cloud, instance: str) -> IPv4Address | None:
    return next((IPv4Address(ip) for ip, value in cloud.elastic_ips.items() if value["instance"] == instance), None)


def members(cloud: Cloud, group: str) -> set[IPv4Address]:
    """Placed instances, by private and by elastic address."""
    placed = [one for one, value in cloud.instances.items() if group in value["groups"] and is_placed(cloud, one)]
    return {address_of(cloud, one) for one in placed} | {
        elastic for one in placed if (elastic := elastic_of(cloud, one)) is not None
    }


def is_placed(cloud: Cloud, instance: str) -> bool:
    return cloud.instances[instance]["node"] is not None


def groups_of(cloud: Cloud, instance: str) -> list[Value]:
    return [cloud.groups[group] for group in cloud.instances[instance]["groups"]]


def address_of(cloud: Cloud, end: str) -> IPv4Address:
    if end in cloud.instances:
        return IPv4Address(cloud.instances[end]["private_ip"])
    if end in cloud.nodes:
        return IPv4Address(cloud.nodes[end]["address"])
    return IPv4Address(end)


def _allows(cloud: Cloud, rule: Value, peer: IPv4Address, message: Message) -> bool:
    return _names(cloud, rule, peer) and _means(rule, message)


def _names(cloud: Cloud, rule: Value, peer: IPv4Address) -> bool:
    """Is this the rule's peer?"""
    return peer in IPv4Network(rule["cidr"]) if "cidr" in rule else peer in members(cloud, rule["group"])


def _means(rule: Value, message: Message) -> bool:
    """Is this message of the rule's kind? What a rule leaves out is any."""
    if rule["protocol"] == "all":
        return True
    protocol = NAMES.get(rule["protocol"], rule["protocol"])
    if protocol != message.protocol:
        return False
    if protocol in (TCP, UDP):
        return bool(rule.get("from_port", 0) <= message.first <= rule.get("to_port", 65535))
    if protocol == ICMP:
        return bool(
            rule.get("icmp_type", message.first) == message.first
            and rule.get("icmp_code", message.second) == message.second
        )
    return True
