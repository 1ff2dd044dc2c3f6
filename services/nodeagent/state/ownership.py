"""How an agent that remembers nothing knows what is its own.

ruleset     tables `bridge verge_l2` and `ip verge`, whole: whatever is in them is ours to change, nothing outside is
rules       carry in their comment the hash of their text: `verge:1f2e3d4c5b6a`
flows       the connection mark belongs to us for flows of instances; nothing else on the host may set it
links       are never made by us; of a port that matches the pattern we set `disable_ipv6`, of our bridge
            `nf_call_iptables`, and neither is set back
"""

from typing import Final

from nodeagent.state.ruleset import TableId

BRIDGE: Final = TableId("bridge", "verge_l2")
IP: Final = TableId("ip", "verge")
TABLES: Final = (BRIDGE, IP)

_MARK: Final = "verge:"


def comment(rule_hash: str) -> str:
    return _MARK + rule_hash


def rule_hash(comment_text: str) -> str:
    """The hash that a rule's comment carries; empty where it carries none."""
    return comment_text.removeprefix(_MARK) if comment_text.startswith(_MARK) else ""
