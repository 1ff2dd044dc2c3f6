"""Two zones of two nodes each, on subnets of their own behind a router, with one public network for both. Between the zones
private addresses are routed, by the private router, and stay what they are."""

from __future__ import annotations

from dataclasses import replace

from lab.routed import routed_zones
from tests.networks.words import Network, group, in_modes, table, vm

SETTINGS = {
    "dns_servers": ["198.51.100.10"],
    "metadata": {"host": "198.51.100.10"},
    "public_ips": ["198.51.100.200-198.51.100.219"],
}

_ROUTED_ZONES = Network(
    name="zones behind a router",
    topology=routed_zones("aabb"),
    zones={
        "zone-a": {"subnet": "10.111.0.0/16", "gateway": "10.111.0.1", "private_ips": ["10.111.101.1-10.111.101.99"]},
        "zone-b": {"subnet": "10.112.0.0/16", "gateway": "10.112.0.1", "private_ips": ["10.112.101.1-10.112.101.99"]},
    },
    zone_of={"nc-1": "zone-a", "nc-2": "zone-a", "nc-3": "zone-b", "nc-4": "zone-b"},
    groups={
        "sg-web": group("tcp 80 from anywhere"),
        "sg-app": group("tcp 8000 from sg-web", "tcp 8001 from 10.112.0.0/16", "udp 53 from sg-app"),
        "sg-plain": group("tcp 22 from sg-web", "icmp 8 from sg-plain"),
    },
    vms=(
        vm("web-a", "nc-1", "10.111.101.11", "sg-web"),
        vm("app-a", "nc-2", "10.111.101.12", "sg-app"),
        vm("plain-a", "nc-1", "10.111.101.13", "sg-plain"),
        vm("web-b", "nc-3", "10.112.101.11", "sg-web"),
        vm("app-b", "nc-4", "10.112.101.12", "sg-app"),
        vm("plain-b", "nc-3", "10.112.101.13", "sg-plain"),
    ),
    settings=SETTINGS,
    elastic={"web-a": "198.51.100.200", "web-b": "198.51.100.201", "app-b": "198.51.100.202"},
    reach=table("""
        # by private addresses
        web-a     app-a          tcp 8000  passes as web-a          by group, within the zone
        web-a     app-b          tcp 8000  passes as web-a          by group, into the other subnet
        web-b     app-a          tcp 8000  passes as web-b          by group, and back
        web-b     plain-a        tcp 22    passes as web-b          another group
        plain-a   app-b          tcp 8000  blocked                  not in sg-web
        app-a     app-b          udp 53    passes as app-a          its own group
        plain-a   plain-b        icmp 8    passes                   its own group
        app-b     app-a          tcp 8001  passes as app-b          the other subnet, by CIDR
        plain-b   app-a          tcp 8001  passes as plain-b        the other subnet, by CIDR
        web-a     app-b          tcp 8001  blocked                  its subnet is not
        outside   web-b          tcp 80    passes as outside        the router knows the way, and anyone may

        # by elastic IPs, of both zones
        outside   elastic:web-a  tcp 80    passes as outside        anyone may
        outside   elastic:web-b  tcp 80    passes as outside        anyone may, in the other zone
        clc       elastic:web-b  tcp 80    passes as clc            anyone may
        outside   elastic:app-b  tcp 8000  blocked                  not in sg-web
        web-a     elastic:web-b  tcp 80    passes as elastic:web-a  into the other zone, by its own
        web-a     elastic:app-b  tcp 8000  passes as elastic:web-a  groups know members by elastic IPs too
        plain-a   elastic:web-b  tcp 80    passes as nc-1           it has none: its node's
        plain-b   elastic:web-b  tcp 80    passes as nc-3           … on one node
        plain-a   elastic:app-b  tcp 8000  blocked                  its node is in no group
        web-b     elastic:web-b  tcp 80    passes as elastic:web-b  its own

        # out of the cloud
        web-b     outside        tcp 80    passes as elastic:web-b  by its elastic IP
        plain-b   outside        tcp 80    passes as plain-b        by its private one, to which the router knows the way
        web-a     clc            tcp 80    passes as elastic:web-a  by its elastic IP
        plain-a   clc            tcp 80    passes as plain-a        by its private one

        # hypervisors
        nc-1      elastic:web-a  tcp 22    passes as nc-1           host_to_vm
        nc-1      web-a          tcp 22    passes                   host_to_vm, by its private address
        nc-1      elastic:web-b  tcp 22    blocked                  of the other zone's, no rule
        nc-3      elastic:web-a  tcp 80    passes as nc-3           by rule
        web-a     nc-3           tcp 22    blocked                  vm_to_host, the other zone's node
        plain-a   nc-3           tcp 22    blocked                  vm_to_host, by a private address
        plain-b   nc-3           tcp 22    blocked                  vm_to_host, its own
    """),
)

ROUTED_ZONES = (
    *in_modes(_ROUTED_ZONES, "impersonate", "router", "proxy"),
    *in_modes(replace(_ROUTED_ZONES, topology=routed_zones("aabb", router=2)), "node"),
)
