"""Who answers whose ARP: the first hop and elastic IPs, in the bridge table; elastic IPs alone, in the arp table.

    an instance asks            bridge input ─▶ vm_asks ─▶ the kernel answers (proxy_arp_pvlan) for the gateway, the cloud's
                                                           own services, elastic IPs, and the host's own addresses
    somebody on the uplink      bridge input ─▶ others_ask ─▶ … for elastic IPs held here, and the host's own addresses
    on a separate public link   arp input ─▶ likewise

The setting lets the kernel answer for every address that it would forward to; these chains say for which it may. So none
of them need be the host's own. What this node answers is not asked across the bridge: no other may answer it, and where the
gateway is a real router (`impersonate`), instances and router meet through this host only, so that what they send is
routed, and translated, here.

Where the node speaks for its instances (`proxy`), it answers them for all of their subnet, and everybody else for them:
nothing of theirs crosses the bridge, all is routed here, and the wire knows this host's MAC address alone.

All of it has one MAC address on all nodes: an instance that moves keeps its neighbour entries. What it sends there is
readdressed to this bridge at its port.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from nodeagent.desired import dhcprules
from nodeagent.desired.elastic import joined
from nodeagent.desired.reserved import IDENTIFIER, METADATA
from nodeagent.state.host import HostFacts, Identity
from nodeagent.state.rule import (
    ACCEPT,
    DROP,
    Field,
    Goto,
    Jump,
    KeyType,
    Rule,
    Write,
    differs,
    equals,
    outside,
    rule,
    within,
)
from nodeagent.state.ruleset import ROOM, Chain, Element, Hook, Set, Span, Table
from verge.contract.members import Members
from verge.contract.view import GatewayMode, View, ViewInstance

INPUT = Hook("input", -300)
OUTPUT = Hook("output", -300)
ARP_INPUT = Hook("input", 0)

_ARP = equals(Field.ETHER_TYPE, "arp")
_REQUEST = equals(Field.ARP_OPERATION, "request")
_REPLY = equals(Field.ARP_OPERATION, "reply")


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a view says of it, without its instances."""

    mode: GatewayMode
    gateway: int
    subnet: Span
    pool: tuple[Span, ...]
    """Of elastic IPs."""
    known: tuple[int, ...]
    """Servers whose announcements the host heeds."""


NOTHING: Final = Resolution("router", 0, Span(0, 0), (), ())


def resolution(view: View, pool: tuple[Span, ...]) -> Resolution:
    network = view.network
    servers = {*network.dns_servers, view.zone.gateway}
    if network.metadata is not None:
        servers.add(network.metadata.host)
    known = tuple(sorted(map(int, servers)))
    subnet = Span(int(view.zone.subnet.network_address), int(view.zone.subnet.broadcast_address))
    return Resolution(view.host.gateway_mode, int(view.zone.gateway), subnet, pool, known)


def owned(found: Resolution) -> frozenset[IPv4Address]:
    """Addresses that the bridge has on every node."""
    return frozenset((IPv4Address(found.gateway), METADATA)) if found.mode == "node" else frozenset()


def here(facts: HostFacts, elastic_ips: Members) -> dict[str, Set]:
    """The one set of the bridge table that changes with an elastic IP."""
    return {"elastic_here4": Set((KeyType.IPV4,), Members.of(()) if facts.is_separate else elastic_ips, room=ROOM)}


def bridge_sets(facts: HostFacts, identity: Identity, found: Resolution) -> dict[str, Set]:
    shared = {found.gateway, int(METADATA)}
    answered = [Span(int(address), int(address)) for address in (METADATA, IDENTIFIER)]
    if found.mode != "router":
        answered.append(Span(found.gateway, found.gateway))
    if found.mode == "proxy":
        answered.append(found.subnet)
    if not facts.is_separate:
        answered += found.pool
    on_bridge = {*map(int, identity.bridge_addresses), *map(int, owned(found))}
    return {
        "gateway4": Set((KeyType.IPV4,), Members.of(shared if found.gateway else ())),
        "answered4": _spans(answered if found.gateway else ()),
        "bridge4": _addresses(on_bridge),
        "node4": Set((KeyType.IPV4,), Members.of(sorted({*map(int, identity.addresses)} - shared)), room=ROOM),
        **here(facts, Members.of(())),
        "heeded4": _set((KeyType.IPV4, KeyType.IPV4), [(one, one) for one in found.known]),
        "uplinks": _set((KeyType.IFNAME,), [(name,) for name in identity.uplinks]),
    }


def bridge_chains(facts: HostFacts, found: Resolution) -> dict[str, Chain]:
    """Without a view: nothing is answered, and nobody is kept from asking the host."""
    if found is NOTHING:
        return {}
    ports = equals(Field.IIFNAME, facts.ports)
    routed = found.mode != "router"
    for_instances = within("local4", Field.ARP_DADDR_IP)
    by_router = within("gateway4", Field.ARP_SADDR_IP), for_instances
    return {
        "input": Chain(
            (
                rule(_ARP, ports, Goto("vm_asks")),
                rule(_ARP, within("uplinks", Field.IIFNAME), Goto("others_ask")),
                dhcprules.to_host(),
            ),
            INPUT,
        ),
        # every node has the gateway's address, or speaks for it: none tells the others
        "output": Chain(
            (
                *_when(
                    routed,
                    rule(differs(Field.OIFNAME, facts.ports), _ARP, within("gateway4", Field.ARP_SADDR_IP), DROP),
                ),
                dhcprules.from_host(facts),
            ),
            OUTPUT,
        ),
        "vm_asks": Chain(
            (
                rule(_REPLY, ACCEPT),
                rule(within("answered4", Field.ARP_DADDR_IP), ACCEPT),
                rule(within("bridge4", Field.ARP_DADDR_IP), ACCEPT),
                rule(DROP),
            )
        ),
        "others_ask": Chain(
            (
                rule(_REPLY, ACCEPT),
                rule(within("node4", Field.ARP_DADDR_IP), ACCEPT),
                rule(within("elastic_here4", Field.ARP_DADDR_IP), ACCEPT),
                *_when(routed and found.mode != "proxy", rule(*by_router, ACCEPT)),
                *_when(found.mode == "proxy", rule(for_instances, ACCEPT)),
                # announcements (sender and target are one), which the kernel does not answer
                rule(within("heeded4", Field.ARP_SADDR_IP, Field.ARP_DADDR_IP), ACCEPT),
                rule(DROP),
            )
        ),
    }


def forward(facts: HostFacts, identity: Identity, found: Resolution) -> tuple[Rule, ...]:
    """What must not cross the bridge: ARP, and with `proxy` anything but IP."""
    if found is NOTHING:
        return ()
    if found.mode == "proxy":
        ends = Field.IIFNAME, Field.OIFNAME
        return (
            *(rule(equals(end, facts.ports), differs(Field.ETHER_TYPE, "ip"), DROP) for end in ends),
            # br_netfilter takes what it has translated across the bridge itself, if the next hop is there, as who sent it
            *(
                rule(
                    equals(Field.IIFNAME, facts.ports),
                    differs(Field.OIFNAME, facts.ports),
                    Write(Field.ETHER_SADDR, mac),
                )
                for mac in [identity.bridge_mac]
                if mac is not None
            ),
        )
    return (
        rule(_ARP, equals(Field.IIFNAME, facts.ports), within("answered4", Field.ARP_DADDR_IP), DROP),
        *_when(
            found.mode != "router",
            rule(_ARP, equals(Field.OIFNAME, facts.ports), within("gateway4", Field.ARP_SADDR_IP), DROP),
        ),
    )


def speaks_for(found: Resolution, instances: Iterable[ViewInstance]) -> frozenset[int]:
    """Whose private addresses this host answers on the bridge: to the router, with `proxy` to everybody. Whoever asked the
    node that they were on before must be told."""
    return frozenset(int(vm.private_ip) for vm in instances) if found.mode in ("impersonate", "proxy") else frozenset()


def short_cut(found: Resolution) -> tuple[Rule, ...]:
    """What this host takes from instances whatever MAC address they sent it to: with `proxy` all of it. With `router` what is
    for itself: it sends to elastic IPs from its public address, and answers by way of the router would be a stranger's."""
    if found.mode == "proxy":
        return (rule(Jump("to_host")),)
    return _when(found.mode == "router", rule(within("node4", Field.IP_DADDR), Jump("to_host")))


def one_mac(facts: HostFacts, found: Resolution) -> tuple[Rule, ...]:
    """For ARP on its way to an instance."""
    if found is NOTHING:
        return ()
    return (rule(within("answered4", Field.ARP_SADDR_IP), Write(Field.ARP_SADDR_ETHER, facts.gateway_mac)),)


def arp_table(facts: HostFacts, identity: Identity, found: Resolution, elastic_ips: Members) -> Table:
    """On a flat network the bridge table does it all: here a port cannot be told from the bridge."""
    if found is NOTHING or not facts.is_separate or not identity.addresses:
        return Table({}, {}, {"input": Chain((), ARP_INPUT)})
    own = [int(address) for address in identity.addresses]
    only = rule(equals(Field.IIFNAME, facts.public_interface), _REQUEST, outside("answered4", Field.ARP_DADDR_IP), DROP)
    answered = elastic_ips.changed(add=own)
    return Table({"answered4": Set((KeyType.IPV4,), answered)}, {}, {"input": Chain((only,), ARP_INPUT)})


def _when(condition: bool, only: Rule) -> tuple[Rule, ...]:
    return (only,) if condition else ()


def _set(key: tuple[KeyType, ...], elements: list[Element]) -> Set:
    return Set(key, frozenset(elements))


def _addresses(found: set[int]) -> Set:
    return Set((KeyType.IPV4,), Members.of(sorted(found)))


def _spans(found: Iterable[Span]) -> Set:
    return Set((KeyType.IPV4,), frozenset((span,) for span in joined(found)), interval=True)
