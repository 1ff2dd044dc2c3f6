"""How an agent that remembers nothing knows what is its own.

ruleset     tables `bridge verge_l2`, `arp verge` and `ip verge`, whole: whatever is in them is ours to change, nothing
            outside is. Save what is named `operator_…`: it is the operators', and we leave it alone (`desired.operators`)
            A fourth, `ip verge_meters`, counts instances' packets
rules       carry in their comment the hash of their text: `verge:1f2e3d4c5b6a`
flows       the connection mark belongs to us for flows of instances; nothing else on the host may set it
addresses   of our bridge, where the node owns the gateway's, carry the label `br0:verge`; one that was there without it is
            the operator's, and stays
links       are never made by us, but those known by their names: `verge-dhcp`, and the self-test's, which are there for a second
            (`state.scratch`); of a port that matches the pattern we set
            `disable_ipv6` and `hairpin`, of our bridge `nf_call_iptables`
settings    those, and of `desired.settings`, host-wide or of our two interfaces: the kernel remembers no author. So they are said
            when they are set, and what was there before is on disk (`formersettings`) for `flush` to set back
processes   dnsmasq, known by the name of the configuration on its command line
"""

from typing import Final

from nodeagent.state.ruleset import TableId

BRIDGE: Final = TableId("bridge", "verge_l2")
IP: Final = TableId("ip", "verge")
ARP: Final = TableId("arp", "verge")
TABLES: Final = (ARP, BRIDGE, IP)
METERS: Final = TableId("ip", "verge_meters")
"""Counts, and judges nothing: no part of what is desired (`nft.meters`)."""

_MARK: Final = "verge:"
_OPERATORS: Final = "operator_"

PRE: Final = "operator_pre"
POST: Final = "operator_post"
"""Chains that we make for the operators, and leave alone."""


def is_operators(name: str) -> bool:
    """Does an object of our tables with this name belong to the operators?"""
    return name.startswith(_OPERATORS)


def label(interface: str) -> str:
    """Of our addresses. The kernel keeps 15 characters, so that of a long name the end is cut."""
    return f"{interface[:9]}:verge"


def comment(rule_hash: str) -> str:
    return _MARK + rule_hash


def rule_hash(comment_text: str) -> str:
    """The hash that a rule's comment carries; empty where it carries none."""
    return comment_text.removeprefix(_MARK) if comment_text.startswith(_MARK) else ""
