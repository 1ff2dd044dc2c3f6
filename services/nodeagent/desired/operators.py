"""Chains for the operators' own rules, in our tables and on the way of every instance's packets.

    bridge verge_l2   operator_pre    a frame from a port (prerouting −300), or to one (postrouting 300), before we look at it
                      operator_post   a frame to a port that we let pass (postrouting 301)
    ip verge          operator_pre    a packet from an instance (prerouting −150; input 0, if it is for this host), or to one
                                      (postrouting 150), before its groups are asked
                      operator_post   a packet from or to an instance that its groups let pass (postrouting 151)

`accept` in `operator_pre` lets past our judgement at this hook, which no table of the operators' own could; `drop` anywhere is
final. We make the chains, empty, and call them where operators keep something in the table: calls cost each packet some
hundredths of its time. What is in them, and every other object whose name begins with `operator_`, is never changed or removed.
Priorities before and after ours are free for tables of the operators' own.

Between two instances of one node a packet meets the chains twice, as the one sends it and as the other gets it.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from nodeagent.state.ownership import BRIDGE, IP, POST, PRE
from nodeagent.state.rule import Field, Jump, equals, rule, within
from nodeagent.state.ruleset import Chain, Hook, Ruleset, Table, TableId

FRAMES_BEHIND = Hook("postrouting", 301)
BEHIND = Hook("postrouting", 151)

EMPTY: Final[Mapping[str, Chain]] = {PRE: Chain(()), POST: Chain(())}

_JUDGES: Final = {BRIDGE: ("from_vm", "from_vm_ip", "to_vm", "to_vm_ip"), IP: ("from_vm", "to_host", "to_vm")}
_FIRST: Final = rule(Jump(PRE))


def called(ruleset: Ruleset, held: Collection[TableId], ports: str) -> Ruleset:
    """With the calls, in these tables."""
    if not held:
        return ruleset
    return {name: _called(name, table, ports) if name in held else table for name, table in ruleset.items()}


def _called(name: TableId, table: Table, ports: str) -> Table:
    chains = {judge: _behind_pre(table.chains[judge]) for judge in _JUDGES[name]}
    last = _frames_behind(ports) if name == BRIDGE else _PACKETS_BEHIND
    return replace(table, chains={**table.chains, **chains, "behind": last})


@lru_cache(maxsize=64)
def _behind_pre(chain: Chain) -> Chain:
    """The same object for an equal chain, which then needs no comparison with what the kernel holds."""
    return Chain((_FIRST, *chain.rules), chain.hook)


@lru_cache(maxsize=8)
def _frames_behind(ports: str) -> Chain:
    return Chain((rule(equals(Field.OIFNAME, ports), Jump(POST)),), FRAMES_BEHIND)


_PACKETS_BEHIND: Final = Chain(
    tuple(rule(within("local4", end), Jump(POST)) for end in (Field.IP_SADDR, Field.IP_DADDR)), BEHIND
)
