"""The host's own addresses, and whether what the view speaks of is where the host can reach it."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from nodeagent.preflight.facts import Links
from nodeagent.state.host import HostFacts
from verge.contract.report import Check
from verge.contract.view import View


def checks(found: Links, host: HostFacts, view: View | None) -> Iterator[Check]:
    """Of interfaces that are there: that they are is another check."""
    if view is None:
        if host.bridge in found.interfaces:
            yield _any_address(found, host)
        return
    yield _node_address(found, host, view)
    if host.bridge in found.interfaces:
        yield _bridge_address(found, host, view)
    if view.network.public_ips and host.public_interface in found.interfaces:
        yield _pool(found, host, view)


def _any_address(found: Links, host: HostFacts) -> Check:
    addresses = found.interfaces[host.bridge].addresses
    return Check(
        "bridge-address",
        ok=bool(addresses),
        severity="warning",
        found=", ".join(map(str, addresses)) or f"{host.bridge} has no address",
        needed="an address on the private network; no view says which",
        remedy=f"# ip address add ADDRESS/LENGTH dev {host.bridge}",
    )


def _node_address(found: Links, host: HostFacts, view: View) -> Check:
    """By it the cloud knows the node, and masqueraded instances are known outside."""
    address = view.host.address
    holders = [name for name, one in found.interfaces.items() for own in one.addresses if own.ip == address]
    right = host.public_interface in holders or host.bridge in holders
    own = [f"{one} on {name}" for name, link in found.interfaces.items() for one in link.addresses if name != "lo"]
    length = _length_near(found, host, address, view)
    return Check(
        "node-address",
        ok=right,
        severity="warning",
        found=f"{address} is on {holders[0]}" if holders else f"{address} is not here, but {', '.join(own) or 'none'}",
        needed=f"{address}, by which the cloud knows this node, on {host.public_interface}",
        remedy=f"ip address add {address}/{length} dev {host.public_interface}"
        "  # or tell the cloud the node's true address",
    )


def _length_near(found: Links, host: HostFacts, address: IPv4Address, view: View) -> int:
    """Of the network that the address is in, as far as that can be seen."""
    direct = [one.to for one in found.routes if one.is_direct and one.interface == host.public_interface]
    networks = [network for network in (*direct, view.zone.subnet) if address in network]
    return max((network.prefixlen for network in networks), default=32)


def _bridge_address(found: Links, host: HostFacts, view: View) -> Check:
    """Without a way to the instances nothing that is routed or translated arrives."""
    subnet, bridge = view.zone.subnet, found.interfaces[host.bridge]
    inside = [own for own in bridge.addresses if own.ip in subnet]
    routed = any(_is_way(one.to, subnet) for one in found.routes if one.interface == host.bridge and one.is_direct)
    given = view.host.gateway_mode == "node"
    address = view.host.address if view.host.address in subnet else "ADDRESS"
    add = f"ip address add {address}/{subnet.prefixlen} dev {host.bridge}"
    if inside:
        said = ", ".join(map(str, inside))
    elif given:
        said = "Verge adds the gateway's address"
    else:
        outside = f", but {', '.join(map(str, bridge.addresses))}" if bridge.addresses else ""
        said = f"{host.bridge} has no address in {subnet}{outside}" + (", but a route to it" if routed else "")
    return Check(
        "bridge-address",
        ok=bool(inside) or routed or given,
        found=said,
        needed=f"an address on {host.bridge} inside {subnet}, the subnet of zone {view.zone.name}",
        remedy=f"# {add}, with a free address" if address == "ADDRESS" else add,
    )


def _is_way(to: IPv4Network, subnet: IPv4Network) -> bool:
    return to.prefixlen > 0 and subnet.subnet_of(to)


def _pool(found: Links, host: HostFacts, view: View) -> Check:
    """Neighbours ask for an elastic IP on the link only if it is in a network of that link."""
    own = [address.network for address in found.interfaces[host.public_interface].addresses]
    direct = [one.to for one in found.routes if one.is_direct and one.interface == host.public_interface]
    far = [
        f"{low}-{high}"
        for low, high in view.network.public_ips
        if not any(low in network and high in network for network in (*own, *direct) if network.prefixlen)
    ]
    return Check(
        "elastic-ips",
        ok=not far,
        severity="warning",
        found=f"{', '.join(far)} in no network of {host.public_interface}" if far else f"on {host.public_interface}",
        needed=f"elastic IPs in a network that {host.public_interface} is on, or routed to it by the router there",
        remedy=f"# put {host.public_interface} on that network, or let the router there send them to this link"
        if far
        else "",
    )
