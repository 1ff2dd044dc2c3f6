"""Address translation: elastic IPs, the metadata service, and the node's address for those that have none.

    prerouting −100      169.254.169.254:80 ─▶ the metadata service;  DHCP renewals ─▶ this host;  elastic IP ─▶ its instance
    output −100          … for what this host sends itself
    postrouting 100      its instance's elastic IP as source, else the node's own where the view says so

The kernel looks here at the first packet of a flow only. Behind it, `judgement` sees the addresses that the receiver will see.
Private addresses stay what they are towards each other: security groups name them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from nodeagent.desired import elastic
from nodeagent.desired.reserved import IDENTIFIER, METADATA
from nodeagent.state.rule import (
    ACCEPT,
    Field,
    Flag,
    Goto,
    Rule,
    Translate,
    TranslateBy,
    Write,
    differs,
    equals,
    outside,
    rule,
    within,
)
from nodeagent.state.ruleset import Chain, Hook
from verge.contract.rule import UDP
from verge.contract.view import Metadata

PREROUTING = Hook("prerouting", -100, "nat")
OUTPUT = Hook("output", -100, "nat")
RAW_OUTPUT = Hook("output", -300)
POSTROUTING = Hook("postrouting", 100, "nat")

_EVERYONE = 0xFFFF_FFFF
_LOCAL = within("local4", Field.IP_SADDR)
_TO_INSTANCE = rule(TranslateBy("dnat", Field.IP_DADDR, elastic.DNAT))
_AS_ELASTIC = rule(TranslateBy("snat", Field.IP_SADDR, elastic.SNAT))
# dnsmasq answers from whatever address the kernel finds for it. A client that renews hears only whom it asked, and connection
# tracking only who belongs to the flow; so this is before it, and without state.
_AS_IDENTIFIER = rule(
    equals(Field.UDP_SPORT, 67),
    equals(Field.UDP_DPORT, 68),
    within("local4", Field.IP_DADDR),
    Write(Field.IP_SADDR, str(IDENTIFIER)),
)
_TRANSLATED = Flag(Field.CT_STATUS, "dnat")
_NOT_TRANSLATED = Flag(Field.CT_STATUS, "dnat", negate=True)


@dataclass(frozen=True, slots=True)
class Translations:
    """What a view says of it, without its instances."""

    node: int
    """The node's address on the public side."""
    metadata: Metadata | None
    masquerade: bool
    is_separate: bool


def chains(found: Translations) -> Mapping[str, Chain]:
    as_node = rule(Translate("snat", found.node))
    # on a separate public network a private source cannot be told from a spoof there, so no instance may show it to another
    # node; to other hosts of the public network it may
    as_node_between_instances = found.masquerade or found.is_separate
    return {
        "nat_prerouting": Chain((*_services(found), _TO_INSTANCE), PREROUTING),
        "dhcp_output": Chain((_AS_IDENTIFIER,), RAW_OUTPUT),
        "nat_output": Chain((_TO_INSTANCE,), OUTPUT),
        "nat_postrouting": Chain(
            (
                # between instances; what follows would come to the same, with more looks
                rule(_NOT_TRANSLATED, within("instances4", Field.IP_DADDR), ACCEPT),
                rule(outside("local4", Field.IP_SADDR), ACCEPT),
                rule(_TRANSLATED, equals(Field.CT_FIRST_DADDR, int(METADATA)), Goto("nat_metadata")),
                # two instances on this node, which see each other as any other two do
                rule(_TRANSLATED, within(elastic.POOL, Field.CT_FIRST_DADDR), Goto("nat_between_instances")),
                rule(within("instances4", Field.IP_DADDR), ACCEPT),
                _AS_ELASTIC,
                *_when(found.masquerade, as_node),
                *_when(
                    found.is_separate and not found.masquerade,
                    rule(within(elastic.POOL, Field.IP_DADDR), Translate("snat", found.node)),
                ),
            ),
            POSTROUTING,
        ),
        "nat_metadata": Chain(
            (*_when(found.metadata is not None and found.metadata.identity == "elastic", _AS_ELASTIC), rule(ACCEPT))
        ),
        "nat_between_instances": Chain((_AS_ELASTIC, *_when(as_node_between_instances, as_node), rule(ACCEPT))),
    }


def _services(found: Translations) -> tuple[Rule, ...]:
    rules = []
    if found.metadata is not None:
        to_service = Translate("dnat", int(found.metadata.host), found.metadata.port)
        rules.append(
            rule(equals(Field.IP_DADDR, int(METADATA)), equals(Field.TCP_DPORT, 80), _LOCAL, to_service),
        )
    # wherever the lease came from, it is renewed here
    renewal = (
        equals(Field.SPORT, 68),
        equals(Field.DPORT, 67),
        equals(Field.L4PROTO, UDP),
        differs(Field.IP_DADDR, _EVERYONE),
    )
    rules.append(rule(*renewal, _LOCAL, Translate("dnat", int(IDENTIFIER))))
    return tuple(rules)


def _when(condition: bool, only: Rule) -> tuple[Rule, ...]:
    return (only,) if condition else ()
