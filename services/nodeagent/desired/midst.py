"""TCP sessions of which this node sees something first that is not their beginning.

An instance that migrated brings its sessions along, and a conntrack entry may have aged away. The peer's packet is judged like
any first one, by the ingress rules. An instance's own may belong to a session that it began; or it answers in one that it was
asked for, which was allowed once and perhaps is no more. Nothing but the ports can tell:

    from a port for clients to one for services    its own: judged by its egress rules
    anything else                                  an answer: judged by the mirror of its ingress rules

Conntrack takes what it sees first for the session's beginning, so behind an answer its directions are the wrong way round. A
bit of the mark remembers it (`generations.REVERSED`): such a flow is stamped, and judged again when something was withdrawn,
like any other that came in. So what was revoked elsewhere does not come to life here, and what is revoked here ends, whoever
spoke first.

Not carried on: a session that the instance began, from a port below 32768 or to one above; one that it began, while only the far
side speaks. Rejected: to take up everything in its midst (`nf_conntrack_tcp_loose` and no more), since an instance's answer in
a revoked session then opens it as one of its own; and nothing, since then no session survives a migration.
"""

from typing import Final

from nodeagent.state import generations
from nodeagent.state.rule import (
    ACCEPT,
    DROP,
    Bits,
    Dispatch,
    Field,
    Flag,
    Goto,
    Rule,
    Stamp,
    Write,
    equals,
    rule,
    within,
)
from nodeagent.state.ruleset import Chain

_REVERSED: Final = Flag(Field.CT_MARK, f"{generations.REVERSED:#x}")
_REVERSE: Final = rule(Write(Field.CT_MARK, f"ct mark | {generations.REVERSED:#x}"))
# Linux takes clients' ports from 32768 on, others from 49152 on (RFC 6335, section 6)
_OF_A_CLIENT: Final = equals(Field.SPORT, "32768-65535"), equals(Field.DPORT, "0-32767")

NOT_REVERSED: Final = Bits(Field.CT_MARK, generations.REVERSED, 0)
FIRST_FROM_VM: Final[Rule] = rule(
    Flag(Field.TCP_FLAGS, "syn", negate=True), equals(Field.CT_STATE, "new"), Goto("from_vm_midst")
)
FROM_VM: Final[tuple[Rule, ...]] = (rule(_REVERSED, Goto("from_vm_reversed")), FIRST_FROM_VM)
"""What conntrack takes for the way there, before egress rules are asked."""
TO_VM: Final[Rule] = rule(_REVERSED, Goto("to_vm_reversed"))
"""What it takes for the way back, likewise."""


def chains(limit: tuple[Rule, ...] = ()) -> dict[str, Chain]:
    """Those above, and the ends of all judgement that lets a flow to an instance pass, in either direction. `limit` drops
    what is begun with an instance and is too much."""
    return {
        "from_vm_midst": Chain(
            (
                rule(*_OF_A_CLIENT, Dispatch(Field.IP_SADDR, "vm_out")),
                _REVERSE,
                rule(Dispatch(Field.IP_SADDR, "vm_in_replies")),
                rule(DROP),
            )
        ),
        "from_vm_reversed": _reversed(Field.IP_SADDR, "vm_in_replies"),
        "to_vm_reversed": _reversed(Field.IP_DADDR, "vm_in"),
        **_passing("pass_in", Field.IP_DADDR, "original", limit),
        **_passing("pass_reply", Field.IP_SADDR, "reply"),
    }


def _reversed(vm: Field, verdicts: str) -> Chain:
    valid = rule(within(generations.VALID_REVERSED, vm, Field.CT_MARK), ACCEPT)
    return Chain((valid, rule(equals(Field.CT_STATE, "related"), DROP), rule(Dispatch(vm, verdicts)), rule(DROP)))


def _passing(name: str, vm: Field, direction: str, limit: tuple[Rule, ...] = ()) -> dict[str, Chain]:
    """Stamps the flow with its instance's generation, who has come here in this direction; what is reversed stays so, and is the
    other's to stamp: one mark cannot say of both that they were asked."""
    stamp = rule(Stamp(vm, generations.CURRENT))
    return {
        name: Chain((*limit, rule(_REVERSED, Goto(f"{name}_reversed")), stamp, rule(ACCEPT))),
        f"{name}_reversed": Chain((rule(equals(Field.CT_DIRECTION, direction), ACCEPT), stamp, _REVERSE, rule(ACCEPT))),
    }
