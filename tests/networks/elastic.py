"""Elastic IPs on the flat network, whose gateway every node impersonates: with private sources, and masqueraded."""

from __future__ import annotations

from dataclasses import replace

from lab.topology import flat
from tests.networks.flat import ZONE
from tests.networks.words import Network, group, table, vm

GROUPS = {
    "sg-web": group("tcp 80 from anywhere", "icmp 8 from 203.0.113.0/24"),
    "sg-ops": group("tcp 22 from sg-ops", "udp 514 from 10.111.101.0/24"),
    "sg-app": group("tcp 8000 from sg-web", "tcp 9000 from 10.111.200.1/32", "tcp 9001 from 10.111.0.101/32"),
    "sg-shut": group("tcp 22 from sg-ops", egress=["tcp 8000 to sg-app", "tcp 80 to 10.111.200.0/24"]),
}

VMS = (
    vm("web-1", "nc-1", "10.111.101.11", "sg-web", "sg-ops"),
    vm("web-2", "nc-2", "10.111.101.12", "sg-web"),
    vm("app-1", "nc-1", "10.111.101.13", "sg-app"),
    vm("app-2", "nc-3", "10.111.101.14", "sg-app", "sg-ops"),
    vm("plain", "nc-1", "10.111.101.15", "sg-ops"),
    vm("shut", "nc-2", "10.111.101.16", "sg-shut"),
    vm("parked", "nc-3", "10.111.101.17", "sg-web", placed=False, zone="zone-a"),
)

REACH = table("""
    # from outside
    outside   elastic:web-1  tcp 80    passes   anyone may
    outside   elastic:web-2  tcp 80    passes   anyone may, on another node
    outside   elastic:web-1  icmp 8    passes   the address is in 203.0.113.0/24, and is shown
    clc       elastic:web-1  icmp 8    blocked  the address is not
    outside   elastic:web-1  tcp 22    blocked  not in sg-ops
    router    elastic:web-2  tcp 80    passes   the gateway is as any other address
    outside   elastic:app-1  tcp 8000  blocked  not in sg-web
    outside   web-1          tcp 80    passes   by its private address it is the same instance

    # from instances, which show their own elastic IP
    web-1     elastic:app-1  tcp 8000  passes   groups know members by elastic IPs too; same node
    web-1     elastic:app-2  tcp 8000  passes   … other node
    web-2     elastic:app-1  tcp 8000  passes   … from another node
    app-2     elastic:app-1  tcp 8000  blocked  not in sg-web
    web-1     elastic:app-1  tcp 9000  passes   by its elastic IP; same node
    web-1     elastic:app-2  tcp 9000  passes   … other node
    web-1     app-1          tcp 9000  blocked  between private addresses it shows its private one
    web-2     elastic:app-1  tcp 9000  blocked  another elastic IP
    web-1     elastic:web-1  tcp 80    passes   its own, since anyone may
    web-1     elastic:web-1  tcp 22    passes   its own, since it is in sg-ops
    app-1     elastic:app-1  tcp 8000  blocked  its own is in no group that may
    app-1     elastic:app-1  tcp 9000  blocked  nor is it that address

    # egress rules see what the instance wrote
    shut      elastic:web-1  tcp 80    passes   to the elastic IPs' network
    shut      web-1          tcp 80    blocked  its private address is not in there
    shut      elastic:app-1  tcp 8000  blocked  it may send to a member, but is in no group that may
    shut      elastic:web-1  tcp 22    blocked  neither may it send that

    # not placed
    web-1     elastic:parked  tcp 80   blocked  nobody answers for it
    outside   elastic:parked  tcp 80   blocked  nor to the outside
""")

_WITHOUT = """
    plain     elastic:app-2  tcp 22    {by_group}  it is in sg-ops
    plain     elastic:web-1  tcp 22    {by_group}  … on the same node too
    plain     elastic:app-1  tcp 9001  {by_node}  the address of its node
    plain     app-2          tcp 22    passes   between private addresses nothing is translated
    plain     web-1          udp 514   passes   … and CIDRs see them
    nc-1      app-1          tcp 9001  passes   host_to_vm
    nc-1      elastic:app-1  tcp 9002  passes   host_to_vm, by its elastic IP
    nc-1      elastic:app-2  tcp 9001  passes   another node's instance, by rule
    nc-1      elastic:app-2  tcp 9002  blocked  … and by no other
    web-1     nc-1           tcp 22    blocked  vm_to_host
    web-1     nc-2           tcp 22    blocked  vm_to_host, of another node, to which it shows its elastic IP
"""

ELASTIC = Network(
    name="elastic IPs",
    topology=flat(3),
    zones={"zone-a": ZONE},
    zone_of={"nc-1": "zone-a", "nc-2": "zone-a", "nc-3": "zone-a"},
    groups=GROUPS,
    vms=VMS,
    reach=(*REACH, *table(_WITHOUT.format(by_group="passes", by_node="blocked"))),
    settings={"gateway_mode": "impersonate"},
    elastic={
        "web-1": "10.111.200.1",
        "web-2": "10.111.200.2",
        "app-1": "10.111.200.3",
        "app-2": "10.111.200.4",
        "parked": "10.111.200.5",
    },
)

MASQUERADED = replace(
    ELASTIC,
    name="elastic IPs, the rest masqueraded",
    reach=(*REACH, *table(_WITHOUT.format(by_group="blocked", by_node="passes"))),
    settings={"gateway_mode": "impersonate", "private_nat": "masquerade"},
)
