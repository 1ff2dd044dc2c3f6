"""Two hypervisors with three VMs each, on either topology, where elastic IPs and first hops are tried.

    nc-1   a  elastic 1      nc-2   d  elastic 3
           b  elastic 2             e  none
           c  none                  f  none

All VMs are in one group, `sg`, which lets tcp 80 and ping in from everywhere and tcp 22 from its own members.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lab import topology
from lab.build import Lab, Vm
from lab.host import Host
from lab.topology import FIRST_VM
from tests.dataplane.cloud import Cloud
from tests.unit.nodeagent.wires import group, rule

NAMES = "abcdef"
FLAT = ("flat", "impersonate")
TWO = ("two", "node")
EVERYWHERE = [
    FLAT,
    ("flat", "router"),
    ("flat", "proxy"),
    TWO,
    ("two", "impersonate"),
    ("two", "router"),
    ("two", "proxy"),
]


def named(kind: tuple[str, str]) -> str:
    return "-".join(kind)


class Place:
    """`a` to `f` are VMs, `elastic(n)` addresses of the pool."""

    def __init__(self, lab: Lab, gateway_mode: str, *, transit: bool) -> None:
        self.lab = lab
        self.is_separate = lab.topology.is_separate
        self.vms = {
            name: lab.plug(
                f"nc-{n // 3 + 1}", interface=f"vn_i-{n + 1:08d}", mac=f"d0:0d:00:00:00:{n + 1:02x}", ip=FIRST_VM + n
            )
            for n, name in enumerate(NAMES)
        }
        self.cloud = Cloud(lab, list(self.vms.values()), transit=transit)
        self.cloud.gateway_mode = gateway_mode
        self.cloud.groups = {
            "sg": group(rule("tcp", 80, cidr="0.0.0.0/0"), rule("icmp", cidr="0.0.0.0/0"), rule("tcp", 22, group="sg"))
        }
        self.cloud.groups_of = {vm.interface: ["sg"] for vm in self.vms.values()}
        self.cloud.network = {
            "public_ips": [f"{self.elastic(1)}-{self.elastic(50)}"],
            "metadata": {"host": str(self.clc_address), "port": 8773, "identity": "elastic"},
        }
        self.cloud.elastic = {self.elastic(n): self.vms[name].interface for n, name in ((1, "a"), (2, "b"), (3, "d"))}

    def __getattr__(self, name: str) -> Vm:
        try:
            return self.vms[name]
        except KeyError:
            raise AttributeError(name) from None

    def elastic(self, number: int) -> str:
        return f"198.51.100.{200 + number}" if self.is_separate else f"10.111.200.{number}"

    @property
    def clc(self) -> Host:
        return self.lab["clc"]

    @property
    def clc_address(self) -> Any:
        return topology.PUBLIC_CLC if self.is_separate else topology.CLC

    @property
    def outside(self) -> Host:
        return self.lab["outside"]

    @property
    def node(self) -> Host:
        return self.lab["nc-1"]

    @property
    def other_node(self) -> Host:
        return self.lab["nc-2"]

    def address(self, node: str) -> str:
        """By which the cloud knows it."""
        return self.cloud.addresses[node]

    @property
    def public_segment(self) -> str:
        """The router's interface among the neighbours of elastic IPs."""
        return "dmz0" if self.is_separate else "lan0"

    @property
    def public_interface(self) -> str:
        return "pub0" if self.is_separate else "br0"


@contextmanager
def place(kind: tuple[str, str], *, transit: bool = True, **network: Any) -> Iterator[Place]:
    """Enforced on both nodes; `network` is what differs in the network object."""
    name, mode = kind
    with Lab(topology.two(2) if name == "two" else topology.flat(2)) as lab:
        made = Place(lab, mode, transit=transit)
        made.cloud.network |= network
        with made.cloud:
            made.cloud.enforce()
            yield made


def named_by_no_rule(at: Place) -> None:
    """Else an elastic IP that goes is a member less, too, and those who admitted it judge again."""
    at.cloud.groups["web"] = group(rule("tcp", 80, cidr="0.0.0.0/0"))
    at.cloud.groups_of = {vm.interface: ["web"] for vm in at.vms.values()}
    at.cloud.enforce()
