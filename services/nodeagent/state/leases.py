"""Who is to have which address by DHCP, and who has: dnsmasq's lease file, read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address


@dataclass(frozen=True, slots=True)
class Host:
    """An instance's claim."""

    address: IPv4Address
    mac: str
    name: str
    instance: str = field(default="", compare=False)
    """Whose it is, for reports."""


@dataclass(frozen=True, slots=True)
class Lease:
    address: IPv4Address
    mac: str


def parse(text: str) -> tuple[Lease, ...]:
    """The lease file of dnsmasq: expiry, MAC, address, name and client identifier in a line. It is rewritten in place, so a
    line may be torn; such a line is no lease yet."""
    return tuple(lease for lease, _ in _lines(text))


def entitled(text: str, hosts: Iterable[Host]) -> str:
    """The lease file without what `stale` would name, and without what is no lease."""
    rights = _rights(hosts)
    return "".join(f"{line}\n" for lease, line in _lines(text) if (lease.address, lease.mac) in rights)


def stale(leases: Iterable[Lease], hosts: Iterable[Host]) -> tuple[Lease, ...]:
    """Leases of those who are not to have them. As long as one lives, its address is refused to the new owner."""
    rights = _rights(hosts)
    return tuple(lease for lease in leases if (lease.address, lease.mac) not in rights)


def _rights(hosts: Iterable[Host]) -> set[tuple[IPv4Address, str]]:
    return {(host.address, host.mac) for host in hosts}


def _lines(text: str) -> Iterator[tuple[Lease, str]]:
    for line in text.splitlines():
        match line.split():
            case [_, mac, address, _, _]:
                try:
                    yield Lease(IPv4Address(address), mac.lower()), line
                except AddressValueError:
                    continue
