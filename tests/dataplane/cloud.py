"""Enforcement on the nodes of a lab: a small cloud whose policy a test changes and puts into force."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from types import TracebackType
from typing import Any, Self

from lab.build import Lab, Vm
from lab.host import Host
from lab.topology import Topology
from nodeagent.enforcement import Enforcement, Outcome
from nodeagent.state.host import HostFacts
from tests.unit.nodeagent.wires import wire
from verge.contract.view import View

FACTS = HostFacts("br0", "br0", uplinks=("up0",))


def facts_of(topology: Topology, *, transit: bool = True) -> HostFacts:
    """As the hypervisors' agents are told."""
    return HostFacts("br0", topology.public_interface, uplinks=("up0",), transit=transit)


_clock = count(1_700_000_000)


def instance_of(vm: Vm) -> str:
    return vm.interface.removeprefix("vn_")


class Node:
    """One hypervisor's enforcement. Everything that touches the kernel happens inside its namespace."""

    def __init__(self, host: Host, facts: HostFacts = FACTS) -> None:
        self.host = host
        self._facts = facts
        with host.entered():
            self.enforcement = Enforcement(facts)

    def apply(self, view: View | None) -> Outcome:
        with self.host.entered():
            return self.enforcement.apply(view, clock_seconds=next(_clock))

    def resync(self, view: View | None) -> Outcome:
        with self.host.entered():
            return self.enforcement.resync(view, clock_seconds=next(_clock))

    def plan(self, view: View | None) -> tuple[str, ...]:
        with self.host.entered():
            return self.enforcement.plan(view).steps

    def moved(self) -> bool:
        with self.host.entered():
            return self.enforcement.moved()

    def restart(self, facts: HostFacts | None = None) -> None:
        """As after kill -9 with every memory lost."""
        self.enforcement.close()
        self._facts = facts or self._facts
        with self.host.entered():
            self.enforcement = Enforcement(self._facts)


class Cloud:
    """`groups` and `groups_of` (by interface) are the policy; `enforce` makes the nodes' kernels match it."""

    def __init__(self, lab: Lab, vms: list[Vm], *, transit: bool = True, self_test: bool = False) -> None:
        self.lab = lab
        self.vms = list(vms)
        self.groups: dict[str, dict[str, Any]] = {}
        self.groups_of: dict[str, list[str]] = {}
        self.extra_members: dict[str, list[str]] = {}
        self.network: dict[str, Any] = {}
        self.elastic: dict[str, str] = {}
        """Elastic IP → interface."""
        self.holder: dict[str, str] = {}
        """Interface → the node whose view says that its port is open, if that is not the one where its VM is plugged in."""
        self.prepared: dict[str, str] = {}
        """Interface → the node whose view has it with its port closed."""
        self.gateway_mode = "router"
        facts = replace(facts_of(lab.topology, transit=transit), self_test=self_test)
        self.addresses = {host.name: str(host.addresses(facts.public_interface)[0].ip) for host in lab.nodes}
        self._open = ExitStack()
        self.nodes = {host.name: Node(host, facts) for host in lab.nodes}
        for node in self.nodes.values():
            self._open.callback(node.enforcement.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    def view(self, node: str) -> View:
        members = {
            name: [str(vm.ip) for vm in self.vms if name in self.groups_of.get(vm.interface, ())]
            + [ip for ip, interface in self.elastic.items() if name in self.groups_of.get(interface, ())]
            + self.extra_members.get(name, [])
            for name in self.groups
        }
        elastic = {interface: ip for ip, interface in self.elastic.items()}
        instances = {
            instance_of(vm): {
                "mac": vm.mac,
                "private_ip": str(vm.ip),
                "elastic_ip": elastic.get(vm.interface),
                "interface": vm.interface,
                "groups": self.groups_of.get(vm.interface, []),
                "account": "a",
                "node": "nc-1" if self.holder.get(vm.interface, vm.node) == node else "another",
            }
            for vm in self.vms
            if node in (self.holder.get(vm.interface, vm.node), self.prepared.get(vm.interface))
        }
        made = wire(instances, self.groups, members, host=self.addresses[node], **self.network)
        made["host"]["gateway_mode"] = self.gateway_mode
        return View.parse(made)

    def enforce(self, *nodes: str) -> dict[str, Outcome]:
        """On all nodes, or these. Every one must have applied it wholly."""
        outcomes = {name: self.nodes[name].apply(self.view(name)) for name in nodes or self.nodes}
        for name, outcome in outcomes.items():
            assert outcome.state == "applied", f"{name}: {outcome}"
        return outcomes
