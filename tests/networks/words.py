"""How named networks are written down: short texts for rules, instances and who reaches whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any

from lab.topology import Topology
from tests.oracle.message import NAMES, Message
from tests.oracle.objects import Operation, Value

ELASTIC = "elastic:"
TENANT, OTHER_TENANT = "000111222333", "000999888777"


@dataclass(frozen=True, slots=True)
class Vm:
    """An instance, and the VM that is plugged for it on `node`. The cloud may not have placed it: then the port is there
    and no view names it."""

    name: str
    id: str
    node: str
    address: IPv4Address
    groups: tuple[str, ...]
    account: str
    placed: bool
    zone: str | None

    @property
    def interface(self) -> str:
        return f"vn_{self.id[:10]}"

    @property
    def mac(self) -> str:
        return "d0:0d:" + self.address.packed.hex(":")

    @property
    def value(self) -> Value:
        value = {
            "node": self.node if self.placed else None,
            "mac": self.mac,
            "private_ip": str(self.address),
            "groups": list(self.groups),
            "account": self.account,
        }
        return value if self.zone is None else {**value, "zone": self.zone}


def vm(
    name: str,
    node: str,
    address: str,
    *groups: str,
    account: str = TENANT,
    placed: bool = True,
    zone: str | None = None,
) -> Vm:
    """The id comes from the address: 10.111.101.11 is i-0a6f650b. `zone` is needed for what is not placed."""
    found = IPv4Address(address)
    return Vm(name, f"i-{found.packed.hex()}", node, found, groups, account, placed, zone)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table: who sends what to whom, and what becomes of it. Names of VMs and of machines of the topology."""

    source: str
    destination: str
    message: Message
    passes: bool
    why: str
    seen: str | None = None
    """Whom the destination sees: an address, or a name as in `source`. None: the table does not say."""

    def __str__(self) -> str:
        outcome = f"passes as {self.seen}" if self.seen else "passes" if self.passes else "blocked"
        return f"{self.source} → {self.destination} {self.message}: {outcome}, since {self.why}"


def table(text: str) -> tuple[Line, ...]:
    """Columns with two or more blanks between them: source, destination, message, outcome, why. The outcome is `passes`,
    `passes as web-1` (the destination sees its address) or `blocked`. A line that begins with # is a heading. Raises
    ValueError."""
    lines = []
    for row in filter(None, (row.strip() for row in text.splitlines())):
        if row.startswith("#"):
            continue
        columns = [column.strip() for column in row.split("  ") if column.strip()]
        if len(columns) != 5:
            raise ValueError(f"not a row of the table: {row}")
        source, destination, message, outcome, why = columns
        verdict, _, seen = outcome.partition(" as ")
        if verdict not in ("passes", "blocked") or (seen and verdict == "blocked"):
            raise ValueError(f"not a row of the table: {row}")
        lines.append(Line(source, destination, Message.read(message), verdict == "passes", why, seen or None))
    return tuple(lines)


@dataclass(frozen=True, slots=True)
class Network:
    """A cloud, the hosts around it, and who may reach whom."""

    name: str
    topology: Topology
    zones: Mapping[str, Value]
    zone_of: Mapping[str, str]
    """Node → zone."""
    groups: Mapping[str, Value]
    vms: tuple[Vm, ...]
    reach: tuple[Line, ...]
    settings: Value = field(default_factory=dict)
    """What differs from the network object that all of them have."""
    elastic: Mapping[str, str] = field(default_factory=dict)
    """Name of a VM → its elastic IP. In tables, `elastic:web-1` is the VM by that address."""

    @property
    def operations(self) -> list[Operation]:
        """One update that makes all of it."""
        addresses = {machine.name: machine.face.address for machine in self.topology.machines}
        network = {
            "dns_servers": ["10.111.1.1"],
            "public_ips": ["10.111.200.1-10.111.200.50"],
            "metadata": {"host": "10.111.1.1"},
            "gateway_mode": "router",
        }
        nodes = {
            node: {"zone": zone, "address": str(address.ip)}
            for node, zone in self.zone_of.items()
            if (address := addresses[node])
        }
        return [
            put("network", "network", {**network, **self.settings}),
            *(put("zone", name, value) for name, value in self.zones.items()),
            *(put("node", name, value) for name, value in nodes.items()),
            *(put("group", name, value) for name, value in self.groups.items()),
            *(put("instance", one.id, one.value) for one in self.vms),
            *(put("elastic_ip", ip, {"instance": self.vm(name).id}) for name, ip in self.elastic.items()),
        ]

    def vm(self, name: str) -> Vm:
        found = self.by_name(name)
        assert found is not None, name
        return found

    def by_name(self, name: str) -> Vm | None:
        """Also by its elastic IP."""
        name = name.removeprefix(ELASTIC)
        return next((one for one in self.vms if one.name == name), None)

    def address(self, name: str) -> IPv4Address:
        """Of a VM or a machine: the one by which others know it."""
        if name.startswith(ELASTIC):
            return IPv4Address(self.elastic[name.removeprefix(ELASTIC)])
        found = self.by_name(name)
        if found:
            return found.address
        machine = next(machine for machine in self.topology.machines if machine.name == name)
        address = machine.face.address
        assert address is not None
        return address.ip

    def end(self, name: str) -> str:
        """As the oracle calls it: an instance's id, a node's name, an address."""
        if name.startswith(ELASTIC):
            return str(self.address(name))
        found = self.by_name(name)
        if found:
            return found.id
        return name if name in self.zone_of else str(self.address(name))


def in_modes(network: Network, *modes: str) -> tuple[Network, ...]:
    """The same with each of these gateway modes: its table holds in all of them."""
    return tuple(
        replace(network, name=f"{network.name}, {mode}", settings={**network.settings, "gateway_mode": mode})
        for mode in modes
    )


def put(kind: str, key: str, value: Value) -> Operation:
    return {"op": "put", "kind": kind, "id": key, "value": dict(value)}


def group(*ingress: str, egress: Iterable[str] | None = None, account: str = TENANT, name: str = "g") -> Value:
    """Rules as `rule` reads them. Egress None lets all out."""
    return {
        "name": name,
        "account": account,
        "ingress": [rule(text) for text in ingress],
        "egress": None if egress is None else [rule(text) for text in egress],
    }


def rule(text: str) -> dict[str, Any]:
    """`tcp 80 from anywhere`, `udp 0-80 from 10.0.0.0/8`, `icmp 3/4 from sg-web`, `icmp from …`, `132 from …`, `all from …`;
    `to` instead of `from` says the same of a destination. Raises ValueError."""
    kind, _, peer = text.replace(" to ", " from ").partition(" from ")
    name, _, what = kind.partition(" ")
    if not peer:
        raise ValueError(f"not a rule: {text}")
    made: dict[str, Any] = {"protocol": name if name in (*NAMES, "all") else int(name)}
    if what and name == "icmp":
        wanted, _, code = what.partition("/")
        made |= {"icmp_type": int(wanted)} | ({"icmp_code": int(code)} if code else {})
    elif what:
        low, _, high = what.partition("-")
        made |= {"from_port": int(low), "to_port": int(high or low)}
    if peer == "anywhere":
        return {**made, "cidr": "0.0.0.0/0"}
    return {**made, "cidr" if "/" in peer else "group": peer}
