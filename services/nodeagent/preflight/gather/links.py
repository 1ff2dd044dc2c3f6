"""Interfaces, addresses, routes: less than a millisecond."""

import sys
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from nodeagent.kernel.links import can_filter_bridges
from nodeagent.kernel.netlink import LinkTable
from nodeagent.preflight.facts import Interface, Links, Route

_ROUTES = Path("/proc/thread-self/net/route")
_UP, _GATEWAY = 0x1, 0x2


def links() -> Links:
    """Raises OSError, KernelRefused."""
    table = LinkTable()
    try:
        found, every = table.read(), table.addresses()
    finally:
        table.close()
    names = {link.ifindex: name for name, link in found.items()}
    addresses: dict[int, list[IPv4Interface]] = {}
    for one in every:
        addresses.setdefault(one.ifindex, []).append(one.address)
    return Links(
        {
            name: Interface(
                link.kind, link.is_up, link.mtu, names.get(link.master), tuple(addresses.get(link.ifindex, ()))
            )
            for name, link in found.items()
        },
        _routes(),
        can_filter_bridges(),
    )


def _routes() -> tuple[Route, ...]:
    """proc(5): addresses are hexadecimal in the order of this machine."""
    found = []
    for line in _ROUTES.read_text().splitlines()[1:]:
        name, to, _, flags, _, _, _, mask = line.split()[:8]
        if int(flags, 16) & _UP:
            network = IPv4Network((_address(to), str(_address(mask))), strict=False)
            found.append(Route(network, name, is_direct=not int(flags, 16) & _GATEWAY))
    return tuple(found)


def _address(text: str) -> IPv4Address:
    return IPv4Address(int(text, 16).to_bytes(4, sys.byteorder))
