"""The verdict in a sentence or two, for a person."""

from __future__ import annotations

from viewserver.explain.enforced import Enforced, Share
from viewserver.explain.verdict import Explanation


def reason(found: Explanation) -> str:
    """What settles it, and where."""
    stage = found.deciding
    if stage is None:
        return "nothing stands in its way"
    where = f" (on {stage.node})" if stage.node else ""
    return f"{stage.text}{where}"


def summary(found: Explanation, now: Enforced, since: int, *, exact: bool) -> str:
    """`allowed since revision 4812, in force on nc-1 and nc-7`, or who lacks it and why."""
    verdict = "allowed" if found.allowed else "denied"
    said = f"{verdict} since revision {since}" + ("" if exact else " or before")
    if now.in_force:
        nodes = [share.node for share in now.shares if share.in_force and (found.allowed or share.meant == "drops")]
        return f"{said}, in force" + (f" on {' and '.join(dict.fromkeys(nodes))}" if nodes else "")
    late = [share for share in now.shares if not share.in_force and _counts(found, share)]
    return f"{said}; not in force: " + "; ".join(f"{share.node} {_why(share)}" for share in late)


def _counts(found: Explanation, share: Share) -> bool:
    """Of what is denied, a node that is to let it pass holds nothing up."""
    return found.allowed or share.meant == "drops"


def _why(share: Share) -> str:
    return ", ".join(share.reasons) or f"{share.enforces}"
