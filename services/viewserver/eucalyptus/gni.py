"""Global network information, the document that a Eucalyptus controller broadcasts to its nodes, as values.

    network-data > configuration > property[@name] > value …          properties are found by name; `type` and versions,
                                   property clusters > cluster >       which dialects have or lack, decide nothing
                                       subnet, property nodes > node > instanceIds > value
                 > instances > instance > ownerId, macAddress, publicIp, privateIp, securityGroups > value
                 > securityGroups > securityGroup > ownerId, ingressRules > rule

Only the shape is judged here: everything is still text, and stays with the path at which it was found. What the document
has and EDGE's nodes never read is told once for each kind of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from xml.etree import ElementTree as ET

from viewserver.model.faults import Fault, Pointer

CONFIGURATION: Final = ("network-data", "configuration")
VALUES: Final = {
    "mode", "publicIps", "enabledCLCIp", "instanceDNSDomain", "instanceDNSServers", "publicGateway",
}  # fmt: skip
"""Properties of the configuration that are one value or more."""
RULE: Final = ("protocol", "fromPort", "toPort", "icmpType", "icmpCode", "cidr", "groupId")


@dataclass(frozen=True, slots=True)
class Subnet:
    at: Pointer
    subnet: str | None
    netmask: str | None
    gateway: str | None


@dataclass(frozen=True, slots=True)
class Node:
    at: Pointer
    name: str
    instances: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cluster:
    at: Pointer
    name: str
    subnet: Subnet | None
    mac_prefix: str | None
    private_ips: tuple[str, ...]
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Instance:
    at: Pointer
    name: str
    fields: dict[str, str]
    """ownerId, macAddress, publicIp, privateIp: those that are there and not empty."""
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RuleStated:
    at: Pointer
    fields: dict[str, str]
    """Those of RULE that are there and not empty."""


@dataclass(frozen=True, slots=True)
class Group:
    at: Pointer
    name: str
    owner: str | None
    ingress: tuple[RuleStated, ...]
    egress: int
    """How many egress rules it has."""


@dataclass(slots=True)
class Information:
    values: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Of the configuration, by property."""
    subnets: list[Subnet] = field(default_factory=list)
    clusters: list[Cluster] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)


def read(root: ET.Element) -> Information:
    """Never raises: what is wrong is in `faults`."""
    reading = _Reading()
    if root.tag != "network-data":
        reading.fault((root.tag,), "is no global network information: that begins with network-data")
    else:
        reading.document(root)
    return reading.found


class _Reading:
    def __init__(self) -> None:
        self.found = Information()
        self._strange: set[tuple[str, str]] = set()

    def fault(self, at: Pointer, message: str) -> None:
        self.found.faults.append(Fault(at, message))

    def document(self, root: ET.Element) -> None:
        at: Pointer = ("network-data",)
        sections = {"configuration", "vpcs", "instances", "dhcpOptionSets", "internetGateways", "securityGroups"}
        self._only(root, sections, at)
        for vpc in ("vpcs", "dhcpOptionSets", "internetGateways"):
            found = root.find(vpc)
            if found is not None and len(found):
                self.fault((*at, vpc), "must be empty: Verge has EDGE's flat networks, no VPC")
        configuration = root.find("configuration")
        if configuration is None:
            self.fault((*at, "configuration"), "is missing")
        else:
            self._configuration(configuration)
        for name in ("instances", "securityGroups"):
            if root.find(name) is None:
                self.fault((*at, name), "is missing; an empty one says that there are none")
        for here, element in _each(root.find("instances"), "instance", (*at, "instances")):
            self._instance(element, here)
        for here, element in _each(root.find("securityGroups"), "securityGroup", (*at, "securityGroups")):
            self._group(element, here)

    # --- configuration ---

    def _configuration(self, element: ET.Element) -> None:
        for name, one in self._properties(element, CONFIGURATION).items():
            at = (*CONFIGURATION, _named("property", name))
            if name in VALUES:
                self.found.values[name] = _values(one)
            elif name == "subnets":
                self.found.subnets += [self._subnet(inner, here) for here, inner in _each(one, "subnet", at)]
            elif name == "clusters":
                for here, inner in _each(one, "cluster", at):
                    self._cluster(inner, here)
            elif len(one):
                self._strange_once(CONFIGURATION[-1], name, at)
        mode = self.found.values.get("mode") or ("EDGE",)
        if mode != ("EDGE",):
            at = (*CONFIGURATION, _named("property", "mode"))
            self.fault(at, f"must be EDGE, not {' '.join(mode)!r:.80}: Verge has no other mode")

    def _subnet(self, element: ET.Element, at: Pointer) -> Subnet:
        properties = self._properties(element, at)
        texts = [_values(properties.get(name))[:1] for name in ("subnet", "netmask", "gateway")]
        return Subnet(at, *(text[0] if text else None for text in texts))

    def _cluster(self, element: ET.Element, at: Pointer) -> None:
        name = self._name(element, at)
        properties = self._properties(element, at)
        for strange in properties.keys() - {"enabledCCIp", "macPrefix", "privateIps", "nodes"}:
            self._strange_once("cluster", strange, (*at, _named("property", strange)))
        subnets = [self._subnet(inner, here) for here, inner in _each(element, "subnet", at)]
        prefix = _values(properties.get("macPrefix"))
        nodes = []
        for here, inner in _each(properties.get("nodes"), "node", (*at, _named("property", "nodes"))):
            node = self._name(inner, here)
            self._only(inner, {"instanceIds"}, here)
            if node is not None:
                nodes.append(Node(here, node, _values(inner.find("instanceIds"))))
        if name is not None:
            subnet = subnets[0] if subnets else None
            ranges = _values(properties.get("privateIps"))
            self.found.clusters.append(Cluster(at, name, subnet, prefix[0] if prefix else None, ranges, tuple(nodes)))

    # --- instances and groups ---

    def _instance(self, element: ET.Element, at: Pointer) -> None:
        name = self._name(element, at)
        texts = ("ownerId", "macAddress", "publicIp", "privateIp")
        self._only(element, {*texts, "vpc", "subnet", "networkInterfaces", "securityGroups"}, at)
        for vpc in ("vpc", "subnet", "networkInterfaces"):
            found = element.find(vpc)
            if found is not None and (len(found) or _text(found)):
                self.fault((*at, vpc), "must be empty: Verge has EDGE's flat networks, no VPC")
        if name is not None:
            groups = _values(element.find("securityGroups"))
            self.found.instances.append(Instance(at, name, self._texts(element, texts, at), groups))

    def _group(self, element: ET.Element, at: Pointer) -> None:
        name = self._name(element, at)
        self._only(element, {"ownerId", "ingressRules", "egressRules", "rules"}, at)
        old = element.find("rules")
        if old is not None and len(old):
            self.fault(
                (*at, "rules"), "are command-line strings, as Eucalyptus 4.0 wrote them; only ingressRules are read"
            )
        ingress = []
        for here, rule in _each(element.find("ingressRules"), "rule", (*at, "ingressRules")):
            self._only(rule, {*RULE, "groupOwnerId"}, here)
            ingress.append(RuleStated(here, self._texts(rule, RULE, here)))
        egress = element.find("egressRules")
        if name is not None:
            owner = self._texts(element, ("ownerId",), at).get("ownerId")
            count = len(egress) if egress is not None else 0
            self.found.groups.append(Group(at, name, owner, tuple(ingress), count))

    # --- shapes ---

    def _name(self, element: ET.Element, at: Pointer) -> str | None:
        name = (element.get("name") or "").strip()
        if not name:
            self.fault((*at, "@name"), f"is missing: nothing says which {element.tag} this is")
        return name or None

    def _properties(self, element: ET.Element, at: Pointer) -> dict[str, ET.Element]:
        found: dict[str, ET.Element] = {}
        for here, one in _each(element, "property", at):
            name = (one.get("name") or "").strip()
            if name in found:
                self.fault(here, "stands twice; which one is meant?")
            elif name:
                found[name] = one
            else:
                self.fault((*here, "@name"), "is missing: nothing says which property this is")
        self._only(element, {"property", "subnet"}, at)
        return found

    def _texts(self, element: ET.Element, names: tuple[str, ...], at: Pointer) -> dict[str, str]:
        """Of its children of these names, those that are not empty."""
        found: dict[str, str] = {}
        for child in element:
            text = _text(child) if child.tag in names else ""
            if child.tag in found and text:
                self.fault((*at, child.tag), "stands twice; which one is meant?")
            elif text:
                found[child.tag] = text
        return found

    def _only(self, element: ET.Element, known: set[str], at: Pointer) -> None:
        for child in element:
            if child.tag not in known:
                self._strange_once(element.tag, child.tag, (*at, child.tag))

    def _strange_once(self, parent: str, name: str, at: Pointer) -> None:
        if (parent, name) not in self._strange:
            self._strange.add((parent, name))
            self.found.warnings.append(Fault(at, "is unknown, and is ignored here and wherever else it stands"))


def _each(parent: ET.Element | None, tag: str, at: Pointer) -> Iterator[tuple[Pointer, ET.Element]]:
    """Children of this tag with their paths: by name where they have one, else by position."""
    number = 0
    for child in parent if parent is not None else ():
        if child.tag == tag:
            number += 1
            name = (child.get("name") or "").strip()
            yield (*at, _named(tag, name) if name else f"{tag}[{number}]"), child


def _named(tag: str, name: str) -> str:
    return f"{tag}[@name='{name}']"


def _values(element: ET.Element | None) -> tuple[str, ...]:
    """Of its `value` children, those that are not empty."""
    return (
        tuple(text for child in element if child.tag == "value" and (text := _text(child)))
        if element is not None
        else ()
    )


def _text(element: ET.Element) -> str:
    return (element.text or "").strip()
