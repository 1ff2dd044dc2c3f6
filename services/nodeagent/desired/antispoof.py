"""The bridge table: a port sends as its instance only, and receives what is for its instance only.

    frame in ─▶ prerouting −300 ─▶ (br_netfilter: the ip table) ─▶ forward −300 ─▶ … ─▶ postrouting 300 ─▶ frame out
                 from_vm │ from_elsewhere                          no foreign DHCP       to_vm
                                                                └▶ input −300: `resolution`

Stateless, and before br_netfilter (priority 0), so that a spoofed frame makes no conntrack entry. Ports are recognised by
the pattern of their names, not by a set: a port that no view names matches no identity and is closed, before the agent
starts and after it dies. Whatever is not from or to such a port passes untouched, save for packets that claim an
instance's address.

Instances may resolve each other across the bridge; whom else, says `resolution`. Multicast and broadcast to instances other
than their own ARP is dropped.

DHCP is an instance's with this host, whether it has an address already or not: `dhcprules`.
"""

from collections.abc import Iterable
from typing import Final

from nodeagent.desired import dhcprules, limits, operators, resolution
from nodeagent.desired.resolution import Resolution
from nodeagent.state.host import HostFacts, Identity
from nodeagent.state.rule import ACCEPT, DROP, Field, Goto, Jump, KeyType, Rule, Write, differs, equals, rule, within
from nodeagent.state.ruleset import ROOM, Chain, Element, Hook, Set, Table
from verge.contract.members import Members
from verge.contract.view import ViewInstance

_RARP: Final = "0x8035"  # RFC 903
_RARP_REQUEST: Final = 3

PREROUTING = Hook("prerouting", -300)  # before br_netfilter
FORWARD = Hook("forward", -300)
POSTROUTING = Hook("postrouting", 300)  # the last word, on what the node itself sends too


def table(
    facts: HostFacts,
    identity: Identity,
    found: Resolution,
    instances: Iterable[ViewInstance],
    closed: Iterable[int],
) -> Table:
    """`closed` are addresses that no port on this node may use: those of quarantined instances. There are no elastic IPs in
    it, which `resolution.here` has."""
    instances = tuple(instances)
    ports = equals(Field.IIFNAME, facts.ports), equals(Field.OIFNAME, facts.ports)
    local = Members.of([*(int(instance.private_ip) for instance in instances), *closed])
    sets = {
        "identity4": _set(
            (KeyType.IFNAME, KeyType.ETHER, KeyType.IPV4),
            ((vm.interface, vm.mac, int(vm.private_ip)) for vm in instances),
        ),
        "identity_mac": _set((KeyType.IFNAME, KeyType.ETHER), ((vm.interface, vm.mac) for vm in instances)),
        "own4": _set((KeyType.IFNAME, KeyType.IPV4), ((vm.interface, int(vm.private_ip)) for vm in instances)),
        "own_port": _set((KeyType.IFNAME, KeyType.IFNAME), ((vm.interface, vm.interface) for vm in instances)),
        "vm_ports": _set((KeyType.IFNAME,), ((vm.interface,) for vm in instances)),
        "local4": Set((KeyType.IPV4,), local, room=ROOM),
        **resolution.bridge_sets(facts, identity, found),
        **limits.bridge_sets(facts.limits),
    }
    chains = {
        "prerouting": Chain(
            (
                # what most packets are comes first: one look in place of four tests
                rule(_IP, _FROM_ITS_VM, Goto("from_vm_ip")),
                rule(ports[0], Goto("from_vm")),
                rule(Goto("from_elsewhere")),
            ),
            PREROUTING,
        ),
        "forward": Chain(
            (
                # a port that may send back what it sent (for an instance's own elastic IP) is to send back nothing else
                rule(
                    *_TO_MANY,
                    within("own_port", Field.IIFNAME, Field.OIFNAME),
                    DROP,
                ),
                *resolution.forward(facts, identity, found),
                *dhcprules.forward(facts),
            ),
            FORWARD,
        ),
        "postrouting": Chain((rule(_IP, _FOR_THIS_VM, Goto("to_vm_ip")), rule(ports[1], Goto("to_vm"))), POSTROUTING),
        **operators.EMPTY,
        **resolution.bridge_chains(facts, found),
        **limits.bridge_chains(facts.limits),
        **_from_vm(facts, identity, found),
        **dhcprules.from_vm(instances, _FROM_ITS_MAC, limits.dhcp(facts.limits)),
        "from_vm_rarp_mac": Chain((*limits.arp(facts.limits), *(_rarp(vm) for vm in instances), rule(DROP))),
        **_to_vm(facts, found),
    }
    return Table(sets, {}, chains)


def _set(key: tuple[KeyType, ...], elements: Iterable[Element]) -> Set:
    return Set(key, frozenset(elements), room=ROOM)


def _rarp(vm: ViewInstance) -> Rule:
    """A guest that asks for its own address by its own MAC, as QEMU does for it after a migration. One rule each: nft has
    no set key for raw header bits."""
    mac = int(vm.mac.replace(":", ""), 16)
    return rule(
        equals(Field.IIFNAME, vm.interface),
        equals(Field.RARP_OPERATION, _RARP_REQUEST),
        equals(Field.RARP_SENDER, mac),
        equals(Field.RARP_TARGET, mac),
        ACCEPT,
    )


_ARP = equals(Field.ETHER_TYPE, "arp")
_REQUEST = equals(Field.ARP_OPERATION, "request")
_REPLY = equals(Field.ARP_OPERATION, "reply")
_FOR_ITS_VM = within("own4", Field.OIFNAME, Field.ARP_DADDR_IP)
_FROM_ITS_MAC = within("identity_mac", Field.IIFNAME, Field.ETHER_SADDR)
_FROM_ITS_VM = within("identity4", Field.IIFNAME, Field.ETHER_SADDR, Field.IP_SADDR)
_FOR_THIS_VM = within("own4", Field.OIFNAME, Field.IP_DADDR)
# `other`, which most frames from one port to another are, in one comparison
_TO_MANY = differs(Field.PACKET_TYPE, "other"), equals(Field.PACKET_TYPE, "broadcast", "multicast")
_IP = equals(Field.ETHER_TYPE, "ip")  # and no VLAN tag (802.1Q, ad) before it


def _from_vm(facts: HostFacts, identity: Identity, found: Resolution) -> dict[str, Chain]:
    """What is sent to the MAC that all nodes share is for this bridge."""
    to_host = rule(equals(Field.ETHER_DADDR, facts.gateway_mac), Jump("to_host"))
    readdress = () if identity.bridge_mac is None else (rule(Write(Field.ETHER_DADDR, identity.bridge_mac)),)
    return {
        "from_vm": Chain(
            (
                rule(_IP, Goto("from_vm_packet")),
                rule(_ARP, Goto("from_vm_arp")),
                rule(equals(Field.ETHER_TYPE, _RARP), Goto("from_vm_rarp")),
                rule(DROP),  # IPv6, VLAN tags, LLDP, anything
            )
        ),
        "from_vm_packet": Chain((rule(*dhcprules.TO_SERVER, Goto("from_vm_dhcp")), rule(DROP))),
        "from_vm_ip": Chain(
            (
                rule(*dhcprules.FROM_SERVER, DROP),
                rule(*dhcprules.TO_SERVER, Goto("from_vm_dhcp")),
                *limits.broadcasts(facts.limits, *_TO_MANY),
                to_host,
                *resolution.short_cut(found),
                rule(ACCEPT),
            )
        ),
        "from_vm_arp": Chain((rule(_FROM_ITS_MAC, Goto("from_vm_arp_mac")), rule(DROP))),
        "from_vm_arp_mac": Chain(
            (
                rule(differs(Field.ARP_OPERATION, "request", "reply"), DROP),
                *limits.arp(facts.limits),
                to_host,
                rule(within("identity4", Field.IIFNAME, Field.ARP_SADDR_ETHER, Field.ARP_SADDR_IP), ACCEPT),
                # RFC 5227: a probe says nothing of its sender's address, and asks for that address
                rule(
                    within("identity_mac", Field.IIFNAME, Field.ARP_SADDR_ETHER),
                    equals(Field.ARP_SADDR_IP, 0),
                    within("own4", Field.IIFNAME, Field.ARP_DADDR_IP),
                    _REQUEST,
                    ACCEPT,
                ),
                rule(DROP),
            )
        ),
        "from_vm_rarp": Chain((rule(_FROM_ITS_MAC, Goto("from_vm_rarp_mac")), rule(DROP))),
        "to_host": Chain((*readdress, rule(Write(Field.PACKET_TYPE, "host")))),
        "from_elsewhere": Chain(
            (
                rule(_ARP, within("local4", Field.ARP_SADDR_IP), DROP),
                rule(within("local4", Field.IP_SADDR), DROP),
                rule(within("elastic_here4", Field.IP_SADDR), DROP),
            )
        ),
    }


def _to_vm(facts: HostFacts, found: Resolution) -> dict[str, Chain]:
    return {
        "to_vm": Chain(
            (
                rule(_IP, Goto("to_vm_packet")),
                rule(_ARP, Goto("to_vm_arp")),
                rule(DROP),
            )
        ),
        "to_vm_ip": Chain((rule(ACCEPT),)),
        "to_vm_packet": Chain(
            (
                dhcprules.to_vm(),
                rule(DROP),
            )
        ),
        "to_vm_arp": Chain(
            (
                # this host announces whom it speaks for to everybody else
                rule(within("own4", Field.OIFNAME, Field.ARP_SADDR_IP), DROP),
                *resolution.one_mac(facts, found),
                rule(_REQUEST, _FOR_ITS_VM, ACCEPT),
                rule(_REPLY, _FOR_ITS_VM, ACCEPT),
                # the answer to a probe
                rule(
                    _REPLY,
                    equals(Field.ARP_DADDR_IP, 0),
                    within("identity_mac", Field.OIFNAME, Field.ETHER_DADDR),
                    ACCEPT,
                ),
                # a router that moved announces itself; nobody else can, see from_vm_arp
                rule(
                    within("gateway4", Field.ARP_SADDR_IP),
                    within("gateway4", Field.ARP_DADDR_IP),
                    within("vm_ports", Field.OIFNAME),
                    ACCEPT,
                ),
                rule(DROP),
            )
        ),
    }
