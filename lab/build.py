"""A topology made real: namespaces, switches, hypervisors, and VMs plugged into them.

Nothing filters here: every frame reaches everything until somebody (an agent, a test) puts rules into a hypervisor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from types import TracebackType
from typing import Self
from zlib import crc32

from lab.host import Host
from lab.topology import Attachment, Machine, Topology, Zone

_SWITCH = "sw0"


@dataclass(slots=True)
class Vm:
    """A VM: `host` is inside (its eth0), `interface` its port on the hypervisor `node`."""

    host: Host
    node: str
    interface: str
    mac: str
    ip: IPv4Address


class Lab:
    """The hosts of one topology by name, and the VMs by interface name. A context manager: leaving it deletes all.

    `founded` are hosts of the topology that exist already, bare, perhaps with processes in them; they are the lab's from now on.
    """

    def __init__(self, topology: Topology, founded: Iterable[Host] = ()) -> None:
        self.topology = topology
        self.vms: dict[str, Vm] = {}
        self._hosts: dict[str, Host] = {host.name: host for host in founded}
        self._zones = {machine.name: machine.zone for machine in topology.machines if machine.zone}
        try:
            self._build()
        except BaseException:
            self.delete()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.delete()

    def __getitem__(self, name: str) -> Host:
        """A host of the topology ("nc-1", "router", "outside", …), or a VM's by its interface name."""
        return self._hosts[name] if name in self._hosts else self.vms[name].host

    @property
    def hosts(self) -> Mapping[str, Host]:
        return self._hosts

    @property
    def nodes(self) -> tuple[Host, ...]:
        """The hypervisors, in order."""
        return tuple(self._hosts[name] for name in self.topology.nodes)

    def delete(self) -> None:
        """Processes in the hosts are the caller's to end first; the kernel frees a namespace after its last one."""
        for vm in self.vms.values():
            vm.host.delete()
        for host in self._hosts.values():
            host.delete()
        self.vms.clear()
        self._hosts.clear()

    # -- VMs

    def plug(self, node: str, *, interface: str, mac: str, ip: IPv4Address | str, ipv6: bool = False) -> Vm:
        """A new VM with its port on the node's bridge: address, default route via the zone's gateway, and up."""
        zone = self._zones[node]
        if interface in self.vms:
            raise ValueError(f"{interface} is plugged already, on {self.vms[interface].node}")
        vm = Vm(Host.create(interface), node, interface, mac, IPv4Address(ip))
        self.vms[interface] = vm
        vm.host.set_sysctl("net.ipv6.conf.default.disable_ipv6", int(not ipv6))
        self[node].ip(
            f"link add {interface} type veth peer name eth0 address {mac} netns {vm.host.name}",
            *_port_up(interface, zone),
        )
        vm.host.ip(
            f"address add {vm.ip}/{zone.subnet.prefixlen} brd + dev eth0",
            "link set eth0 up",
            f"route add default via {zone.gateway} dev eth0 onlink",
        )
        return vm

    def unplug(self, interface: str) -> None:
        """The VM is gone, and its port with it, when this returns."""
        vm = self.vms.pop(interface)
        self[vm.node].ip(f"link delete {interface}")
        vm.host.delete()

    def move(self, interface: str, node: str) -> Vm:
        """Live migration: the port appears on another node; the guest notices nothing but a moment without carrier."""
        vm = self.vms[interface]
        self[vm.node].ip(f"link set {interface} netns {node}")
        vm.node = node
        self[node].ip(*_port_up(interface, self._zones[node]))
        return vm

    # -- the topology

    def _build(self) -> None:
        for name in self.topology.segments:
            switch = self._hosts[name] = Host.create(name)
            _without_ipv6(switch)
            switch.ip(f"link add {_SWITCH} type bridge", f"link set {_SWITCH} up")
        for machine in self.topology.machines:
            if machine.name not in self._hosts:
                self._hosts[machine.name] = Host.create(machine.name)
            _without_ipv6(self._hosts[machine.name])
        for name in self.topology.segments:
            self._hosts[name].ip(*(line for machine in self.topology.machines for line in _cables(name, machine)))
        for machine in self.topology.machines:
            host = self._hosts[machine.name]
            host.ip(
                *(line for attachment in machine.attachments for line in _attach(machine, attachment)),
                *_routes(machine),
            )
            if machine.forwards:
                host.set_sysctl("net.ipv4.ip_forward", 1)


def _without_ipv6(host: Host) -> None:
    """The clouds built here are IPv4; router solicitations and duplicate probes would only be noise in captures."""
    host.set_sysctl("net.ipv6.conf.default.disable_ipv6", 1)


def _cables(segment: str, machine: Machine) -> list[str]:
    """In the segment's namespace: a veth to each of the machine's interfaces there, its end a port of the switch."""
    lines = []
    for attachment in machine.attachments:
        if attachment.segment != segment:
            continue
        peer = f"name {attachment.interface} address {_mac(machine, attachment)} netns {machine.name}"
        lines += [
            f"link add {machine.name} type veth peer {peer}",
            f"link set {machine.name} master {_SWITCH} up",
        ]
    return lines


def _attach(machine: Machine, attachment: Attachment) -> list[str]:
    """In the machine's namespace: its interface up, and the address where the attachment wants it."""
    lines = [f"link set {attachment.interface} up"]
    if attachment.bridge:
        lines += [
            # A bridge whose address is not set takes the lowest of its ports': it would change as VMs come and go.
            f"link add {attachment.bridge} address {_mac(machine, attachment)} type bridge",
            f"link set {attachment.interface} master {attachment.bridge}",
            f"link set {attachment.bridge} up",
        ]
    if attachment.address:
        lines.append(f"address add {attachment.address} brd + dev {attachment.bridge or attachment.interface}")
    return lines


def _mac(machine: Machine, attachment: Attachment) -> str:
    """The same in every run: 02:aa and the address, recognisable in a capture, unless the topology says otherwise."""
    if attachment.mac:
        return attachment.mac
    if attachment.address:
        return "02:aa:" + attachment.address.ip.packed.hex(":")
    return "02:bb:" + crc32(f"{machine.name} {attachment.interface}".encode()).to_bytes(4).hex(":")


def _routes(machine: Machine) -> list[str]:
    on_link = [f"route add {network} dev {interface}" for network, interface in machine.on_link]
    others = [f"route add {network} via {router}" for network, router in machine.routes]
    return on_link + others + ([f"route add default via {machine.gateway}"] if machine.gateway else [])


def _port_up(interface: str, zone: Zone) -> list[str]:
    return [f"link set {interface} master {zone.bridge} up"]
