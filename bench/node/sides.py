"""Hypervisors to be compared, each a namespace with a bridge and a few of its VMs: without rules, by Verge, by EDGE mode.

The bare one has br_netfilter, and conntrack follows its flows, but no packet meets a rule. Thirty VMs are in the rule sets;
those that send and receive are plugged, in the first, the middle and the last place.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from bench.node import edge
from bench.node.content import NODE, Content, wire
from bench.node.content import Vm as Instance
from lab.build import Vm
from lab.host import Host
from nodeagent.enforcement import Enforcement
from nodeagent.kernel.netlink import Netlink
from nodeagent.state.host import HostFacts
from nodeagent.state.limits import DEFAULTS, Limits
from verge.contract.view import View

RATED = Limits(flows=0, new_flows=1_000_000)
"""A burst of new flows is beyond any sensible limit: the rate is looked at, and allows it."""
COUNTED = replace(RATED, flows=DEFAULTS.flows)
FACTS = HostFacts("br0", "br0", limits=RATED)
PACKAGES = {
    "iptables-legacy-restore": "iptables",
    "ebtables-nft-restore": "ebtables",
    "ebtables-nft": "ebtables",
    "ipset": "ipset",
}
NICE = -10
"""deploy/systemd/verge-nodeagent.service"""
_NETFILTER = 12
_FORGET_FLOWS = 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE without a tuple: all of this namespace
_FOLLOWED = "table ip followed { chain in { type filter hook input priority 0; ct state invalid drop; }; }"
"""Conntrack follows all flows as soon as anything in the namespace asks for one; bridged packets never come to input."""


class Lacks(Exception):
    """What EDGE mode's rule set needs, and this machine does not have."""


@dataclass(slots=True)
class Side:
    name: str
    host: Host
    vms: dict[int, Vm] = field(default_factory=dict)
    """By the instance's number."""
    enforcement: Enforcement | None = None

    def forget_flows(self) -> None:
        with self.host.entered():
            netlink = Netlink(_NETFILTER)
        try:
            netlink.order_all(_FORGET_FLOWS, [bytes([2, 0, 0, 0])])
        finally:
            netlink.close()


@contextmanager
def hypervisor(name: str) -> Iterator[Side]:
    host = Host.create(name)
    side = Side(name, host)
    try:
        host.set_sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        host.ip(
            f"link add br0 address {edge.BRIDGE_MAC} type bridge", f"address add {NODE}/16 dev br0", "link set br0 up"
        )
        yield side
    finally:
        for vm in side.vms.values():
            vm.host.delete()
        host.delete()


def plug(side: Side, instances: Sequence[Instance]) -> None:
    for instance in instances:
        inside = Host.create(f"{side.name}-{instance.number}")
        side.vms[instance.number] = Vm(
            inside, side.name, instance.interface, instance.mac, IPv4Address(instance.private_ip)
        )
        inside.set_sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        peer = f"name eth0 address {instance.mac} netns {inside.name}"
        side.host.ip(
            f"link add {instance.interface} type veth peer {peer}", f"link set {instance.interface} master br0 up"
        )
        inside.ip(f"address add {instance.private_ip}/16 dev eth0", "link set eth0 up")


@contextmanager
def preferred() -> Iterator[None]:
    """This thread before others, as the agent's unit has it (`Nice=`); as any other, where that is not permitted."""
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, 0)


@contextmanager
def bare(name: str, instances: Sequence[Instance]) -> Iterator[Side]:
    with hypervisor(name) as side:
        plug(side, instances)
        side.host.nft(_FOLLOWED)
        yield side


@contextmanager
def verge(
    name: str,
    made: Content,
    instances: Sequence[Instance],
    facts: HostFacts = FACTS,
    limits: Limits = RATED,
) -> Iterator[Side]:
    with hypervisor(name) as side, ExitStack() as open_:
        plug(side, instances)
        with side.host.entered():
            side.enforcement = Enforcement(replace(facts, limits=limits))
            open_.callback(side.enforcement.close)
            outcome = side.enforcement.apply(View.parse(wire(made)), clock_seconds=1_700_000_000)
        assert outcome.state == "applied", outcome
        yield side


def make_busy(side: Side) -> None:
    """Its instances are taken for such as have reached their number of flows."""
    addresses = ", ".join(str(vm.ip) for vm in side.vms.values())
    side.host.nft(f"add element ip verge busy_from {{ {addresses} }}")


@contextmanager
def like_edge(name: str, made: Content, instances: Sequence[Instance]) -> Iterator[Side]:
    with hypervisor(name) as side:
        plug(side, instances)
        side.host.run("ipset", "restore", stdin=edge.sets(made), timeout=60)
        side.host.run("iptables-legacy-restore", stdin=edge.tables(made), timeout=60)
        side.host.run("ebtables-nft-restore", stdin=edge.frame_table(made), timeout=60)
        yield side


def need_edge() -> None:
    """Raises Lacks."""
    missing = sorted({package for program, package in PACKAGES.items() if shutil.which(program) is None})
    if missing:
        raise Lacks(f"EDGE mode's rule set needs these packages: apt-get install {' '.join(missing)}")
