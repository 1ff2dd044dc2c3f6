"""One flat network, in which the gateway is a real router and the nodes' own default route (drawn in lab.topology)."""

from __future__ import annotations

from lab.topology import flat
from tests.networks.words import OTHER_TENANT, Network, group, table, vm

ZONE = {"subnet": "10.111.0.0/16", "gateway": "10.111.0.1", "private_ips": ["10.111.101.1-10.111.101.250"]}

GROUPS = {
    "sg-web": group("tcp 80 from anywhere", "tcp 443-444 from 203.0.113.0/24", "icmp 8 from anywhere"),
    "sg-ops": group("tcp 22 from sg-ops", "udp 514 from 10.111.101.8/29"),
    "sg-app": group(
        "tcp 8000-8010 from sg-web",
        "tcp 8005-8020 from 10.111.101.0/24",
        "tcp 8009 from 10.111.101.0/28",
        "udp 8000 from sg-ops",
    ),
    "sg-db": group("tcp 5432 from sg-app", "tcp 5432 from sg-report"),
    "sg-report": group(account=OTHER_TENANT),
    "sg-void": group(account=OTHER_TENANT),
    "sg-ports": group("tcp 0-0 from anywhere", "udp 0-80 from anywhere", "tcp 65535-65535 from anywhere"),
    "sg-icmp-any": group("icmp from anywhere"),
    "sg-icmp-some": group("icmp 3/4 from anywhere", "icmp 13 from anywhere", "icmp 8/0 from sg-web"),
    "sg-sctp": group("132 from anywhere"),
    "sg-all": group("all from sg-web", "all from 203.0.113.10/32"),
}

VMS = (
    vm("web-1", "nc-1", "10.111.101.11", "sg-web"),
    vm("web-2", "nc-2", "10.111.101.12", "sg-web", "sg-ops"),
    vm("app-1", "nc-1", "10.111.101.13", "sg-app"),
    vm("app-2", "nc-3", "10.111.101.14", "sg-app", "sg-ops"),
    vm("db", "nc-2", "10.111.101.15", "sg-db"),
    vm("report", "nc-3", "10.111.101.16", "sg-report", account=OTHER_TENANT),
    vm("stranger", "nc-1", "10.111.101.17", "sg-void", account=OTHER_TENANT),
    vm("loner", "nc-2", "10.111.101.18"),
    vm("ports", "nc-3", "10.111.101.19", "sg-ports"),
    vm("pinged", "nc-1", "10.111.101.20", "sg-icmp-any"),
    vm("choosy", "nc-2", "10.111.101.21", "sg-icmp-some"),
    vm("sctp", "nc-3", "10.111.101.22", "sg-sctp"),
    vm("open", "nc-1", "10.111.101.23", "sg-all"),
    vm("parked", "nc-3", "10.111.101.24", "sg-app", "sg-web", "sg-all", placed=False, zone="zone-a"),
)

REACH = table("""
    # CIDR rules
    outside   web-1     tcp 80      passes   anyone may
    app-1     web-1     tcp 80      passes   anyone may, on the same node too
    db        web-1     tcp 80      passes   anyone may, from another node too
    router    web-1     tcp 80      passes   anyone may, the gateway too
    outside   web-1     tcp 81      blocked  only port 80 is open to all
    outside   web-1     udp 80      blocked  the rule is for tcp
    outside   web-1     icmp 8      passes   anyone may ping
    outside   web-1     icmp 13     blocked  only echo is allowed
    outside   web-1     tcp 443     passes   the address is in 203.0.113.0/24
    outside   web-1     tcp 444     passes   the last port of the range
    outside   web-1     tcp 445     blocked  one port above the range
    app-1     web-1     tcp 443     blocked  the address is outside 203.0.113.0/24
    web-2     web-1     tcp 443     blocked  the address is outside 203.0.113.0/24, whatever its groups
    outside   app-1     tcp 8000    blocked  only sg-web may

    # group rules
    web-1     app-1     tcp 8000    passes   sg-app names sg-web; same node
    web-1     app-2     tcp 8000    passes   sg-app names sg-web; other node
    web-2     app-1     tcp 8010    passes   any of its groups will do
    web-1     app-1     udp 8000    blocked  sg-web may only tcp
    web-2     app-1     udp 8000    passes   its other group, sg-ops, may
    app-2     app-1     udp 8000    passes   sg-ops again
    db        app-1     tcp 8000    blocked  neither in sg-web nor at 8005 and above
    app-1     db        tcp 5432    passes   sg-db names sg-app
    web-1     db        tcp 5432    blocked  sg-db does not name sg-web
    report    db        tcp 5432    passes   sg-db names a group of another tenant
    report    db        tcp 5433    blocked  that port only
    stranger  db        tcp 5432    blocked  the same tenant as report, but not its group

    # overlapping ranges
    web-1     app-1     tcp 8004    passes   by group only
    db        app-1     tcp 8004    blocked  below the CIDR rule's first port
    db        app-1     tcp 8005    passes   by CIDR, the first port
    db        app-1     tcp 8009    passes   in two CIDR rules
    web-1     app-1     tcp 8009    passes   in all three rules
    pinged    app-1     tcp 8009    passes   in the wider network only
    web-1     app-1     tcp 8020    passes   above the group rule, within the CIDR rule
    web-1     app-1     tcp 8021    blocked  above both

    # several groups
    web-2     app-2     tcp 22      passes   both are in sg-ops
    web-1     app-2     tcp 22      blocked  not in sg-ops
    outside   web-2     tcp 80      passes   the rules of its groups add up: sg-web
    web-1     web-2     udp 514     passes   … and sg-ops, whose CIDR ends at .15
    report    web-2     udp 514     blocked  .16 is the first address beyond it

    # one's own group: same_group_traffic is `rules`
    app-1     app-2     tcp 8000    blocked  the same group gives no right by itself
    web-1     web-2     tcp 22      blocked  nor across nodes
    app-1     app-2     tcp 8006    passes   the CIDR rule covers it

    # no group, and groups without rules
    outside   loner     icmp 8      blocked  no group, no ingress
    web-1     loner     tcp 80      blocked  no group, no ingress
    loner     web-1     tcp 80      passes   no group, yet everything out
    outside   stranger  tcp 80      blocked  its group has no rule
    report    stranger  icmp 8      blocked  its group has no rule, for its own tenant either
    stranger  web-1     tcp 80      passes   its group limits no egress

    # ports
    outside   ports     tcp 0       passes   0-0 is port 0
    web-1     ports     tcp 0       passes   0-0 is port 0, between VMs too
    outside   ports     tcp 1       blocked  0-0 is port 0 and nothing else
    outside   ports     udp 0       passes   0-80 begins at 0
    outside   ports     udp 1       passes   within 0-80
    outside   ports     udp 80      passes   0-80 ends at 80
    outside   ports     udp 81      blocked  beyond 80
    outside   ports     tcp 80      blocked  0-80 is for udp
    outside   ports     tcp 65535   passes   65535-65535 is port 65535
    app-1     ports     tcp 65535   passes   between VMs too
    outside   ports     tcp 65534   blocked  and nothing below
    outside   ports     udp 65535   blocked  nor another protocol
    outside   web-1     tcp 0       blocked  port 0 is a port like any other

    # ICMP types and codes
    outside   pinged    icmp 8      passes   any type: echo
    outside   pinged    icmp 13     passes   any type: timestamp
    outside   pinged    icmp 3/4    passes   any type: an error that belongs to no flow
    outside   pinged    icmp 0      passes   any type: an answer nobody asked for
    web-1     pinged    icmp 40/3   passes   any type: unassigned ones
    outside   pinged    tcp 80      blocked  ICMP only
    outside   choosy    icmp 3/4    passes   that type and code
    outside   choosy    icmp 3/1    blocked  that type, another code
    outside   choosy    icmp 13/0   passes   that type, any code
    outside   choosy    icmp 13/7   passes   that type, any code
    outside   choosy    icmp 14/0   blocked  another type
    outside   choosy    icmp 8      blocked  echo is for sg-web
    web-1     choosy    icmp 8      passes   echo from sg-web
    web-1     choosy    icmp 8/1    blocked  echo with another code

    # other protocols
    outside   sctp      ip 132      passes   a protocol by its number
    web-1     sctp      ip 132      passes   between VMs too
    outside   sctp      ip 50       blocked  that number only
    outside   sctp      tcp 80      blocked  that number only
    web-2     open      ip 132      passes   all of them
    web-1     open      ip 50       passes   all of them
    web-1     open      tcp 65535   passes   all of them
    web-1     open      icmp 13     passes   all of them
    outside   open      ip 50       passes   all of them, by its address
    app-1     open      tcp 80      blocked  not in sg-web
    router    open      icmp 8      blocked  not that address

    # an instance that is not placed: its port is there, no view names it
    parked    web-1     tcp 80      blocked  its port is closed
    parked    app-1     tcp 8000    blocked  its port is closed
    parked    router    icmp 8      blocked  its port is closed
    outside   parked    tcp 80      blocked  its port is closed
    web-1     parked    tcp 8000    blocked  its port is closed
    nc-3      parked    icmp 8      blocked  to the host too

    # hypervisors
    nc-1      router    icmp 8      passes   the gateway is the node's own default route
    nc-1      nc-2      tcp 22      passes   between hypervisors nothing is filtered
    outside   nc-1      tcp 22      passes   nor from outside
    web-1     router    icmp 8      passes   the first hop
    web-1     clc       tcp 8773    passes   a host of the flat network
    web-1     outside   tcp 80      passes   everything out
    web-1     nc-1      tcp 22      blocked  vm_to_host is `deny`: its own node
    web-1     nc-1      icmp 8      blocked  … nor is its node the first hop here
    web-1     nc-2      tcp 22      blocked  … another node
    nc-1      app-1     tcp 22      passes   host_to_vm is `allow`: its own node
    nc-1      loner     tcp 22      blocked  another node is as any other address
    nc-2      app-1     tcp 22      blocked  another node is as any other address
    nc-2      web-1     tcp 80      passes   … for which the rules speak
""")

FLAT = Network(
    name="flat",
    topology=flat(3),
    zones={"zone-a": ZONE},
    zone_of={"nc-1": "zone-a", "nc-2": "zone-a", "nc-3": "zone-a"},
    groups=GROUPS,
    vms=VMS,
    reach=REACH,
)
