"""Limits as rules: sets that the packet path fills by itself, and one counted drop for each limit.

    bridge   arp_rate, dhcp_rate, broadcast_rate     by port, behind the check of who sends
    ip       …_from                                  by the instance that begins the flow, before its egress rules
             …_to                                    by the one it is begun with, behind its ingress rules
               sample, busy                          who has so many flows that they are to be counted
               new                                   the rate of new flows
               flows                                 their number

A flow is looked at with its first packet only: conntrack has not confirmed it yet. Established ones pass on whatever the count.
One between two instances of this node is the former's alone: it is one entry of the host's table, and a neighbour that opens
many does not use up what others may open with the same instance.

Counting every flow makes a new one a fifth dearer or more (the kernel looks again and again for each flow in a list, which have
ended). So where the limit is high, every 64th is, by chance, which an instance cannot foresee; and where the sample says that
the limit is reached, the instance is busy for an hour, and all that it begins from then on is counted, and held to the rate.
Its limit is thus never less than was set, and at most about twice that. Rejected: the sample alone, since what it is too late to
refuse would pass; and the rate alone, since a TCP session may stay in the table for five days.

The lists of a count are short, and a flow falls to one of them by chance: the kernel goes through a list in each tick.
"""

from typing import Final

from nodeagent.state.limits import Limits
from nodeagent.state.rule import (
    COUNTED_DROP,
    Faster,
    Field,
    Flag,
    Goto,
    Jump,
    KeyType,
    Match,
    More,
    Note,
    OneOf,
    Rule,
    outside,
    rule,
    within,
)
from nodeagent.state.ruleset import Chain, Set

_LIST: Final = 64
"""Flows in one list, about."""
_SAMPLED: Final = 64
_WORTH_SAMPLING: Final = 1024
"""Below that chance says too little, and counting costs too little."""
_FIRST: Final = Flag(Field.CT_STATUS, "confirmed", negate=True)
_SIDES: Final = {"from": Field.IP_SADDR, "to": Field.IP_DADDR}


def over(what: str) -> str:
    """The chain where packets beyond that limit end."""
    return f"over/{what}"


def bridge_sets(limits: Limits) -> dict[str, Set]:
    rates = {"arp_rate": limits.arp, "dhcp_rate": limits.dhcp, "broadcast_rate": limits.broadcasts}
    return {name: Set((KeyType.IFNAME,), frozenset(), fills="rate") for name, rate in rates.items() if rate}


def bridge_chains(limits: Limits) -> dict[str, Chain]:
    return _ends({"arp": limits.arp, "dhcp": limits.dhcp, "broadcasts": limits.broadcasts})


def arp(limits: Limits) -> tuple[Rule, ...]:
    return _by_port("arp_rate", limits.arp, "arp")


def dhcp(limits: Limits, *matches: Match) -> tuple[Rule, ...]:
    return _by_port("dhcp_rate", limits.dhcp, "dhcp", *matches)


def broadcasts(limits: Limits, *matches: Match) -> tuple[Rule, ...]:
    return _by_port("broadcast_rate", limits.broadcasts, "broadcasts", *matches)


def _by_port(name: str, rate: int, what: str, *matches: Match) -> tuple[Rule, ...]:
    return (rule(*matches, Faster(Field.IIFNAME, name, rate, 2 * rate), Goto(over(what))),) if rate else ()


def _is_sampled(limits: Limits) -> bool:
    """A rate says something before the number does, where it is less than a tenth of it: no flow is forgotten within ten
    seconds, and most stay for thirty at least (nf_conntrack-sysctl.rst)."""
    return limits.flows >= _WORTH_SAMPLING and not 0 < 10 * limits.new_flows < limits.flows


def flow_sets(limits: Limits) -> dict[str, Set]:
    found = {}
    for side in _SIDES:
        if limits.new_flows:
            found[f"new_{side}"] = Set((KeyType.IPV4,), frozenset(), fills="rate")
        if limits.flows:
            found[f"flows_{side}"] = Set((KeyType.IPV4, KeyType.MARK), frozenset(), fills="flows")
        if _is_sampled(limits):
            found[f"sample_{side}"] = Set((KeyType.IPV4,), frozenset(), fills="flows")
            found[f"busy_{side}"] = Set((KeyType.IPV4,), frozenset(), fills="notes")
    return found


def flow_chains(limits: Limits) -> dict[str, Chain]:
    ends = _ends({"flows": limits.flows, "new_flows": limits.new_flows})
    if not ends:
        return {}
    return ends | {
        name: chain
        for side in _SIDES
        for name, chain in {
            f"first_{side}_vm": Chain(tuple(_asked(limits, side))),
            f"count_{side}_vm": Chain(tuple(_count(limits, side))),
        }.items()
    }


def begun(limits: Limits) -> tuple[Rule, ...]:
    """For the first packet of what an instance begins; where nothing is known of the packet, `first_packets`."""
    return tuple(_asked(limits, "from"))


def first_packets(limits: Limits, side: str) -> tuple[Rule, ...]:
    """`side` is `from` or `to`: what an instance begins, or what others elsewhere begin with it."""
    here = () if side == "from" else (outside("local4", Field.IP_SADDR),)
    return (rule(_FIRST, *here, Jump(f"first_{side}_vm")),) if limits.flows or limits.new_flows else ()


def _asked(limits: Limits, side: str) -> list[Rule]:
    vm, counted = _SIDES[side], Jump(f"count_{side}_vm")
    if not limits.flows and not limits.new_flows:
        return []
    if not _is_sampled(limits):
        return [rule(counted)]
    sample = More(vm, f"sample_{side}", limits.flows // _SAMPLED)
    return [
        rule(OneOf(_SAMPLED), sample, Note(vm, f"busy_{side}")),
        rule(within(f"busy_{side}", vm), counted),
    ]


def _count(limits: Limits, side: str) -> list[Rule]:
    vm, rules = _SIDES[side], []
    if limits.new_flows:
        # in front of the count, whose lists a flood would make longer faster than the kernel makes them shorter
        burst = max(2 * limits.new_flows, limits.flows)
        rules.append(rule(Faster(vm, f"new_{side}", limits.new_flows, burst), Goto(over("new_flows"))))
    if limits.flows:
        lists = max(1, limits.flows // _LIST) if limits.flows >= _WORTH_SAMPLING else 1
        rules.append(rule(More(vm, f"flows_{side}", limits.flows, lists), Goto(over("flows"))))
    return rules


def _ends(limits: dict[str, int]) -> dict[str, Chain]:
    return {over(what): Chain((rule(COUNTED_DROP),)) for what, limit in limits.items() if limit}
