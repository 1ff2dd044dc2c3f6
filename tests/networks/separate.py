"""Separate public and private networks, one zone. The table holds in every gateway mode, and masqueraded but for two lines."""

from __future__ import annotations

from dataclasses import replace

from lab.topology import two
from tests.networks.flat import ZONE
from tests.networks.routed_zones import SETTINGS
from tests.networks.words import Network, group, in_modes, table, vm

_REACH = """
    # by private addresses
    web-1     app-1          tcp 8000  passes as web-1          by group, other node
    web-1     plain          tcp 22    passes as web-1          by group, same node
    plain     app-1          tcp 8000  blocked                  not in sg-web
    outside   web-1          tcp 80    passes as outside        the router is on the private network too
    outside   plain          tcp 22    blocked                  not in sg-web

    # by elastic IPs
    outside   elastic:web-1  tcp 80    passes as outside        anyone may
    clc       elastic:web-2  tcp 80    passes as clc            anyone may
    outside   elastic:app-1  tcp 8000  blocked                  not in sg-web
    web-1     elastic:web-2  tcp 80    passes as elastic:web-1  by its own
    web-1     elastic:app-1  tcp 8000  passes as elastic:web-1  groups know members by elastic IPs too
    plain     elastic:web-2  tcp 80    passes as nc-1           a private source could not be told from a spoof
    plain     elastic:web-1  tcp 80    passes as nc-1           … on the same node too
    plain     elastic:app-1  tcp 9000  passes as nc-1           which a CIDR may name
    plain     elastic:app-1  tcp 8000  blocked                  and no group
    web-1     elastic:web-1  tcp 80    passes as elastic:web-1  its own
    outside   elastic:parked  tcp 80   blocked                  nobody answers for it

    # out of the cloud
    web-1     outside        tcp 80    passes as elastic:web-1  by its elastic IP
    plain     outside        tcp 80    passes as {plain}        none of its own
    plain     clc            tcp 80    passes as {plain}        none of its own

    # hypervisors
    nc-1      elastic:web-1  tcp 22    passes as nc-1           host_to_vm, and the answer finds back
    nc-1      web-1          tcp 22    passes                   host_to_vm, by its private address
    nc-2      elastic:web-1  tcp 22    blocked                  another node, no rule
    nc-2      elastic:web-1  tcp 80    passes as nc-2           by rule
    web-1     nc-1           tcp 22    blocked                  vm_to_host
    web-1     nc-2           tcp 22    blocked                  vm_to_host, to which it shows its elastic IP
"""
# masqueraded, an instance is its own node to the others: they cannot tell (said in DESIGN.md)
_UNMASKED = """
    plain     nc-2           tcp 22    blocked                  vm_to_host, by its private address
"""

_SEPARATE = Network(
    name="separate networks",
    topology=two(2),
    zones={"zone-a": ZONE},
    zone_of={"nc-1": "zone-a", "nc-2": "zone-a"},
    groups={
        "sg-web": group("tcp 80 from anywhere"),
        "sg-app": group("tcp 8000 from sg-web", "tcp 9000 from 198.51.100.101/32"),
        "sg-plain": group("tcp 22 from sg-web"),
    },
    vms=(
        vm("web-1", "nc-1", "10.111.101.11", "sg-web"),
        vm("plain", "nc-1", "10.111.101.12", "sg-plain"),
        vm("web-2", "nc-2", "10.111.101.13", "sg-web"),
        vm("app-1", "nc-2", "10.111.101.14", "sg-app"),
        vm("parked", "nc-2", "10.111.101.15", "sg-web", placed=False, zone="zone-a"),
    ),
    settings=SETTINGS,
    elastic={
        "web-1": "198.51.100.200",
        "web-2": "198.51.100.201",
        "app-1": "198.51.100.202",
        "parked": "198.51.100.203",
    },
    reach=table(_REACH.format(plain="plain") + _UNMASKED),
)

SEPARATE = (
    *in_modes(_SEPARATE, "impersonate", "router", "proxy"),
    *in_modes(replace(_SEPARATE, topology=two(2, router=2)), "node"),
    replace(
        _SEPARATE,
        name="separate networks, masqueraded",
        settings={**SETTINGS, "private_nat": "masquerade", "gateway_mode": "impersonate"},
        reach=table(_REACH.format(plain="nc-1")),
    ),
)
