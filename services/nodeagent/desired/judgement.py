"""The ip table's base chains: which flows to and from instances pass.

    prerouting −150      from an instance: egress rules, at each packet; replies of flows to it: their stamp, or the mirror
    input 0              from any instance to this host itself
    forward 0            what no instance here has
    output 0             from this host itself to an instance: stamped, if the host may
    postrouting 150      to an instance: the flow's stamp, or its ingress rules, which stamp it

Bridged packets pass here through br_netfilter, with the bridge as `iifname`; the address is the identity, since the bridge
table has verified it at the port. Ingress is judged in postrouting, behind source translation (100), where a packet has its
final source and destination however it came. Every lookup that finds nothing ends in a drop.

    first packet ─▶ to_vm ─▶ vm_in ─▶ in/sg-… ─▶ pass_in: stamp with the instance's generation, accept
    later packet ─▶ to_vm: the stamp is valid, accept                (its reply likewise, in from_vm_reply)
    something was withdrawn: the stamp is valid no more ─▶ judged like a first packet, stamped anew or dropped

A TCP session that comes here in its midst is `midst`'s.

A flow that was translated by an elastic IP passes only while that binding is in force, whatever its stamp: looked up at each
packet. DHCP and metadata are the cloud's own: no security group speaks of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from nodeagent.desired import elastic, limits, midst, operators
from nodeagent.desired.groups import EGRESS, INGRESS, chain_of
from nodeagent.desired.names import token
from nodeagent.desired.reserved import METADATA
from nodeagent.state import generations
from nodeagent.state.limits import DEFAULTS, Limits
from nodeagent.state.rule import (
    ACCEPT,
    DROP,
    Bits,
    Dispatch,
    Field,
    Flag,
    Goto,
    Jump,
    KeyType,
    Rule,
    Stamp,
    Verdict,
    differs,
    equals,
    outside,
    rule,
    within,
)
from nodeagent.state.ruleset import ROOM, Chain, Hook, Map, Set, Span
from verge.contract.members import Members
from verge.contract.rule import ICMP, UDP, GroupId
from verge.contract.view import ViewInstance

PREROUTING = Hook("prerouting", -150)  # conntrack (−200) knows the flow, nothing is translated yet (−100)
INPUT = Hook("input", 0)
FORWARD = Hook("forward", 0)
OUTPUT = Hook("output", 0)  # behind destination translation (-100)
POSTROUTING = Hook("postrouting", 150)  # behind source translation (100)

_REPLY = equals(Field.CT_DIRECTION, "reply")
_ORIGINAL = equals(Field.CT_DIRECTION, "original")
_RELATED = equals(Field.CT_STATE, "related")
_INVALID = equals(Field.CT_STATE, "invalid")
_LOCAL = within("local4", Field.IP_SADDR)
_TO_LOCAL = within("local4", Field.IP_DADDR)
_ECHO = 8
# status bits of linux/netfilter/nf_conntrack_common.h; a packet without a flow has none of these fields, and matches none
_EXPECTED, _SEEN_REPLY, _CONFIRMED, _SNAT, _DNAT = 0x1, 0x2, 0x8, 0x10, 0x20
_UNTRANSLATED = Bits(Field.CT_STATUS, _SEEN_REPLY | _CONFIRMED | _SNAT | _DNAT, _SEEN_REPLY | _CONFIRMED)
"""Of a flow that both sides have spoken in."""
_FIRST = Bits(Field.CT_STATUS, _EXPECTED | _CONFIRMED | _SNAT | _DNAT, 0)
"""Packet of a flow that is related to none."""
_NOT_TO_ELASTIC = Bits(Field.CT_STATUS, _DNAT, 0)
_UNMARKED = equals(Field.CT_MARK, 0)
_MARKED = differs(Field.CT_MARK, 0)
_FROM_INSTANCE = within("instances4", Field.IP_SADDR)
_UDP = equals(Field.L4PROTO, UDP)
# the ports first, in one look that says no to nearly everything
_DHCP_REQUEST = equals(Field.SPORT, 68), equals(Field.DPORT, 67), _UDP
_DHCP_ANSWER = equals(Field.SPORT, 67), equals(Field.DPORT, 68), _UDP
_METADATA = equals(Field.IP_DADDR, int(METADATA))
_NO_METADATA = differs(Field.IP_DADDR, int(METADATA))
_METADATA_FLOW = equals(Field.CT_FIRST_DADDR, int(METADATA))


def _unbound(direction_field: Field, vm: Field) -> Rule:
    """Drops packets of a flow whose elastic IP its instance has no more."""
    status = "dnat" if direction_field is Field.CT_FIRST_DADDR else "snat"
    return rule(
        Flag(Field.CT_STATUS, status),
        within(elastic.POOL, direction_field),
        outside(elastic.PAIRS, direction_field, vm),
        DROP,
    )


@dataclass(frozen=True, slots=True)
class Manners:
    """What a view and its host say of all instances alike."""

    vm_to_host: bool
    host_to_vm: bool
    public_interface: str | None
    """None on a flat network."""
    transit: bool = True
    limits: Limits = DEFAULTS
    """May the host forward what concerns none of its instances?"""


def sets(local: Members, instance_ranges: Iterable[Span], first_hop: Members) -> dict[str, Set]:
    """`local` are the addresses judged on this node, `instance_ranges` those of instances anywhere; `first_hop` is the
    gateway's address."""
    return {
        "first_hop4": Set((KeyType.IPV4,), first_hop),
        "local4": Set((KeyType.IPV4,), local, room=ROOM),
        "instances4": Set((KeyType.IPV4,), frozenset((span,) for span in instance_ranges), interval=True),
        **{
            valid: Set((KeyType.IPV4, KeyType.MARK), frozenset(), room=ROOM)
            for valid in (generations.VALID, generations.VALID_REVERSED)
        },
    }


def base_chains(manners: Manners) -> dict[str, Chain]:
    host_to_vm = manners.host_to_vm
    return {
        "prerouting": Chain((*_no_spoofs(manners.public_interface), rule(_LOCAL, Jump("from_vm"))), PREROUTING),
        "from_vm": Chain(
            (
                rule(*_DHCP_REQUEST, ACCEPT),
                # most packets, and what most flows begin with, know their way; what follows would come to the same
                rule(_UNTRANSLATED, _ORIGINAL, midst.NOT_REVERSED, _NO_METADATA, Dispatch(Field.IP_SADDR, "vm_out")),
                rule(_FIRST, _UNMARKED, Goto("from_vm_first")),
                # conntrack gives no flow to ICMP messages that neither ask nor belong to one: they are judged each by itself
                rule(_INVALID, differs(Field.L4PROTO, ICMP), DROP),
                rule(_REPLY, Goto("from_vm_reply")),
                _unbound(Field.CT_REPLY_DADDR, Field.IP_SADDR),
                *limits.first_packets(manners.limits, "from"),
                rule(_METADATA, Goto("to_metadata")),
                *midst.FROM_VM,
                rule(Dispatch(Field.IP_SADDR, "vm_out")),
                rule(DROP),
            )
        ),
        "from_vm_first": Chain(
            (
                *limits.begun(manners.limits),
                rule(_METADATA, Goto("to_metadata")),
                midst.FIRST_FROM_VM,
                rule(Dispatch(Field.IP_SADDR, "vm_out")),
                rule(DROP),
            )
        ),
        "to_metadata": Chain((rule(equals(Field.TCP_DPORT, 80), ACCEPT), rule(DROP))),
        "from_vm_reply": Chain(
            (
                _unbound(Field.CT_FIRST_DADDR, Field.IP_SADDR),
                rule(within(generations.VALID, Field.IP_SADDR, Field.CT_MARK), ACCEPT),
                rule(_RELATED, DROP),
                # to the host itself, and not to an instance that took its address as source
                *_when(
                    host_to_vm,
                    rule(
                        equals(Field.DADDR_TYPE, "local"),
                        Flag(Field.CT_STATUS, "snat", negate=True),
                        Goto("pass_reply"),
                    ),
                ),
                rule(Dispatch(Field.IP_SADDR, "vm_in_replies")),
                rule(DROP),
            )
        ),
        "input": Chain(
            (
                # one of this host's own is known, also where the ranges are whole subnets and no pools
                rule(_LOCAL, Jump("to_host")),
                rule(_FROM_INSTANCE, Jump("to_host")),
                rule(within(elastic.POOL, Field.IP_SADDR), Jump("to_host")),
                rule(within(elastic.POOL, Field.IP_DADDR), DROP),
            ),
            INPUT,
        ),
        "to_host": Chain(
            (
                rule(_REPLY, ACCEPT),
                rule(*_DHCP_REQUEST, ACCEPT),
                rule(equals(Field.ICMP_TYPE, _ECHO), within("first_hop4", Field.IP_DADDR), ACCEPT),
                rule(Flag(Field.CT_STATUS, "dnat"), _METADATA_FLOW, ACCEPT),
                rule(ACCEPT if manners.vm_to_host else DROP),
            )
        ),
        "forward": Chain(
            (
                rule(_METADATA, DROP),
                rule(*_DHCP_REQUEST, _LOCAL, DROP),
                # an elastic IP that nobody here has: an instance may send there, the rest came for nothing
                rule(outside("local4", Field.IP_SADDR), within(elastic.POOL, Field.IP_DADDR), DROP),
                *_when(
                    not manners.transit,
                    rule(outside("local4", Field.IP_SADDR), outside("local4", Field.IP_DADDR), DROP),
                ),
            ),
            FORWARD,
        ),
        # stamped here, where nothing but the host's own packets comes by: in postrouting a bridged packet that claims the
        # host's address looks the same (br_netfilter gives it no input interface)
        "output": Chain(
            (
                rule(_TO_LOCAL, _ORIGINAL, *_DHCP_ANSWER, Goto("stamp_in")),
                *_when(host_to_vm, rule(_TO_LOCAL, _ORIGINAL, Goto("pass_in"))),
            ),
            OUTPUT,
        ),
        "postrouting": Chain((rule(_TO_LOCAL, Jump("to_vm")),), POSTROUTING),
        "to_vm": Chain(
            (
                # as in from_vm
                rule(
                    _MARKED,
                    _ORIGINAL,
                    _NOT_TO_ELASTIC,
                    within(generations.VALID, Field.IP_DADDR, Field.CT_MARK),
                    ACCEPT,
                ),
                rule(_FIRST, Goto("to_vm_first")),
                rule(_REPLY, Goto("to_vm_reply")),
                _unbound(Field.CT_FIRST_DADDR, Field.IP_DADDR),
                rule(within(generations.VALID, Field.IP_DADDR, Field.CT_MARK), ACCEPT),
                rule(_RELATED, DROP),
                rule(Dispatch(Field.IP_DADDR, "vm_in")),
                rule(DROP),
            )
        ),
        "to_vm_first": Chain((rule(Dispatch(Field.IP_DADDR, "vm_in")), rule(DROP))),
        "to_vm_reply": Chain(
            (
                _unbound(Field.CT_REPLY_DADDR, Field.IP_DADDR),
                rule(*_DHCP_ANSWER, ACCEPT),
                rule(_METADATA_FLOW, ACCEPT),
                midst.TO_VM,
                rule(Dispatch(Field.IP_DADDR, "vm_out_replies")),
                rule(DROP),
            )
        ),
        **operators.EMPTY,
        "stamp_in": Chain((rule(Stamp(Field.IP_DADDR, generations.CURRENT)), rule(ACCEPT))),
        **limits.flow_chains(manners.limits),
        **midst.chains(limits.first_packets(manners.limits, "to")),
    }


def _no_spoofs(public_interface: str | None) -> tuple[Rule, ...]:
    """A private address is none of the public network's, as source or as destination, save in replies."""
    if public_interface is None:
        return ()
    here = equals(Field.IIFNAME, public_interface)
    return tuple(
        rule(here, within(private, end), state, DROP)
        for private in ("instances4", "local4")
        for end in (Field.IP_SADDR, Field.IP_DADDR)
        for state in (_ORIGINAL, _INVALID)
    )


def _when(condition: bool, only: Rule) -> tuple[Rule, ...]:
    return (only,) if condition else ()


def instance_chains(
    vm: ViewInstance, ingress: tuple[GroupId, ...], egress: tuple[GroupId, ...] | None
) -> dict[str, Chain]:
    """Its groups' chains one behind the other, then the end. `egress` None: it may send anything."""
    chains = {}
    for direction, groups in ((INGRESS, ingress), (EGRESS, egress)):
        for replies in (False, True):
            if groups is None:
                continue
            rules = [rule(Jump(chain_of(direction, group, replies=replies))) for group in groups]
            if direction is EGRESS:
                rules.insert(0, rule(_RELATED, ACCEPT))
            chains[_instance_chain(vm, direction.name, replies=replies)] = Chain((*rules, rule(DROP)))
    return chains


def maps(placed: Iterable[tuple[ViewInstance, bool]]) -> dict[str, Map]:
    """Instances, each with whether its egress is limited."""
    placed = tuple(placed)

    def verdicts(name: str, *, replies: bool, limited_only: bool) -> Map:
        elements: dict[int, int | Verdict] = {
            int(vm.private_ip): Goto(_instance_chain(vm, name, replies=replies))
            if limited or not limited_only
            else ACCEPT
            for vm, limited in placed
        }
        return Map(KeyType.IPV4, "verdict", elements, room=ROOM)

    return {
        "vm_in": verdicts("in", replies=False, limited_only=False),
        "vm_in_replies": verdicts("in", replies=True, limited_only=False),
        "vm_out": verdicts("out", replies=False, limited_only=True),
        "vm_out_replies": verdicts("out", replies=True, limited_only=True),
        generations.CURRENT: Map(KeyType.IPV4, "mark", {}, room=ROOM),
    }


def _instance_chain(vm: ViewInstance, direction: str, *, replies: bool) -> str:
    return f"vm/{token(vm.id)}/{direction}{'/replies' if replies else ''}"
