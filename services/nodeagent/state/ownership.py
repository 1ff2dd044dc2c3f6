"""How an agent that remembers nothing knows what is its own.

ruleset     tables `bridge verge_l2`, `arp verge` and `ip verge`, whole: whatever is in them is ours to change, nothing
            outside is
            but what is named `operator_…`: that is the operators', and never changed or removed by us (`desired.operators`)
rules       carry in their comment the hash of their text: `verge:1f2e3d4c5b6a`
flows       the connection mark belongs to us for flows of instances; nothing else on the host may set it
addresses   of our bridge, where the node owns the gateway's, carry the label `br0:verge`; one that was there without it is
            the operator's, and stays
links       are never made by us; of a port that matches the pattern we set `disable_ipv6` and `hairpin`, of our bridge
            `nf_call_iptables`; they go with the port and the bridge, and are not set back
settings    of `desired.settings`, host-wide or of our two interfaces: the kernel remembers no author, so they are said when
            they are set (with what was there before), and not set back
"""

from typing import Final

from nodeagent.state.ruleset import TableId

BRIDGE: Final = TableId("bridge", "verge_l2")
IP: Final = TableId("ip", "verge")
ARP: Final = TableId("arp", "verge")
TABLES: Final = (ARP, BRIDGE, IP)

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
