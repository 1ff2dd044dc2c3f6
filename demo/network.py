"""What the cloud controller says its network is: three hypervisors, two tenants."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from demo.setting import Setting

ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, slots=True)
class Vm:
    name: str
    id: str
    node: str
    mac: str
    ip: str
    groups: tuple[str, ...]
    account: str = "000111222333"

    @property
    def interface(self) -> str:
        return f"vn_{self.id[:10]}"


def _vm(number: int, name: str, node: str, group: str, account: str = "000111222333") -> Vm:
    return Vm(
        name, f"i-0000{number:04x}", node, f"d0:0d:00:00:00:{number:02x}", f"10.111.101.{number}", (group,), account
    )


VMS = (
    _vm(11, "web-1", "nc-1", "sg-web"),
    _vm(12, "app-1", "nc-1", "sg-app"),
    _vm(13, "web-2", "nc-2", "sg-web"),
    _vm(14, "db", "nc-2", "sg-db"),
    _vm(15, "app-2", "nc-3", "sg-app"),
    _vm(16, "guest", "nc-3", "sg-guest", "000999888777"),
)
"""Where all of it is one flat network."""


def placed(setting: Setting) -> tuple[Vm, ...]:
    """With the addresses that they have there."""
    return tuple(replace(vm, ip=setting.private_ip(vm.node, int(vm.ip.rpartition(".")[2]))) for vm in VMS)


def rule(protocol: str, port: int | None = None, **peer: str) -> dict[str, Any]:
    ports = {} if port is None else {"from_port": port, "to_port": port}
    return {"protocol": protocol, **ports, **peer}


DB_RULES = [rule("tcp", 5432, group="sg-app")]

GROUPS: dict[str, dict[str, Any]] = {
    "sg-web": {
        "name": "web",
        "account": "000111222333",
        "ingress": [rule("tcp", 80, cidr=ANYWHERE), rule("icmp", cidr=ANYWHERE)],
    },
    "sg-app": {"name": "app", "account": "000111222333", "ingress": [rule("tcp", 8000, group="sg-web")]},
    "sg-db": {"name": "db", "account": "000111222333", "ingress": DB_RULES},
    "sg-guest": {"name": "guest", "account": "000999888777", "ingress": []},
}


def db_group(*rules: dict[str, Any]) -> dict[str, Any]:
    return {**GROUPS["sg-db"], "ingress": list(rules)}


def put(kind: str, key: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"op": "put", "kind": kind, "id": key, "value": value}


def nodes(setting: Setting) -> list[dict[str, Any]]:
    return [
        put(
            "network",
            "network",
            {
                "dns_servers": [setting.clc],
                "public_ips": [setting.public_ips] if setting.public_ips else [],
                "metadata": {"host": setting.clc, "identity": "elastic" if setting.public_ips else "private"},
                "gateway_mode": setting.mode,
            },
        ),
        *(put("zone", name, value) for name, value in setting.zones.items()),
        *(
            put("node", f"nc-{n}", {"zone": zone, "address": setting.node_address(n)})
            for n, zone in enumerate(setting.zone_of, 1)
        ),
    ]


def instances(vms: Iterable[Vm] = VMS) -> list[dict[str, Any]]:
    return [
        *(put("group", key, value) for key, value in GROUPS.items()),
        *(
            put(
                "instance",
                vm.id,
                {
                    "node": vm.node,
                    "mac": vm.mac,
                    "private_ip": vm.ip,
                    "groups": list(vm.groups),
                    "account": vm.account,
                },
            )
            for vm in vms
        ),
    ]
