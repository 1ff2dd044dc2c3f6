"""View → what instances are told by DHCP (RFC 2131): who has which address, and the options that go with it.

EDGE gave a lease of a day, netmask, broadcast, domain, DNS servers and the zone's gateway, to instances of this node and
to nobody else. Verge gives the same, and a host name and the MTU where the network has one.

The server calls itself by one address on every node (`IDENTIFIER`), so that a client that was moved renews with the node it
is on now: a client sends its renewals there, and each node keeps for itself what its ports send to UDP port 67.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from nodeagent.desired import instances as sorting
from nodeagent.desired.parts import NOTHING, LeftOut, closed_instances
from nodeagent.state.host import HostFacts
from nodeagent.state.leases import Host
from verge.contract.report import Failure
from verge.contract.view import View

IDENTIFIER: Final = IPv4Address("169.254.67.67")
"""The server identifier (option 54) everywhere.

Not the gateway's address, which a real router may own: dnsmasq can only be what an interface of its host is, and a host
that holds its own router's address, even unrouted and on a link that is down, takes the router's packets for forged ones
and is cut off from it (tried). A client reaches this one by its default route, or, where it believes that
link-local addresses are on its own link, fails to, and renews by broadcast later (RFC 2131, 4.4.5).
"""

LEASE_S: Final = 86_400
"""As EDGE: renewed after half a day, so a network whose servers are away for a night loses no address."""

_DOMAIN: Final = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)


@dataclass(frozen=True, slots=True)
class Dhcp:
    """Equal views give equal ones."""

    hosts: tuple[Host, ...]
    """By address."""
    subnet: IPv4Network
    """Of the zone: netmask and broadcast."""
    router: IPv4Address
    dns_servers: tuple[IPv4Address, ...]
    domain: str | None
    mtu: int | None
    """None: the client keeps what its interface has."""
    failures: tuple[Failure, ...] = ()


def dhcp(view: View, facts: HostFacts, left_out: LeftOut = NOTHING) -> Dhcp:
    """A quarantined instance gets no address: its port is closed anyhow."""
    failures = []
    hosts = []
    for vm in sorting.sort(view, facts, closed_instances(left_out)).enforced:
        if vm.private_ip in view.zone.subnet:
            hosts.append(Host(vm.private_ip, vm.mac, host_name(vm.private_ip), vm.id))
        else:
            why = (
                f"{vm.private_ip} is outside {view.zone.subnet}, the subnet of zone {view.zone.name}: it gets no lease"
            )
            failures.append(Failure(f"instances/{vm.id}", "dhcp", why))
    domain = view.network.dns_domain or None
    if domain is not None and not _DOMAIN.fullmatch(domain):
        failures.append(Failure("network", "dhcp", f"{domain!r} is no domain name: instances are told none"))
        domain = None
    return Dhcp(
        hosts=tuple(sorted(hosts, key=lambda host: host.address)),
        subnet=view.zone.subnet,
        router=view.zone.gateway,
        dns_servers=view.network.dns_servers,
        domain=domain,
        mtu=view.network.mtu,
        failures=tuple(failures),
    )


def host_name(address: IPv4Address) -> str:
    """`ip-10-111-101-94`, as EC2 names instances by their private address; the domain is an option of its own."""
    return "ip-" + str(address).replace(".", "-")
