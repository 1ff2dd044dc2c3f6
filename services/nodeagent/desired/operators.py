"""Chains for the operators' own rules, in our tables and on the way of every instance's packets.

    bridge verge_l2   operator_pre    a frame from a port (prerouting −300), or to one (postrouting 300), before we look at it
                      operator_post   a frame to a port that we let pass (postrouting 301)
    ip verge          operator_pre    a packet from an instance (prerouting −150; input 0, if it is for this host), or to one
                                      (postrouting 150), before its groups are asked
                      operator_post   a packet from or to an instance that its groups let pass (postrouting 151)

`accept` in `operator_pre` lets past our judgement at this hook, which no table of the operators' own could; `drop` anywhere is
final. We make the chains, empty, and call them; what is in them, and every other object whose name begins with `operator_`, is
never looked at, changed or removed. Priorities before and after ours are free for tables of the operators' own.

Between two instances of one node a packet meets the chains twice, as the one sends it and as the other gets it.
"""

from nodeagent.state.ownership import POST, PRE
from nodeagent.state.rule import Field, Jump, equals, rule, within
from nodeagent.state.ruleset import Chain, Hook

FRAMES_BEHIND = Hook("postrouting", 301)
BEHIND = Hook("postrouting", 151)

FIRST = rule(Jump(PRE))
"""At the head of each chain that judges."""


def of_frames(ports: str) -> dict[str, Chain]:
    last = Chain((rule(equals(Field.OIFNAME, ports), Jump(POST)),), FRAMES_BEHIND)
    return {PRE: Chain(()), POST: Chain(()), "behind": last}


def of_packets() -> dict[str, Chain]:
    last = Chain(tuple(rule(within("local4", end), Jump(POST)) for end in (Field.IP_SADDR, Field.IP_DADDR)), BEHIND)
    return {PRE: Chain(()), POST: Chain(()), "behind": last}
