"""View → what instances are told by DHCP (RFC 2131): who has which address, and the options that go with it.

EDGE gave a lease of a day, netmask, broadcast, domain, DNS servers and the zone's gateway, to instances of this node and
to nobody else. Verge gives the same, and a host name, the MTU where the network has one, and routes.

The server calls itself by one address on every node (`reserved.IDENTIFIER`), so that a client that was moved renews with
the node it is on now: a client sends its renewals there, and each node keeps for itself what its ports send to UDP port 67.

A guest may believe that link-local addresses are on its own link (RFC 3927; many route 169.254.0.0/16 there). So it is
told routes to the two that are not: else its renewals and the metadata service would hang on this node answering ARP for
them, which it does in some gateway modes only.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from nodeagent.desired import instances as sorting
from nodeagent.desired.parts import NOTHING, LeftOut, closed_instances
from nodeagent.desired.reserved import IDENTIFIER, METADATA
from nodeagent.state.host import HostFacts
from nodeagent.state.leases import Host
from verge.contract.report import Failure
from verge.contract.view import View

LEASE_S: Final = 86_400
"""As EDGE: renewed after half a day, so a network whose servers are away for a night loses no address."""

DNS_SERVERS: Final = 60
"""As many as a line of dnsmasq holds (1,024 octets); three more would fit the option."""

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

    @property
    def routes(self) -> tuple[IPv4Network, ...]:
        """All by way of `router`. Who takes these heeds no other default route (RFC 3442), so it is among them."""
        return (IPv4Network(IDENTIFIER), IPv4Network(METADATA), IPv4Network("0.0.0.0/0"))


def dhcp(view: View, facts: HostFacts, left_out: LeftOut = NOTHING) -> Dhcp:
    """A quarantined instance gets no address: its port is closed anyhow."""
    failures = []
    hosts = []
    sorted_ = sorting.sort(view, facts, closed_instances(left_out))
    for vm in (*sorted_.enforced, *sorted_.prepared):
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
    servers = view.network.dns_servers
    if len(servers) > DNS_SERVERS:
        why = f"{len(servers)} DNS servers: instances are told the first {DNS_SERVERS}, no more can be told"
        failures.append(Failure("network", "dhcp", why))
    return Dhcp(
        hosts=tuple(sorted(hosts, key=lambda host: host.address)),
        subnet=view.zone.subnet,
        router=view.zone.gateway,
        dns_servers=servers[:DNS_SERVERS],
        domain=domain,
        mtu=view.network.mtu,
        failures=tuple(failures),
    )


def host_name(address: IPv4Address) -> str:
    """`ip-10-111-101-94`, as EC2 names instances by their private address; the domain is an option of its own."""
    return "ip-" + str(address).replace(".", "-")
