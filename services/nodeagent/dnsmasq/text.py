"""What dnsmasq reads: configuration, options, hosts. And what it is told: a lease that is given back. Pure.

What may change without a restart is not in the configuration: options and hosts are read again on SIGHUP, new hosts at
once (inotify).
"""

import struct
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final

from nodeagent.desired.dhcp import LEASE_S, Dhcp
from nodeagent.desired.reserved import IDENTIFIER
from nodeagent.dnsmasq import DnsmasqFailed
from nodeagent.kernel.identifier import LINK
from nodeagent.state.leases import Host, Lease

_BOOTREQUEST, _ETHERNET, _RELEASE = 1, 1, 7
_MAGIC: Final = bytes([99, 130, 83, 99])  # RFC 2131, 3


def configuration(subnet: IPv4Network, bridge: str, links: tuple[int, int], directory: Path) -> str:
    """Requests that come in by the bridge are treated as if they came in by the link that holds the server identifier
    (`bridge-interface`), so the bridge needs no address in the zone's subnet, and may have any.

    `links` are the indices of both. dnsmasq settles at its start which of them its socket hears, and does not get over one
    that is made anew (tried): other indices are another configuration, and so another process."""
    return f"""\
# Written by the Verge node agent, and read once: changes here are lost. Links {links[0]} and {links[1]}.
port=0
no-resolv
no-hosts
interface={LINK}
interface={bridge}
bind-dynamic
bridge-interface={LINK},{bridge}
shared-network={LINK},{subnet.network_address}
dhcp-range={subnet.network_address},static,{subnet.netmask},{subnet.broadcast_address},{LEASE_S}
dhcp-hostsdir={_quoted(directory / "hosts")}
dhcp-optsfile={_quoted(directory / "options")}
dhcp-leasefile={_quoted(directory / "leases")}
dhcp-lease-max=65536
# a stranger is not even refused: in a flat network he may be another server's client
dhcp-ignore=tag:!known
# a lease that we do not know is that of an instance that moved here, or one from before our own restart
dhcp-authoritative
# an instance is its MAC; the client identifier changes between a boot loader and the system it loads
dhcp-ignore-clid
# the view says whose an address is
no-ping
quiet-dhcp
"""


def _quoted(path: Path) -> str:
    """Within quotes nothing but these two has a meaning. Raises DnsmasqFailed for what a line cannot hold."""
    text = str(path)
    if not text.isprintable():
        raise DnsmasqFailed(f"{text!r} has a character that dnsmasq cannot be told: name another state directory")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def configuration_name(text: str) -> str:
    """The command line names the file, and so tells which configuration a process was started with."""
    return f"dnsmasq-{sha256(text.encode()).hexdigest()[:16]}.conf"


def options(wanted: Dhcp) -> str:
    """Netmask, broadcast, lease time and host name come with the subnet and the host. Routes twice: RFC 3442's option, and
    the one that older Windows asks for."""
    routes = ",".join(f"{network},{wanted.router}" for network in wanted.routes)
    lines = [f"option:router,{wanted.router}", f"option:classless-static-route,{routes}", f"249,{routes}"]
    if wanted.dns_servers:
        lines.append("option:dns-server," + ",".join(map(str, wanted.dns_servers)))
    if wanted.domain:
        lines.append(f"option:domain-name,{wanted.domain}")
    if wanted.mtu:
        lines.append(f"option:mtu,{wanted.mtu}")
    return "".join(f"{line}\n" for line in lines)


def host(one: Host) -> str:
    return f"{one.mac},{one.address},{one.name}\n"


def release(lease: Lease, identifier: IPv4Address = IDENTIFIER) -> bytes:
    """DHCPRELEASE (RFC 2131, 4.4.6) in the name of the lease's holder. Without a client identifier dnsmasq looks for it by
    MAC."""
    mac = bytes.fromhex(lease.mac.replace(":", ""))
    fixed = struct.pack(
        "!BBBBIHH4s4s4s4s16s64s128s",
        *(_BOOTREQUEST, _ETHERNET, len(mac), 0, int(lease.address), 0, 0),
        *(lease.address.packed, bytes(4), bytes(4), bytes(4)),
        *(mac, b"", b""),
    )
    return fixed + _MAGIC + bytes([53, 1, _RELEASE, 54, 4]) + identifier.packed + b"\xff"
