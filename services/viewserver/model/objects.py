"""The six kinds of object a cloud writes, keyed by id; the value does not repeat its key.

One definition serves parsing, the OpenAPI description, comparison and storage: a value in its normal form (`to_wire`) is
what Postgres keeps, what `GET /v1/model` shows and what digests are taken of. Normal: MACs in lower case, rules and
groups as sorted sets, absent fields filled with their defaults.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, StrictInt, TypeAdapter
from pydantic.dataclasses import dataclass

from verge.contract.view import GatewayMode
from viewserver.model.rules import Rules
from viewserver.model.text import (
    Account,
    Cidr,
    Domain,
    HostName,
    Id,
    InterfaceName,
    IPv4,
    IPv4Range,
    MacAddress,
    MacPrefix,
    Port,
    Text,
)

_CLOSED = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, config=_CLOSED)
class Metadata:
    """The metadata service that 169.254.169.254:80 leads to."""

    host: IPv4
    port: Port = 8773
    identity: Literal["elastic", "private"] = "elastic"


@dataclass(frozen=True, slots=True, config=_CLOSED)
class Settings:
    """What holds for the whole network (kind `network`, id `network`)."""

    dns_servers: tuple[IPv4, ...]
    public_ips: tuple[IPv4Range, ...]
    """The pool of elastic IPs."""
    dns_domain: Domain = "eucalyptus.internal"
    metadata: Metadata | None = None
    subnets: tuple[Cidr, ...] = ()
    """Private networks beside the zones' own: reached with the private address."""
    mac_prefix: MacPrefix = "d0:0d"
    mtu: Annotated[StrictInt, Field(ge=576, le=65535)] | None = None
    additional_protocols: tuple[Annotated[StrictInt, Field(ge=0, le=255)], ...] = ()
    same_group_traffic: Literal["rules", "allow"] = "rules"
    private_nat: Literal["none", "masquerade"] = "none"
    revoke: Literal["cut", "drain"] = "cut"
    vm_to_host: Literal["deny", "allow"] = "deny"
    host_to_vm: Literal["allow", "deny"] = "allow"
    gateway_mode: GatewayMode = "impersonate"
    address_lease_s: Annotated[StrictInt, Field(ge=0, le=86400)] = 0


@dataclass(frozen=True, slots=True, config=_CLOSED)
class Zone:
    subnet: Cidr
    gateway: IPv4
    private_ips: tuple[IPv4Range, ...]
    """The pool of private IPs."""
    mac_prefix: MacPrefix | None = None


@dataclass(frozen=True, slots=True, config=_CLOSED)
class Node:
    zone: Id
    address: IPv4
    """Its own, on the network of the components."""
    gateway_mode: GatewayMode | None = None
    """None: the network's."""


@dataclass(frozen=True, slots=True, config=_CLOSED)
class SecurityGroup:
    name: Text
    account: Account
    ingress: Rules = ()
    egress: Rules | None = None
    """None allows everything out."""


@dataclass(frozen=True, slots=True, config=_CLOSED)
class Instance:
    node: HostName | None
    """None: not placed; then `zone` says where its address belongs."""
    mac: MacAddress
    private_ip: IPv4
    groups: tuple[Id, ...]
    account: Account
    zone: Id | None = None
    interface: InterfaceName | None = None
    """None when it arrives; the normal form names it."""
    migrating_to: HostName | None = None
    """Where its port is prepared, and closed until the cut-over: the update that makes this its `node`."""

    @property
    def port(self) -> str:
        """The interface, of a normal instance."""
        assert self.interface is not None
        return self.interface


@dataclass(frozen=True, slots=True, config=_CLOSED)
class ElasticIp:
    instance: Id | None = None


@dataclass(frozen=True, slots=True, config=_CLOSED)
class Withdrawal:
    """An address (the id) left a node, which may not have given it up yet. Written by the server beside a cloud's own
    objects, in the same change; `model.fences` has the rules."""

    node: str
    """Who held it."""
    revision: int
    """The change that took it from that node."""
    fence: int | None = None
    """The change that gave it to another node, which must wait; None while nobody does."""
    cut_over: bool = False
    """It went with its instance to the node that the instance was migrating to, where all but the port's opening is done."""


Kind = Literal["network", "zone", "node", "group", "instance", "elastic_ip", "withdrawal"]
Object = Settings | Zone | Node | SecurityGroup | Instance | ElasticIp | Withdrawal
Key = tuple[Kind, str]

CLASSES: Final[dict[Kind, type[Object]]] = {
    "network": Settings,
    "zone": Zone,
    "node": Node,
    "group": SecurityGroup,
    "instance": Instance,
    "elastic_ip": ElasticIp,
}
"""The kinds a cloud writes, in the order in which a network can be built up: what is referred to comes first."""

THE_NETWORK: Final = "network"
"""The id of the one object of kind `network`."""


@lru_cache
def adapter(kind: Kind) -> TypeAdapter[Any]:
    """The kind's parser and serializer. Raises pydantic's ValidationError when used on bad values."""
    return TypeAdapter(Withdrawal if kind == "withdrawal" else CLASSES[kind])


def normal(key: str, value: Object) -> Object:
    """The value's normal form under this id."""
    if isinstance(value, Instance):
        return replace(
            value, groups=tuple(sorted(set(value.groups))), interface=value.interface or default_interface(key)
        )
    return value


def default_interface(instance: str) -> str:
    """`vn_` and the id cut after eight characters behind `i-`, the name Eucalyptus gives the port."""
    return f"vn_{instance[:10]}"


def to_wire(kind: Kind, value: Object) -> dict[str, Any]:
    """The normal form as JSON values."""
    wire: dict[str, Any] = adapter(kind).dump_python(value, mode="json")
    return wire


def from_wire(kind: Kind, wire: Any) -> Object:
    """Back from `to_wire`. Raises pydantic's ValidationError."""
    value: Object = adapter(kind).validate_python(wire)
    return value
