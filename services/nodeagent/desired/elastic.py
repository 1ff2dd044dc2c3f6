"""Elastic IPs: which instance has which, and the elements that say so.

An elastic IP is never an address of the host. Neighbours get an answer because the host would forward what is sent there
(`resolution`), and what arrives is translated (`translation`): so the elements of one transaction switch all of it, and no
service of the host can ever be reached by it.

    bridge   elastic_here4      answered to the uplink, on a flat network
    arp      answered4          answered on the public interface, on a separate one
    ip       elastic_dnat, elastic_snat    there and back
             elastic_pairs      the bindings in force, looked up at each packet of a translated flow
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from nodeagent.state import ownership
from nodeagent.state.host import Identity
from nodeagent.state.rule import KeyType
from nodeagent.state.ruleset import ROOM, Map, Observed, Set, Span
from verge.contract.members import Members
from verge.contract.view import View, ViewInstance

PAIRS: Final = "elastic_pairs"
DNAT: Final = "elastic_dnat"
SNAT: Final = "elastic_snat"
POOL: Final = "elastic4"

Pair = tuple[int, int]
"""An elastic IP and the private address that has it."""


@dataclass(frozen=True, slots=True)
class Bindings:
    pairs: tuple[Pair, ...] = ()
    """Ascending."""
    faults: tuple[tuple[IPv4Address, str], ...] = ()
    """Elastic IPs that nobody answers for; their instances are enforced without."""

    @property
    def here(self) -> Members:
        return Members.of([elastic for elastic, _ in self.pairs])


def bindings(view: View, enforced: Iterable[ViewInstance], identity: Identity) -> Bindings:
    """The view server checks all of this at its door; views come by other doors too."""
    network = view.network
    used = dict.fromkeys(identity.addresses, "the node itself") | {view.host.address: "the node itself"}
    used |= {view.zone.gateway: "the gateway"} | dict.fromkeys(network.dns_servers, "a DNS server")
    if network.metadata is not None:
        used[network.metadata.host] = "the metadata service"
    having = [vm for vm in enforced if vm.elastic_ip is not None]
    claims = Counter(vm.elastic_ip for vm in having)
    pairs: list[Pair] = []
    faults: dict[IPv4Address, str] = {}
    for vm in having:
        elastic = vm.elastic_ip
        assert elastic is not None
        if claims[elastic] > 1:
            claimants = ", ".join(other.id for other in having if other.elastic_ip == elastic)
            faults[elastic] = f"it is claimed by more than one instance: {claimants}"
        elif elastic in used:
            faults[elastic] = f"it is the address of {used[elastic]}, so that {vm.id} does not get it"
        elif not any(low <= elastic <= high for low, high in network.public_ips):
            faults[elastic] = f"it is in none of the network's public ranges, so that {vm.id} does not get it"
        else:
            pairs.append((int(elastic), int(vm.private_ip)))
    return Bindings(tuple(sorted(pairs)), tuple(sorted(faults.items())))


def pool(view: View, identity: Identity) -> tuple[Span, ...]:
    """Addresses of instances by which the outside knows them. Whatever in the ranges is the host's own, or a server's, is
    none: the host must not lose it."""
    network = view.network
    keep = {int(address) for address in (*identity.addresses, view.host.address, view.zone.gateway)}
    keep |= {int(address) for address in network.dns_servers}
    if network.metadata is not None:
        keep.add(int(network.metadata.host))
    spans = joined(Span(int(low), int(high)) for low, high in network.public_ips)
    return tuple(part for span in spans for part in _without(span, keep))


def joined(spans: Iterable[Span]) -> list[Span]:
    """Ascending and disjoint; neighbours are one."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.low <= found[-1].high + 1:
            found[-1] = Span(found[-1].low, max(span.high, found[-1].high))
        else:
            found.append(span)
    return found


def _without(span: Span, addresses: Iterable[int]) -> Iterable[Span]:
    low = span.low
    for address in sorted(addresses):
        if not low <= address <= span.high:
            continue
        if low < address:
            yield Span(low, address - 1)
        low = address + 1
    if low <= span.high:
        yield Span(low, span.high)


def sets(found: Bindings, ranges: tuple[Span, ...]) -> dict[str, Set]:
    return {
        POOL: Set((KeyType.IPV4,), frozenset((span,) for span in ranges), interval=True),
        PAIRS: Set((KeyType.IPV4, KeyType.IPV4), frozenset(found.pairs), room=ROOM),
    }


def maps(found: Bindings) -> dict[str, Map]:
    return {
        DNAT: Map(KeyType.IPV4, "ipv4_addr", dict(found.pairs), room=ROOM),
        SNAT: Map(KeyType.IPV4, "ipv4_addr", {private: elastic for elastic, private in found.pairs}, room=ROOM),
    }


def in_force(observed: Observed) -> set[Pair]:
    """What the kernel was seen to hold."""
    seen = observed.get(ownership.IP)
    held = seen.sets.get(PAIRS) if seen else None
    if held is None or not isinstance(held.elements, frozenset):
        return set()
    return {(one[0], one[1]) for one in held.elements if isinstance(one[0], int) and isinstance(one[1], int)}
