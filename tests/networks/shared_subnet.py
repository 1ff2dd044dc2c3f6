"""Two zones of two nodes each on one subnet, with elastic IPs in it too. The table holds in every gateway mode that it can
have: the real gateway there is the nodes' own router, so `node` it cannot."""

from __future__ import annotations

from lab.topology import flat
from tests.networks.flat import ZONE
from tests.networks.words import Network, group, in_modes, table, vm

_SHARED_SUBNET = Network(
    name="zones on one subnet",
    topology=flat(4),
    zones={
        "zone-a": {**ZONE, "private_ips": ["10.111.101.0-10.111.101.127"]},
        "zone-b": {**ZONE, "private_ips": ["10.111.101.128-10.111.101.255"]},
    },
    zone_of={"nc-1": "zone-a", "nc-2": "zone-a", "nc-3": "zone-b", "nc-4": "zone-b"},
    groups={
        "sg-front": group("tcp 80 from anywhere", "tcp 9000 from 10.111.101.128/25"),
        "sg-back": group("tcp 5432 from sg-front"),
        "sg-plain": group("icmp 8 from sg-plain"),
    },
    vms=(
        vm("front-a", "nc-1", "10.111.101.11", "sg-front"),
        vm("back-a", "nc-2", "10.111.101.12", "sg-back"),
        vm("plain-a", "nc-1", "10.111.101.13", "sg-plain"),
        vm("front-b", "nc-3", "10.111.101.130", "sg-front"),
        vm("back-b", "nc-4", "10.111.101.131", "sg-back"),
        vm("plain-b", "nc-3", "10.111.101.132", "sg-plain"),
    ),
    elastic={"front-a": "10.111.200.1", "front-b": "10.111.200.2", "back-b": "10.111.200.3"},
    reach=table("""
        # by private addresses
        front-a   back-a           tcp 5432  passes as front-a          by group, within the zone
        front-a   back-b           tcp 5432  passes as front-a          by group, into the other zone
        front-b   back-a           tcp 5432  passes as front-b          by group, and back
        back-a    back-b           tcp 5432  blocked                    not in sg-front
        plain-a   plain-b          icmp 8    passes                     its own group, into the other zone
        front-b   front-a          tcp 9000  passes as front-b          the second zone's pool, by CIDR
        back-a    front-a          tcp 9000  blocked                    in the first zone's pool

        # by elastic IPs, of both zones
        outside   elastic:front-a  tcp 80    passes as outside          anyone may
        outside   elastic:front-b  tcp 80    passes as outside          anyone may, in the other zone
        outside   elastic:back-b   tcp 5432  blocked                    not in sg-front
        front-a   elastic:front-b  tcp 80    passes as elastic:front-a  into the other zone, by its own
        front-a   elastic:back-b   tcp 5432  passes as elastic:front-a  groups know members by elastic IPs too
        plain-a   elastic:front-b  tcp 80    passes as plain-a          it has none, and the network is one
        plain-b   elastic:front-b  tcp 80    passes as plain-b          … on one node
        plain-b   elastic:front-a  tcp 9000  passes as plain-b          the second zone's pool, by CIDR
        plain-a   elastic:front-a  tcp 9000  blocked                    in the first zone's pool
        front-b   elastic:front-a  tcp 9000  blocked                    it shows its elastic IP
        front-b   elastic:front-b  tcp 80    passes as elastic:front-b  its own

        # out of the cloud
        front-a   outside          tcp 80    passes as elastic:front-a  by its elastic IP
        plain-b   outside          tcp 80    passes as plain-b          by its private one
        front-b   clc              tcp 80    passes as elastic:front-b  a server of the subnet is no instance
        plain-a   clc              tcp 80    passes as plain-a          by its private one
        clc       plain-a          tcp 80    blocked                    no rule

        # hypervisors
        nc-1      elastic:front-a  tcp 22    passes as nc-1             host_to_vm
        nc-1      elastic:front-b  tcp 22    blocked                    of the other zone's, no rule
        nc-3      front-a          tcp 80    passes as nc-3             by rule
        front-a   nc-3             tcp 22    blocked                    vm_to_host, the other zone's node
        plain-b   nc-3             tcp 22    blocked                    vm_to_host, its own
    """),
)

SHARED_SUBNET = in_modes(_SHARED_SUBNET, "impersonate", "router", "proxy")
