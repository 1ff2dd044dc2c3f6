"""The flat network with other settings: zones that share the subnet, one's own group allowed, egress rules, open hosts."""

from __future__ import annotations

from lab.topology import flat
from tests.networks.flat import ZONE
from tests.networks.words import OTHER_TENANT, Network, group, table, vm

ONE_ZONE = {"nc-1": "zone-a", "nc-2": "zone-a", "nc-3": "zone-a"}

TWO_ZONES = Network(
    name="two zones sharing the subnet",
    topology=flat(3),
    zones={
        "zone-a": {**ZONE, "private_ips": ["10.111.101.0-10.111.101.127"]},
        "zone-b": {**ZONE, "private_ips": ["10.111.101.128-10.111.101.255"]},
    },
    zone_of={"nc-1": "zone-a", "nc-2": "zone-a", "nc-3": "zone-b"},
    groups={
        "sg-front": group("tcp 80 from anywhere", "tcp 9000 from 10.111.101.128/25"),
        "sg-back": group("tcp 5432 from sg-front", "udp 53 from 10.111.101.0/25", "icmp 8 from sg-back"),
    },
    vms=(
        vm("front-a", "nc-1", "10.111.101.11", "sg-front"),
        vm("front-b", "nc-3", "10.111.101.130", "sg-front"),
        vm("back-a", "nc-2", "10.111.101.12", "sg-back"),
        vm("back-b", "nc-3", "10.111.101.131", "sg-back"),
        vm("parked-b", "nc-3", "10.111.101.132", "sg-front", placed=False, zone="zone-b"),
    ),
    reach=table("""
        front-a   back-a    tcp 5432  passes   by group, within the zone
        front-a   back-b    tcp 5432  passes   by group, into the other zone
        front-b   back-a    tcp 5432  passes   by group, and back
        front-b   back-b    tcp 5432  passes   by group, in the other zone, on one node
        back-a    back-b    icmp 8    passes   by its own group, into the other zone
        back-a    back-b    tcp 5432  blocked  not in sg-front
        front-a   back-b    udp 53    passes   the first zone's pool, by CIDR
        front-b   back-a    udp 53    blocked  its address is in the second zone's pool
        front-b   front-a   tcp 9000  passes   the second zone's pool, by CIDR
        back-a    front-a   tcp 9000  blocked  its address is in the first zone's pool
        outside   front-b   tcp 80    passes   the second zone has the same gateway
        outside   back-b    tcp 5432  blocked  not a member
        front-b   router    icmp 8    passes   the shared gateway
        parked-b  back-b    tcp 5432  blocked  not placed
        front-b   nc-3      tcp 22    blocked  vm_to_host is `deny`
        front-b   nc-1      tcp 22    blocked  a node of the other zone is a node
        front-a   nc-3      tcp 22    blocked  and the other way round
    """),
)

SAME_GROUP = Network(
    name="same group traffic allowed",
    topology=flat(3),
    zones={"zone-a": ZONE},
    zone_of=ONE_ZONE,
    settings={"same_group_traffic": "allow"},
    groups={
        "sg-a": group(),
        "sg-b": group("tcp 80 from sg-a"),
        "sg-solo": group("tcp 22 from 10.111.101.11/32"),
        "sg-shut": group(egress=["udp 53 to anywhere"]),
        "sg-theirs": group(account=OTHER_TENANT),
    },
    vms=(
        vm("a-1", "nc-1", "10.111.101.11", "sg-a"),
        vm("a-2", "nc-2", "10.111.101.12", "sg-a"),
        vm("both", "nc-1", "10.111.101.13", "sg-a", "sg-b"),
        vm("b-1", "nc-3", "10.111.101.14", "sg-b"),
        vm("solo", "nc-2", "10.111.101.15", "sg-solo"),
        vm("shut-1", "nc-3", "10.111.101.16", "sg-shut"),
        vm("shut-2", "nc-3", "10.111.101.17", "sg-shut"),
        vm("theirs", "nc-1", "10.111.101.18", "sg-theirs"),
        vm("loner-1", "nc-2", "10.111.101.19"),
        vm("loner-2", "nc-2", "10.111.101.20"),
        vm("parked-a", "nc-2", "10.111.101.21", "sg-a", placed=False, zone="zone-a"),
    ),
    reach=table("""
        a-1       a-2       tcp 22    passes   one group, other node
        a-2       a-1       udp 9     passes   any protocol
        a-1       a-2       icmp 8    passes   any protocol
        a-1       a-2       ip 132    passes   any protocol
        a-1       both      tcp 22    passes   one group in common is enough; same node
        both      a-2       tcp 22    passes   one group in common is enough
        both      b-1       tcp 22    passes   the other one in common
        a-1       b-1       tcp 80    passes   no group in common, but a rule
        a-1       b-1       tcp 81    blocked  no group in common, no rule
        b-1       a-1       tcp 80    blocked  the rule is for the other direction
        a-1       solo      tcp 22    passes   a CIDR rule, as ever
        a-2       solo      tcp 22    blocked  not its address
        outside   a-1       tcp 22    blocked  nobody outside is a member
        nc-2      a-1       tcp 22    blocked  nor is another node
        theirs    a-1       tcp 22    blocked  another group
        loner-1   loner-2   icmp 8    blocked  having no group is no group in common
        shut-1    shut-2    udp 53    passes   one group, and its egress allows it
        shut-1    shut-2    tcp 22    blocked  one group, but its egress does not
        parked-a  a-2       tcp 22    blocked  not placed
        a-2       parked-a  tcp 22    blocked  not placed
    """),
)

EGRESS = Network(
    name="egress rules",
    topology=flat(3),
    zones={"zone-a": ZONE},
    zone_of=ONE_ZONE,
    groups={
        "sg-open": group("all from anywhere"),
        "sg-mute": group("tcp 80 from anywhere", "icmp from anywhere", egress=[]),
        "sg-picky": group(
            "tcp 22 from anywhere",
            egress=["tcp 80 to sg-open", "udp 53 to 203.0.113.0/24", "icmp 8 to 10.111.0.0/16", "132 to anywhere"],
        ),
        "sg-more": group(egress=["tcp 90-99 to 10.111.101.0/28", "tcp 95-110 to 10.111.101.11/32"]),
        "sg-free": group(),
    },
    vms=(
        vm("open-1", "nc-1", "10.111.101.11", "sg-open"),
        vm("open-2", "nc-2", "10.111.101.12", "sg-open"),
        vm("mute", "nc-1", "10.111.101.13", "sg-mute"),
        vm("picky", "nc-1", "10.111.101.14", "sg-picky"),
        vm("union", "nc-2", "10.111.101.15", "sg-picky", "sg-more"),
        vm("freed", "nc-3", "10.111.101.16", "sg-picky", "sg-free"),
        vm("loner", "nc-3", "10.111.101.17"),
        vm("away", "nc-3", "10.111.101.18", "sg-open", "sg-mute"),
    ),
    reach=table("""
        # no egress rule at all, which is not the same as none given
        mute      open-1    tcp 80    blocked  egress is an empty list; same node
        mute      open-2    udp 53    blocked  … other node
        mute      outside   icmp 8    blocked  … outside
        mute      router    icmp 8    blocked  … the gateway
        open-1    mute      tcp 80    passes   it may be asked, and its answers pass
        outside   mute      tcp 80    passes   it may be asked from outside
        outside   mute      icmp 8    passes   echo replies are answers
        away      open-1    tcp 22    passes   one group without egress rules lets all out

        # rules
        picky     open-1    tcp 80    passes   to members of sg-open; same node
        picky     open-2    tcp 80    passes   to members of sg-open; other node
        picky     away      tcp 80    passes   one of its groups is sg-open
        picky     open-1    tcp 81    blocked  another port
        picky     open-1    udp 80    blocked  another protocol
        picky     outside   udp 53    passes   to a network outside
        picky     outside   tcp 80    blocked  not a member
        picky     open-1    udp 53    blocked  not that network
        picky     open-1    icmp 8    passes   echo within the subnet
        picky     router    icmp 8    passes   echo to the gateway
        picky     outside   icmp 8    blocked  beyond the subnet
        picky     open-1    icmp 13   blocked  another type
        picky     open-2    ip 132    passes   a protocol by its number
        picky     outside   ip 132    passes   to anywhere
        picky     open-2    ip 50     blocked  another number
        picky     mute      icmp 8    passes   both ends agree
        picky     mute      tcp 80    blocked  the destination may, the source may not
        picky     freed     tcp 80    blocked  the source names sg-open, and freed is not in it
        freed     picky     tcp 22    passes   ingress, as ever
        open-2    picky     tcp 80    blocked  ingress, as ever

        # the union over groups
        union     open-1    tcp 80    passes   by sg-picky
        union     open-1    tcp 90    passes   by sg-more
        union     open-1    tcp 94    passes   by sg-more, the first rule
        union     open-2    tcp 94    passes   by sg-more, the first rule
        union     open-1    tcp 97    passes   in both rules
        union     open-1    tcp 110   passes   by sg-more, the second rule
        union     open-2    tcp 100   blocked  the second rule is for another address
        union     open-1    tcp 111   blocked  beyond both
        union     away      tcp 95    blocked  .18 is outside 10.111.101.0/28
        freed     open-1    udp 7     passes   one group without egress rules lets all out
        freed     outside   tcp 25    passes   … outside too
        loner     open-1    tcp 25    passes   so does having no group
        loner     outside   icmp 8    passes   … outside too
        freed     mute      tcp 25    blocked  the source may, the destination may not
    """),
)

HOSTS = Network(
    name="instances may reach hosts",
    topology=flat(2),
    zones={"zone-a": ZONE},
    zone_of={"nc-1": "zone-a", "nc-2": "zone-a"},
    settings={"vm_to_host": "allow", "host_to_vm": "deny"},
    groups={"sg-web": group("tcp 80 from 10.111.0.0/24"), "sg-shut": group(egress=["tcp 22 to 10.111.0.102/32"])},
    vms=(
        vm("web", "nc-1", "10.111.101.11", "sg-web"),
        vm("shut", "nc-1", "10.111.101.12", "sg-shut"),
    ),
    reach=table("""
        web       nc-1      tcp 22    passes   vm_to_host is `allow`: its own node
        web       nc-2      udp 53    passes   … another node
        shut      nc-2      tcp 22    passes   its egress allows that node
        shut      nc-1      tcp 22    blocked  its egress does not allow this one
        nc-1      web       tcp 22    blocked  host_to_vm is `deny`
        nc-1      shut      icmp 8    blocked  host_to_vm is `deny`
        nc-2      web       tcp 80    passes   a rule covers that node's address
        nc-2      shut      tcp 22    blocked  no rule does
        nc-1      router    icmp 8    passes   the node itself stays connected
    """),
)
