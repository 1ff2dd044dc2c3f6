"""The links this agent has to do with, their addresses and settings: our bridge, its uplinks, the public interface, and the
ports that match the pattern."""

import sys
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Final

from nodeagent.kernel import Absent, Exists, identifier
from nodeagent.kernel.netlink import Link, LinkTable
from nodeagent.state import ownership
from nodeagent.state.former import Setting
from nodeagent.state.host import HostFacts, Identity, Links, Port

_SYSCTLS: Final = Path("/proc/sys")
_IPV6: Final = _SYSCTLS / "net/ipv6/conf"
_ROUTES: Final = Path("/proc/thread-self/net/route")
_ROUTES_READ: Final = 1 << 16
"""Some 500 routes, the default one first: a host that has more is a router, and need not be read through each second."""
_BRIDGE_NETFILTER: Final = _SYSCTLS / "net/bridge/bridge-nf-call-iptables"


class HostLinks:
    def __init__(self, facts: HostFacts) -> None:
        self._facts = facts
        self._table = LinkTable()

    def close(self) -> None:
        self._table.close()

    def read(self) -> Links:
        """Without settings, which `sysctls` reads."""
        found = {name: link for name, link in self._table.read().items() if not self._facts.is_scratch(name)}
        names = {link.ifindex: name for name, link in found.items()}
        bridge = found.get(self._facts.bridge)
        ports = {
            name: Port(names.get(link.master), ipv6_disabled=_ipv6_disabled(name), hairpin=link.hairpin)
            for name, link in found.items()
            if self._facts.is_port(name)
        }
        index = bridge.ifindex if bridge else -1
        label = ownership.label(self._facts.bridge)
        every = self._table.addresses()
        ours = frozenset(one.address for one in every if one.ifindex == index and one.label == label)
        addresses = [one for one in every if one.address not in ours and names.get(one.ifindex) != identifier.LINK]
        return Links(
            bridge.call_iptables if bridge else None,
            ports,
            Identity(
                bridge_mac=bridge.mac if bridge else None,
                uplinks=frozenset(n for n, link in found.items() if link.master == index and n not in ports),
                addresses=frozenset(one.address.ip for one in addresses),
                bridge_addresses=frozenset(one.address.ip for one in addresses if one.ifindex == index),
                next_hops=_next_hops(),
            ),
            ours,
        )

    def sysctls(self, names: Iterable[str]) -> dict[str, str]:
        """Those of these that exist."""
        return {name: value for name in names if (value := _read(name)) is not None}

    def filter_bridge(self) -> None:
        """Raises Absent, KernelRefused."""
        self._table.filter_bridge(self._bridge().ifindex)

    def silence(self, port: str) -> None:
        """Raises OSError; a port that has gone meanwhile is silent enough."""
        try:
            (_IPV6 / port / "disable_ipv6").write_text("1")
        except FileNotFoundError:
            return

    def reflect(self, port: str) -> None:
        """Raises KernelRefused; a port that has gone meanwhile, or is none of a bridge, has nothing to send back."""
        link = self._table.read().get(port)
        if link is not None and link.master:
            self._table.set_hairpin(link.ifindex)

    def set_sysctl(self, name: str, value: str) -> None:
        """Raises OSError."""
        (_SYSCTLS / name).write_text(f"{value}\n")

    def add_address(self, address: IPv4Interface) -> None:
        """To the bridge, as ours. Raises Absent, KernelRefused."""
        try:
            self._table.add_address(self._bridge().ifindex, address, ownership.label(self._facts.bridge))
        except Exists:
            return

    def delete_address(self, address: IPv4Interface) -> None:
        """Raises Absent, KernelRefused."""
        self._table.delete_address(self._bridge().ifindex, address)

    def forget_neighbours(self, addresses: Iterable[int]) -> None:
        """The host asks anew on the bridge who has these. Raises Absent, KernelRefused."""
        index = None
        for address in addresses:
            index = self._bridge().ifindex if index is None else index
            with suppress(Absent):
                self._table.delete_neighbour(index, IPv4Address(address))

    # For leaving

    def labelled(self) -> tuple[tuple[str, IPv4Interface], ...]:
        """Addresses that carry our label, on whatever link, with its name."""
        names = {link.ifindex: name for name, link in self._table.read().items()}
        return tuple(
            (names[one.ifindex], one.address)
            for one in self._table.addresses()
            if one.ifindex in names and one.label == ownership.label(names[one.ifindex])
        )

    def drop_address(self, link: str, address: IPv4Interface) -> None:
        """Raises KernelRefused; of a link that has gone it is gone too."""
        found = self._table.read().get(link)
        if found is not None:
            self._table.delete_address(found.ifindex, address)

    def setting(self, setting: Setting) -> str | None:
        """Its value; None where there is no such setting, bridge or port any more."""
        if setting.kind == "sysctl":
            return _read(setting.name)
        link = self._table.read().get(setting.name)
        if link is None:
            return None
        if setting.kind == "hairpin":
            return str(int(link.hairpin)) if link.master else None
        return None if link.call_iptables is None else str(int(link.call_iptables))

    def set_back(self, setting: Setting, value: str) -> None:
        """Raises KernelRefused, OSError."""
        if setting.kind == "sysctl":
            self.set_sysctl(setting.name, value)
            return
        link = self._table.read().get(setting.name)
        if link is None:
            return
        change = self._table.set_hairpin if setting.kind == "hairpin" else self._table.filter_bridge
        change(link.ifindex, on=value == "1")

    def _bridge(self) -> Link:
        bridge = self._table.read().get(self._facts.bridge)
        if bridge is None:
            raise Absent(f"there is no bridge {self._facts.bridge}")
        return bridge


def can_filter_bridges() -> bool:
    """Is br_netfilter there? Without it bridged packets never meet the ip table."""
    return _BRIDGE_NETFILTER.exists()


def _next_hops() -> frozenset[IPv4Address]:
    with _ROUTES.open("rb") as table:
        lines = table.read(_ROUTES_READ).splitlines()[1:]
    gateways = {fields[2] for line in lines if len(fields := line.split()) > 3}
    return frozenset(IPv4Address(int(one, 16).to_bytes(4, sys.byteorder)) for one in gateways if int(one, 16))


def _ipv6_disabled(port: str) -> bool:
    """A kernel without IPv6 has it disabled everywhere."""
    return _read(f"net/ipv6/conf/{port}/disable_ipv6") != "0"


def _read(name: str) -> str | None:
    try:
        return (_SYSCTLS / name).read_text().strip()
    except FileNotFoundError:
        return None
