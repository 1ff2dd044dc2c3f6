"""May the first packet of a flow pass? Rows 7 to 9, 13, 14 and 24 of the outcomes, and "Objects" of the contract.

Source and destination are each an instance's id, a node's name, or an address outside the cloud. Instances are known by
their private addresses: elastic IPs are not modelled here. Replies pass with their flow and are not asked about.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from tests.oracle.message import ICMP, NAMES, TCP, UDP, Message
from tests.oracle.objects import Cloud, Value


def passes(cloud: Cloud, source: str, destination: str, message: Message) -> bool:
    """Both ends must agree: the source may send it, and the destination may get it."""
    return may_send(cloud, source, destination, message) and may_get(cloud, source, destination, message)


def may_send(cloud: Cloud, source: str, destination: str, message: Message) -> bool:
    """Whoever is no instance may send anything."""
    if source not in cloud.instances:
        return True
    if not is_placed(cloud, source):
        return False  # a port that no view names is closed both ways
    if destination in cloud.nodes and cloud.settings.get("vm_to_host", "deny") == "deny":
        return False
    groups = groups_of(cloud, source)
    if not groups or any(group.get("egress") is None for group in groups):
        return True  # null in any of them, or no group at all, allows all
    return any(_allows(cloud, rule, destination, message) for group in groups for rule in group["egress"])


def may_get(cloud: Cloud, source: str, destination: str, message: Message) -> bool:
    """Whoever is no instance may get anything."""
    if destination not in cloud.instances:
        return True
    if not is_placed(cloud, destination):
        return False
    host = cloud.instances[destination]["node"]
    if source == host and cloud.settings.get("host_to_vm", "allow") == "allow":
        return True
    if cloud.settings.get("same_group_traffic", "rules") == "allow" and _share_a_group(cloud, source, destination):
        return True
    groups = groups_of(cloud, destination)
    return any(_allows(cloud, rule, source, message) for group in groups for rule in group.get("ingress", ()))


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


def _share_a_group(cloud: Cloud, one: str, other: str) -> bool:
    if one not in cloud.instances or not is_placed(cloud, one):
        return False
    return bool(set(cloud.instances[one]["groups"]) & set(cloud.instances[other]["groups"]))


def _allows(cloud: Cloud, rule: Value, peer: str, message: Message) -> bool:
    return _names(cloud, rule, peer) and _means(rule, message)


def _names(cloud: Cloud, rule: Value, peer: str) -> bool:
    """Is this the rule's peer? The members of a group are its placed instances."""
    if "cidr" in rule:
        return address_of(cloud, peer) in IPv4Network(rule["cidr"])
    return peer in cloud.instances and is_placed(cloud, peer) and rule["group"] in cloud.instances[peer]["groups"]


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
