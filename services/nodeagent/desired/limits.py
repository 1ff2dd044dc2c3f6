"""Limits as rules: sets that the packet path fills by itself, and one counted drop for each limit.

    bridge   arp_rate, dhcp_rate, broadcast_rate     by port, behind the check of who sends
    ip       new_from, flows_from                    by the instance that begins the flow, before its egress rules
             new_to, flows_to                        by the one it is begun with, behind its ingress rules

A flow is counted with its first packet only: conntrack has not confirmed it yet. Established ones pass on whatever the count.
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
    Rule,
    rule,
)
from nodeagent.state.ruleset import Chain, Set

_FIRST: Final = Flag(Field.CT_STATUS, "confirmed", negate=True)


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


def flow_sets(limits: Limits) -> dict[str, Set]:
    found = {}
    for side in ("from", "to"):
        if limits.new_flows:
            found[f"new_{side}"] = Set((KeyType.IPV4,), frozenset(), fills="rate")
        if limits.flows:
            found[f"flows_{side}"] = Set((KeyType.IPV4,), frozenset(), fills="flows")
    return found


def flow_chains(limits: Limits) -> dict[str, Chain]:
    ends = _ends({"flows": limits.flows, "new_flows": limits.new_flows})
    if not ends:
        return {}
    sides = {"from": Field.IP_SADDR, "to": Field.IP_DADDR}
    return ends | {f"first_{side}_vm": Chain(tuple(_first(limits, side, field))) for side, field in sides.items()}


def first_packets(limits: Limits, side: str) -> tuple[Rule, ...]:
    """`side` is `from` or `to`: what an instance begins, or what is begun with it."""
    return (rule(_FIRST, Jump(f"first_{side}_vm")),) if limits.flows or limits.new_flows else ()


def _first(limits: Limits, side: str, vm: Field) -> list[Rule]:
    rules = []
    if limits.new_flows:
        burst = max(2 * limits.new_flows, limits.flows)
        rules.append(rule(Faster(vm, f"new_{side}", limits.new_flows, burst), Goto(over("new_flows"))))
    if limits.flows:
        rules.append(rule(More(vm, f"flows_{side}", limits.flows), Goto(over("flows"))))
    return rules


def _ends(limits: dict[str, int]) -> dict[str, Chain]:
    return {over(what): Chain((rule(COUNTED_DROP),)) for what, limit in limits.items() if limit}
