"""Views for tests, as the JSON that travels."""

from collections.abc import Iterable, Mapping
from typing import Any

from verge.contract.view import View

NODE_ADDRESS = "10.111.0.101"
GATEWAY = "10.111.0.1"
POOL = "10.111.101.1-10.111.101.250"


def instance(number: int, groups: Iterable[str] = (), **other: Any) -> dict[str, Any]:
    """Number n has 10.111.101.n, d0:0d:00:00:00:n and vn_i-n."""
    return {
        "mac": f"d0:0d:00:00:00:{number:02x}",
        "private_ip": f"10.111.101.{number}",
        "elastic_ip": None,
        "interface": f"vn_i-{number}",
        "groups": sorted(groups),
        "account": "a",
    } | other


def rule(protocol: str | int = "all", ports: tuple[int, int] | int | None = None, **other: Any) -> dict[str, Any]:
    """`cidr` or `group` say whose; tcp and udp without ports mean all of them."""
    made: dict[str, Any] = {"protocol": protocol} | other
    if protocol in ("tcp", "udp"):
        low, high = (0, 65535) if ports is None else (ports, ports) if isinstance(ports, int) else ports
        made |= {"from_port": low, "to_port": high}
    return made


def group(*ingress: dict[str, Any], egress: Iterable[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"name": "g", "account": "a", "ingress": list(ingress), "egress": None if egress is None else list(egress)}


def wire(
    instances: Mapping[str, dict[str, Any]] | None = None,
    groups: Mapping[str, dict[str, Any]] | None = None,
    members: Mapping[str, Iterable[str]] | None = None,
    *,
    host: str = NODE_ADDRESS,
    **network: Any,
) -> dict[str, Any]:
    """Members default to the addresses of the instances given."""
    instances, groups = dict(instances or {}), dict(groups or {})
    if members is None:
        members = {name: [vm["private_ip"] for vm in instances.values() if name in vm["groups"]] for name in groups}
    return {
        "schema": 1,
        "node": "nc-1",
        "host": {"address": host, "gateway_mode": "router"},
        "network": {
            "dns_servers": ["10.111.0.2"],
            "dns_domain": "cloud.internal",
            "metadata": {"host": "10.111.1.1", "port": 8773, "identity": "elastic"},
            "public_ips": [],
            "private_ranges": [POOL],
            "mtu": None,
            "additional_protocols": [],
            "same_group_traffic": "rules",
            "private_nat": "none",
            "revoke": "cut",
            "vm_to_host": "deny",
            "host_to_vm": "allow",
        }
        | network,
        "zone": {"name": "z", "subnet": "10.111.0.0/16", "gateway": GATEWAY},
        "instances": {name: {"node": "nc-1", **vm} for name, vm in instances.items()},
        "groups": groups,
        "members": {name: list(addresses) for name, addresses in members.items()},
    }


def view(*args: Any, **kwargs: Any) -> View:
    return View.parse(wire(*args, **kwargs))
