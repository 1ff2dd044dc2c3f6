"""The ip table's base chains: which flows to and from instances pass.

    prerouting −150      from an instance: egress rules, at each packet; replies of flows to it: their stamp, or the mirror
    input 0              from any instance to this host itself
    output 0             from this host itself to an instance: stamped, if the host may
    postrouting 150      to an instance: the flow's stamp, or its ingress rules, which stamp it

Bridged packets pass here through br_netfilter, with the bridge as `iifname`; the address is the identity, since the bridge
table has verified it at the port. Ingress is judged in postrouting, behind source translation (100), where a packet has its
final source and destination however it came. Every lookup that finds nothing ends in a drop.

    first packet ─▶ to_vm ─▶ vm_in ─▶ in/sg-… ─▶ pass_in: stamp with the instance's generation, accept
    later packet ─▶ to_vm: the stamp is valid, accept                (its reply likewise, in from_vm_reply)
    something was withdrawn: the stamp is valid no more ─▶ judged like a first packet, stamped anew or dropped
"""

from collections.abc import Iterable

from nodeagent.desired.groups import EGRESS, INGRESS, chain_of
from nodeagent.desired.names import token
from nodeagent.state import generations
from nodeagent.state.rule import (
    ACCEPT,
    DROP,
    Dispatch,
    Field,
    Goto,
    Jump,
    KeyType,
    Rule,
    Stamp,
    Verdict,
    differs,
    equals,
    rule,
    within,
)
from nodeagent.state.ruleset import Chain, Hook, Map, Set, Span
from verge.contract.members import Members
from verge.contract.rule import ICMP, GroupId
from verge.contract.view import ViewInstance

PREROUTING = Hook("prerouting", -150)  # conntrack (−200) knows the flow, nothing is translated yet (−100)
INPUT = Hook("input", 0)
OUTPUT = Hook("output", 0)  # behind destination translation (-100)
POSTROUTING = Hook("postrouting", 150)  # behind source translation (100)

_REPLY = equals(Field.CT_DIRECTION, "reply")
_RELATED = equals(Field.CT_STATE, "related")


def sets(local: Members, instance_ranges: Iterable[Span]) -> dict[str, Set]:
    """`local` are the addresses judged on this node, `instance_ranges` those of instances anywhere."""
    return {
        "local4": Set((KeyType.IPV4,), local),
        "instances4": Set((KeyType.IPV4,), frozenset((span,) for span in instance_ranges), interval=True),
        generations.VALID: Set((KeyType.IPV4, KeyType.MARK), frozenset()),
    }


def base_chains(*, vm_to_host: bool, host_to_vm: bool) -> dict[str, Chain]:
    return {
        "prerouting": Chain((rule(within("local4", Field.IP_SADDR), Jump("from_vm")),), PREROUTING),
        "from_vm": Chain(
            (
                # conntrack gives no flow to ICMP messages that neither ask nor belong to one: they are judged each by itself
                rule(equals(Field.CT_STATE, "invalid"), differs(Field.L4PROTO, ICMP), DROP),
                rule(_REPLY, Goto("from_vm_reply")),
                rule(Dispatch(Field.IP_SADDR, "vm_out")),
                rule(DROP),
            )
        ),
        "from_vm_reply": Chain(
            (
                rule(within(generations.VALID, Field.IP_SADDR, Field.CT_MARK), ACCEPT),
                rule(_RELATED, DROP),
                *_when(host_to_vm, rule(equals(Field.DADDR_TYPE, "local"), Goto("pass_reply"))),
                rule(Dispatch(Field.IP_SADDR, "vm_in_replies")),
                rule(DROP),
            )
        ),
        "input": Chain((rule(within("instances4", Field.IP_SADDR), Jump("to_host")),), INPUT),
        "to_host": Chain((rule(_REPLY, ACCEPT), rule(ACCEPT if vm_to_host else DROP))),
        # stamped here, where nothing but the host's own packets comes by: in postrouting a bridged packet that claims the
        # host's address looks the same (br_netfilter gives it no input interface)
        "output": Chain(
            _when(
                host_to_vm,
                rule(within("local4", Field.IP_DADDR), equals(Field.CT_DIRECTION, "original"), Goto("pass_in")),
            ),
            OUTPUT,
        ),
        "postrouting": Chain((rule(within("local4", Field.IP_DADDR), Jump("to_vm")),), POSTROUTING),
        "to_vm": Chain(
            (
                rule(_REPLY, Goto("to_vm_reply")),
                rule(within(generations.VALID, Field.IP_DADDR, Field.CT_MARK), ACCEPT),
                rule(_RELATED, DROP),
                rule(Dispatch(Field.IP_DADDR, "vm_in")),
                rule(DROP),
            )
        ),
        "to_vm_reply": Chain((rule(Dispatch(Field.IP_DADDR, "vm_out_replies")), rule(DROP))),
        "pass_in": Chain((rule(Stamp(Field.IP_DADDR, generations.CURRENT)), rule(ACCEPT))),
        "pass_reply": Chain((rule(Stamp(Field.IP_SADDR, generations.CURRENT)), rule(ACCEPT))),
    }


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
        return Map(KeyType.IPV4, "verdict", elements)

    return {
        "vm_in": verdicts("in", replies=False, limited_only=False),
        "vm_in_replies": verdicts("in", replies=True, limited_only=False),
        "vm_out": verdicts("out", replies=False, limited_only=True),
        "vm_out_replies": verdicts("out", replies=True, limited_only=True),
        generations.CURRENT: Map(KeyType.IPV4, "mark", {}),
    }


def _instance_chain(vm: ViewInstance, direction: str, *, replies: bool) -> str:
    return f"vm/{token(vm.id)}/{direction}{'/replies' if replies else ''}"
