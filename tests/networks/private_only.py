"""Private addresses alone: no elastic IPs. The CLC is behind a router, and knows the way back. Flat, and yet every gateway mode
can be had: where the hypervisors are the gateway (`node`), their own router is another machine."""

from __future__ import annotations

from dataclasses import replace

from lab.routed import private_only
from tests.networks.flat import ZONE
from tests.networks.words import Network, group, in_modes, table, vm

SETTINGS = {
    "dns_servers": ["192.0.2.10"],
    "public_ips": [],
    "metadata": {"host": "192.0.2.10", "identity": "private"},
}

_REACH = """
    web       app      tcp 8000  passes as web      by group, other node
    app       db       tcp 5432  passes as app      by group, other node
    web       plain    tcp 22    passes as web      by group, same node
    plain     app      tcp 8000  blocked            not in sg-web
    web       db       tcp 5432  blocked            not in sg-app
    outside   web      tcp 80    passes as outside  the router knows the way, and anyone may
    outside   app      tcp 8000  blocked            not in sg-web
    clc       web      tcp 80    passes as clc      the CLC knows the way
    clc       plain    tcp 22    blocked            no rule
    web       clc      tcp 80    passes as {web}    … and back
    plain     outside  udp 53    passes as {plain}  as none has an elastic IP
    nc-1      web      tcp 22    passes as nc-1     host_to_vm
    nc-2      web      tcp 22    blocked            another node, no rule
    web       nc-1     tcp 22    blocked            vm_to_host
"""
# masqueraded, an instance is its own node to the others: they cannot tell (said in DESIGN.md)
_UNMASKED = """
    web       nc-2     tcp 22    blocked            vm_to_host, of another node
"""

_PRIVATE_ONLY = Network(
    name="private addresses alone",
    topology=private_only(3),
    zones={"zone-a": ZONE},
    zone_of={"nc-1": "zone-a", "nc-2": "zone-a", "nc-3": "zone-a"},
    groups={
        "sg-web": group("tcp 80 from anywhere"),
        "sg-app": group("tcp 8000 from sg-web"),
        "sg-db": group("tcp 5432 from sg-app"),
        "sg-plain": group("tcp 22 from sg-web"),
    },
    vms=(
        vm("web", "nc-1", "10.111.101.11", "sg-web"),
        vm("plain", "nc-1", "10.111.101.12", "sg-plain"),
        vm("app", "nc-2", "10.111.101.13", "sg-app"),
        vm("db", "nc-3", "10.111.101.14", "sg-db"),
    ),
    settings=SETTINGS,
    reach=table(_REACH.format(web="web", plain="plain") + _UNMASKED),
)

PRIVATE_ONLY = (
    *in_modes(_PRIVATE_ONLY, "impersonate", "router", "proxy"),
    *in_modes(replace(_PRIVATE_ONLY, topology=private_only(3, router=2)), "node"),
    replace(
        _PRIVATE_ONLY,
        name="private addresses alone, masqueraded",
        settings={**SETTINGS, "private_nat": "masquerade", "gateway_mode": "impersonate"},
        reach=table(_REACH.format(web="nc-1", plain="nc-1")),
    ),
)
