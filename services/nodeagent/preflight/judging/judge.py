"""All checks of what was gathered, the failing ones first."""

from collections.abc import Iterator

from nodeagent.preflight.facts import Facts
from nodeagent.preflight.judging import addresses, dhcp, firewalls, kernel, links, reach, tools
from nodeagent.state.host import HostFacts
from verge.contract.report import Check, Failure
from verge.contract.view import View


def judge(facts: Facts, host: HostFacts, view: View | None) -> tuple[Check, ...]:
    """Same facts, same checks, in the same order."""
    found = list(_every(facts, host, view))
    return (
        *(c for c in found if c.blocks),
        *(c for c in found if not c.ok and not c.blocks),
        *(c for c in found if c.ok),
    )


def _every(facts: Facts, host: HostFacts, view: View | None) -> Iterator[Check]:
    if facts.kernel:
        yield from kernel.checks(facts.kernel, host, view)
    if facts.features:
        yield kernel.features(facts.features)
    if facts.links:
        yield from links.checks(facts.links, host, view)
        yield from addresses.checks(facts.links, host, view)
    if facts.firewalls:
        yield from firewalls.checks(facts.firewalls, host, view, facts.links)
    if facts.dhcp:
        yield from dhcp.checks(facts.dhcp, host)
    if facts.tools:
        yield from tools.checks(facts.tools)
    if facts.reach:
        yield from reach.checks(facts.reach)
    for part, why in facts.unread.items():
        yield Check(f"look-at-{part}", ok=False, severity="warning", found=f"could not be looked at: {why}")


def failures(checks: tuple[Check, ...]) -> tuple[Failure, ...]:
    """Of a view that is kept out: each with its remedy."""
    return tuple(
        Failure(f"host/{one.check}", "preflight", f"{one.found}; needed: {one.needed}; remedy: {one.remedy}")
        for one in checks
        if one.blocks
    )


def told(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    """For a report: what is not as it should be, and how many are."""
    wrong = tuple(one for one in checks if not one.ok)
    fine = len(checks) - len(wrong)
    return (*wrong, Check("all others" if wrong else "all", ok=True, found=f"{fine} checks")) if checks else ()
