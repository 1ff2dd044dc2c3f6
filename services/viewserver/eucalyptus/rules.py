"""Rules of a broadcast security group in the words of ours, meaning what EDGE's nodes made of them.

Those nodes masked host bits, read ports of tcp and udp only, types of icmp only, took any code where any type is meant, and
skipped a rule whose group they could not find. All of that is kept, with a warning where something was left out.
"""

import re
from collections.abc import Container
from ipaddress import IPv4Network
from typing import Any, Final

from viewserver.eucalyptus.gni import Group, RuleStated
from viewserver.model.draft import Draft
from viewserver.model.faults import Pointer

WORDS: Final = {
    "protocol": "protocol",
    "from_port": "fromPort",
    "to_port": "toPort",
    "icmp_type": "icmpType",
    "icmp_code": "icmpCode",
    "cidr": "cidr",
    "group": "groupId",
}
_INTEGER = re.compile(r"-?\d{1,9}")
_PORTS: Final = ("from_port", "to_port")
_ICMP: Final = ("icmp_type", "icmp_code")


def ingress_of(group: Group, groups: Container[str], draft: Draft) -> tuple[list[dict[str, Any]], tuple[Pointer, ...]]:
    """The rules and where each stands; `groups` are those of the document."""
    wires, places = [], []
    for rule in group.ingress:
        wire = _wire(rule, draft)
        named = wire.get("group")
        if named is not None and named not in groups:
            message = f"is left out: security group {named} is not in the document, so the rule admits nobody"
            draft.warn(rule.at, message)
        else:
            wires.append(wire)
            places.append(rule.at)
    return wires, tuple(places)


def _wire(rule: RuleStated, draft: Draft) -> dict[str, Any]:
    wire: dict[str, Any] = {}
    for ours, theirs in WORDS.items():
        text = rule.fields.get(theirs)
        if text is not None:
            wire[ours] = int(text) if ours in _PORTS + _ICMP and _INTEGER.fullmatch(text) else text
    protocol = wire.get("protocol", "")
    meaningless = [*(() if protocol in ("6", "17") else _PORTS), *(() if protocol == "1" else _ICMP)]
    for field in meaningless:
        if wire.pop(field, -1) != -1:
            draft.warn((*rule.at, WORDS[field]), f"is left out: protocol {protocol or 'unknown'} has none")
    if protocol == "1" and wire.get("icmp_type", -1) == -1 and wire.pop("icmp_code", -1) != -1:
        draft.warn((*rule.at, WORDS["icmp_code"]), "is left out: with any type, EDGE took any code")
    if "cidr" in wire:
        wire["cidr"] = _masked(wire["cidr"], rule, draft)
    return wire


def _masked(text: str, rule: RuleStated, draft: Draft) -> str:
    try:
        network = IPv4Network(text, strict=False)
    except ValueError:
        return text  # to be refused by the parser of rules
    address, _, length = text.partition("/")
    if length.isdigit() and address != str(network.network_address):
        draft.warn((*rule.at, "cidr"), f"{text} has host bits; it is kept as {network}, which EDGE's nodes made of it")
        return str(network)
    return text
