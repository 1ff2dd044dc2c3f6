"""Views for tests of the agent: small ones, as the server would render them, with the ETag that belongs to them."""

from typing import Any

import orjson

from verge.contract.etag import ETag
from verge.contract.view import View


def view_wire(node: str = "nc-1", *, port: int = 22, instance: str = "i-1a2b3c4d") -> dict[str, Any]:
    """A view of one instance whose group opens one tcp port: another port is another view."""
    return {
        "schema": 1,
        "node": node,
        "host": {"address": "10.111.1.11", "gateway_mode": "impersonate"},
        "network": {
            "dns_servers": ["10.1.1.254"],
            "dns_domain": "eucalyptus.internal",
            "metadata": None,
            "public_ips": ["10.111.101.91-10.111.101.93"],
            "private_ranges": ["10.111.101.94-10.111.101.95"],
            "mtu": None,
            "additional_protocols": [],
            "same_group_traffic": "rules",
            "private_nat": "none",
            "revoke": "cut",
            "vm_to_host": "deny",
            "host_to_vm": "allow",
        },
        "zone": {"name": "one", "subnet": "10.111.0.0/16", "gateway": "10.111.0.1"},
        "instances": {
            instance: {
                "mac": "d0:0d:1a:2b:3c:4d",
                "private_ip": "10.111.101.94",
                "elastic_ip": None,
                "interface": f"vn_{instance}",
                "groups": ["sg-1"],
                "account": "acme",
                "node": node,
            }
        },
        "groups": {
            "sg-1": {
                "name": "web",
                "account": "acme",
                "ingress": [{"protocol": "tcp", "from_port": port, "to_port": port, "cidr": "0.0.0.0/0"}],
                "egress": None,
            }
        },
        "members": {},
    }


def body_of(wire: dict[str, Any]) -> bytes:
    return orjson.dumps(wire)


def etag_of(wire: dict[str, Any], version: int, epoch: int = 1) -> ETag:
    return ETag(epoch, version, View.parse(wire).digest)
