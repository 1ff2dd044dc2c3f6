"""Who must answer, and the clock. All of it may heal without this host, so none of it keeps a view out."""

from collections.abc import Iterator
from typing import Final

from nodeagent.preflight.facts import Answer, Reach
from verge.contract.report import Check

_MOST_AHEAD_S: Final = 5.0


def checks(found: Reach) -> Iterator[Check]:
    if found.gateway:
        yield _answered(
            "gateway",
            found.gateway,
            "a router of the private network that answers ARP",
            "# is the router up, and the bridge's uplink in its network (VLAN, cable)?",
        )
    if found.metadata:
        yield _answered(
            "metadata",
            found.metadata,
            "the metadata service of the CLC takes connections from this host",
            "# is the CLC up, is there a route to it, does a firewall stand between?",
        )
    for server in found.servers:
        yield _answered(
            "view-server",
            server,
            "the view server answers",
            "# is it up, is --server right? The last view stays in force meanwhile",
        )
    if found.clock_synchronised is not None:
        yield Check(
            "clock",
            ok=found.clock_synchronised,
            severity="warning",
            found="synchronised" if found.clock_synchronised else "the kernel says that its clock is not synchronised",
            needed="a clock kept by NTP, so that logs and reports of nodes can be compared",
            remedy="timedatectl set-ntp true",
        )
    if found.clock_ahead_s is not None:
        ahead = found.clock_ahead_s
        yield Check(
            "clock-offset",
            ok=abs(ahead) <= _MOST_AHEAD_S,
            severity="warning",
            found=f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the view server"
            if abs(ahead) > _MOST_AHEAD_S
            else "as the view server's",
            needed=f"within {_MOST_AHEAD_S:.0f} s of the view server's clock",
            remedy="timedatectl set-ntp true",
        )


def _answered(check: str, answer: Answer, needed: str, remedy: str) -> Check:
    return Check(
        check,
        ok=answer.problem is None,
        severity="warning",
        found=f"{answer.who} answers" if answer.problem is None else f"{answer.who}: {answer.problem}",
        needed=needed,
        remedy=remedy,
    )
