"""The view of one node: what it must realise, and nothing else.

    view {"schema": 1, "node": "nc-1", "host": {"address", "gateway_mode"}, "network": {…, "private_ranges"},
          "zone": {"name", …}, "instances": {"i-…": {…, "node", "elastic_ip"}}, "groups": {"sg-…": {…}},
          "members": {"sg-…": ["10.0.0.5", …]}}

`root_digest` says which content a view has; `View.parse` reads one into values. The digest is taken over the JSON values
as they travel, so a reader that knows fewer fields than the writer still agrees with it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final, Literal, NewType

import orjson

from verge.contract.digest import Digest, fold, leaf
from verge.contract.members import Members
from verge.contract.rule import GroupId, Rule

SCHEMA: Final = 1

InstanceId = NewType("InstanceId", str)
NodeName = NewType("NodeName", str)
Mac = NewType("Mac", str)
"""Six lower-case hex octets with colons."""
Interface = NewType("Interface", str)

GatewayMode = Literal["impersonate", "node", "router", "proxy"]
Range = tuple[IPv4Address, IPv4Address]
"""Inclusive."""


class ViewInvalid(Exception):
    """This is no view that this code can read; `pointer` is the JSON pointer (RFC 6901) of what is wrong."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(f"{pointer or '/'}: {message}")
        self.pointer = pointer
        self.message = message


@dataclass(frozen=True, slots=True)
class ViewHost:
    """The node itself."""

    address: IPv4Address
    """Its own, on the network of the components."""
    gateway_mode: GatewayMode


@dataclass(frozen=True, slots=True)
class Metadata:
    """Where 169.254.169.254:80 leads, and as whom an instance gets there."""

    host: IPv4Address
    port: int
    identity: Literal["elastic", "private"]


@dataclass(frozen=True, slots=True)
class ViewNetwork:
    """What holds for the whole cloud."""

    dns_servers: tuple[IPv4Address, ...]
    dns_domain: str
    metadata: Metadata | None
    public_ips: tuple[Range, ...]
    private_ranges: tuple[Range, ...]
    """The pools of all zones and the extra private subnets, merged and ascending."""
    mtu: int | None
    additional_protocols: tuple[int, ...]
    same_group_traffic: Literal["rules", "allow"]
    private_nat: Literal["none", "masquerade"]
    revoke: Literal["cut", "drain"]
    vm_to_host: Literal["deny", "allow"]
    host_to_vm: Literal["allow", "deny"]


@dataclass(frozen=True, slots=True)
class ViewZone:
    name: str
    subnet: IPv4Network
    gateway: IPv4Address


@dataclass(frozen=True, slots=True)
class ViewInstance:
    id: InstanceId
    mac: Mac
    private_ip: IPv4Address
    elastic_ip: IPv4Address | None
    interface: Interface
    groups: tuple[GroupId, ...]
    account: str
    node: NodeName | None
    """Which node has its port open. Another that sees it prepares the port and keeps it closed: it is migrating there."""


@dataclass(frozen=True, slots=True)
class ViewGroup:
    id: GroupId
    ingress: tuple[Rule, ...]
    egress: tuple[Rule, ...] | None
    """None allows everything out."""


@dataclass(frozen=True, slots=True)
class View:
    node: NodeName
    host: ViewHost
    network: ViewNetwork
    zone: ViewZone
    instances: Mapping[InstanceId, ViewInstance]
    groups: Mapping[GroupId, ViewGroup]
    members: Mapping[GroupId, Members]
    digest: str
    """As an ETag carries it: the first 32 hex digits of the root digest."""
    wire: "Wire" = field(compare=False, repr=False)
    """What the values were read from; unchanged parts are shared between versions."""

    @classmethod
    def parse(cls, wire: Any) -> "View":
        """From the JSON of a whole view. Raises ViewInvalid."""
        if not isinstance(wire, dict):
            raise ViewInvalid("", "a view is a JSON object")
        if wire.get("schema") != SCHEMA:
            raise ViewInvalid("/schema", f"this code reads schema {SCHEMA}, not {wire.get('schema')!r}")
        node = at("/node", _text, wire.get("node"))
        parts = {name: wire.get(name) for name in PARTS}
        objects = {name: mapping(wire, name) for name in SECTIONS}
        members = {GroupId(name): read_members(name, texts) for name, texts in mapping(wire, "members").items()}
        leaves = {name: {key: leaf(value) for key, value in found.items()} for name, found in objects.items()}
        return cls.of(
            Wire(node, parts, {name: leaf(value) for name, value in parts.items()}, objects, leaves),
            host=read_part("host", parts["host"]),
            network=read_part("network", parts["network"]),
            zone=read_part("zone", parts["zone"]),
            instances={
                InstanceId(key): read_object("instances", key, one) for key, one in objects["instances"].items()
            },
            groups={GroupId(key): read_object("groups", key, one) for key, one in objects["groups"].items()},
            members=members,
        )

    @classmethod
    def of(  # one argument for each part of a view
        cls,
        wire: "Wire",
        host: ViewHost,
        network: ViewNetwork,
        zone: ViewZone,
        instances: Mapping[InstanceId, ViewInstance],
        groups: Mapping[GroupId, ViewGroup],
        members: Mapping[GroupId, Members],
    ) -> "View":
        """From parts that were read already. The digest is folded anew from the leaves; nothing is hashed twice."""
        digests = Digests(
            host=wire.part_leaves["host"],
            network=wire.part_leaves["network"],
            zone=wire.part_leaves["zone"],
            instances=fold(wire.leaves["instances"].items()),
            groups=fold(wire.leaves["groups"].items()),
            members=fold((name, value.digest) for name, value in members.items()),
        )
        return cls(
            NodeName(wire.node), host, network, zone, instances, groups, members, root_digest(wire.node, digests), wire
        )

    def to_bytes(self) -> bytes:
        """The whole view as JSON: what `parse` read, or would have read had it come whole."""
        whole: dict[str, Any] = {"schema": SCHEMA, "node": self.wire.node, **self.wire.parts, **self.wire.objects}
        whole["members"] = {name: orjson.Fragment(value.json) for name, value in self.members.items()}
        return orjson.dumps(whole)


PARTS: Final = ("host", "network", "zone")
"""The parts of a view that are one value."""
SECTIONS: Final = ("instances", "groups")
"""The parts that are objects by id; `members`, sets by group, is the one part of its kind."""


@dataclass(frozen=True, slots=True)
class Wire:
    """A view's JSON values and their digests, without the members."""

    node: str
    parts: Mapping[str, Any]
    part_leaves: Mapping[str, Digest]
    objects: Mapping[str, Mapping[str, Any]]
    """By section, then by id."""
    leaves: Mapping[str, Mapping[str, Digest]]


@dataclass(frozen=True, slots=True)
class Digests:
    """One digest for each part of a view: `members` and the sections of objects are folds, the rest are leaves."""

    host: Digest
    network: Digest
    zone: Digest
    instances: Digest
    groups: Digest
    members: Digest


def root_digest(node: str, parts: Digests) -> str:
    """The Merkle root of a view's content for this node and schema, as an ETag carries it. Never of the version: a
    node whose content returns to what it was gets a new version and the old digest."""
    return fold(
        [
            ("schema", _SCHEMA_LEAF),
            ("node", leaf(node)),
            ("host", parts.host),
            ("network", parts.network),
            ("zone", parts.zone),
            ("instances", parts.instances),
            ("groups", parts.groups),
            ("members", parts.members),
        ]
    ).hex()[:32]


_SCHEMA_LEAF: Final = leaf(SCHEMA)


def parse_ranges(texts: Iterable[str]) -> tuple[Range, ...]:
    """`"10.0.0.5"` or `"10.0.0.5-10.0.0.9"`, inclusive. Raises ValueError."""
    ranges = []
    for text in texts:
        low, dash, high = text.partition("-")
        pair = (IPv4Address(low), IPv4Address(high if dash else low))
        if pair[0] > pair[1]:
            raise ValueError(f"{text!r} ends before it begins")
        ranges.append(pair)
    return tuple(ranges)


def format_range(pair: Range) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}-{pair[1]}"


def mapping(wire: Mapping[str, Any], name: str, pointer: str = "") -> dict[str, Any]:
    """An object within an object. Raises ViewInvalid."""
    value = wire.get(name)
    if not isinstance(value, dict):
        raise ViewInvalid(f"{pointer}/{name}", "must be an object")
    return value


def at(pointer: str, read: Any, *values: Any) -> Any:
    """Read one part; what is wrong with it becomes ViewInvalid with that part's pointer."""
    try:
        return read(*values)
    except KeyError as absent:
        raise ViewInvalid(pointer, f"lacks {absent}") from absent
    except (ValueError, TypeError, AttributeError) as wrong:
        raise ViewInvalid(pointer, str(wrong)) from wrong


def read_part(name: str, wire: Any) -> Any:
    """One of PARTS. Raises ViewInvalid."""
    return at(f"/{name}", {"host": _host, "network": _network, "zone": _zone}[name], wire)


def read_object(section: str, key: str, wire: Any) -> Any:
    """One object of SECTIONS. Raises ViewInvalid."""
    return at(f"/{section}/{key}", {"instances": _instance, "groups": _group}[section], wire, key)


def read_members(group: str, texts: Any) -> Members:
    """Raises ViewInvalid."""
    members: Members = at(f"/members/{group}", Members.parse, texts)
    return members


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be text")
    return value


def _host(wire: dict[str, Any]) -> ViewHost:
    return ViewHost(IPv4Address(_text(wire["address"])), wire["gateway_mode"])


def _network(wire: dict[str, Any]) -> ViewNetwork:
    metadata = wire["metadata"]
    return ViewNetwork(
        dns_servers=tuple(IPv4Address(_text(server)) for server in wire["dns_servers"]),
        dns_domain=wire["dns_domain"],
        metadata=metadata
        and Metadata(IPv4Address(_text(metadata["host"])), int(metadata["port"]), metadata["identity"]),
        public_ips=parse_ranges(wire["public_ips"]),
        private_ranges=parse_ranges(wire["private_ranges"]),
        mtu=wire["mtu"],
        additional_protocols=tuple(wire["additional_protocols"]),
        same_group_traffic=wire["same_group_traffic"],
        private_nat=wire["private_nat"],
        revoke=wire["revoke"],
        vm_to_host=wire["vm_to_host"],
        host_to_vm=wire["host_to_vm"],
    )


def _zone(wire: dict[str, Any]) -> ViewZone:
    return ViewZone(_text(wire["name"]), IPv4Network(wire["subnet"]), IPv4Address(_text(wire["gateway"])))


def _instance(wire: dict[str, Any], name: str) -> ViewInstance:
    elastic = wire["elastic_ip"]
    return ViewInstance(
        id=InstanceId(name),
        mac=Mac(_text(wire["mac"])),
        private_ip=IPv4Address(_text(wire["private_ip"])),
        elastic_ip=None if elastic is None else IPv4Address(_text(elastic)),
        interface=Interface(_text(wire["interface"])),
        groups=tuple(GroupId(_text(group)) for group in wire["groups"]),
        account=wire["account"],
        node=None if wire["node"] is None else NodeName(_text(wire["node"])),
    )


def _group(wire: dict[str, Any], name: str) -> ViewGroup:
    egress = wire["egress"]
    return ViewGroup(
        id=GroupId(name),
        ingress=tuple(Rule.from_wire(rule) for rule in wire["ingress"]),
        egress=None if egress is None else tuple(Rule.from_wire(rule) for rule in egress),
    )
