"""What is set outside nftables: carries out the steps of `plan.host`, and remembers which the host refused.

A setting that cannot be set is a failure of the view, not the end of it: the ruleset is in force all the same.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from nodeagent.desired.node import Desired
from nodeagent.formersettings import FormerSettings
from nodeagent.kernel import KernelRefused
from nodeagent.kernel.links import HostLinks, can_filter_bridges
from nodeagent.plan.host import (
    AddAddress,
    DeleteAddress,
    FilterBridge,
    ReflectPort,
    SetSysctl,
    SilencePort,
    Step,
    closing,
    described,
    formers,
    object_of,
    opening,
)
from nodeagent.state.host import HostFacts, Links
from verge.contract.report import Failure


class HostSettings:
    def __init__(self, facts: HostFacts, links: HostLinks, formers: FormerSettings | None = None) -> None:
        """Without `formers` nobody can set back what is set."""
        self._formers = formers
        self._facts = facts
        self._links = links
        self._settled: frozenset[str] = frozenset()
        """Ports that have had their settings."""
        self._refused: frozenset[str] = frozenset()
        """What could not be set: it is in the outcome, and no news each second."""
        self._opened: tuple[object, ...] | None = None
        """What `open` was last done for; None: it is to look again."""

    def doubt(self) -> None:
        """Look at everything the next time."""
        self._opened = None

    def close(self, links: Links) -> tuple[tuple[str, ...], list[Failure]]:
        """What comes before the ruleset: what was set, and what could not be."""
        failures: list[Failure] = []
        if links.bridge_filtered is None:
            failures.append(Failure(f"host/{self._facts.bridge}", "links", "there is no such bridge"))
        self._refused = frozenset()
        taken = self._take(closing(links), failures)
        self._settled = frozenset(links.ports)
        return taken, failures

    def open(self, links: Links, wanted: Desired, failures: list[Failure]) -> tuple[str, ...]:
        """What comes behind it; adds to the failures. Where nothing is new, nothing is read: `moved` looks each second."""
        made_for = (wanted.sysctls, wanted.addresses, wanted.interfaces, links.ports, links.identity)
        if made_for == self._opened:
            return ()
        before = len(failures)
        taken = self._take(self._opening(links, wanted), failures)
        self._opened = made_for if len(failures) == before else None
        return taken

    def moved(self, links: Links, wanted: Desired) -> bool:
        """Is anything not as it was made? A port that has just come is no drift: readiness tells of it."""
        return any(
            object_of(step, self._facts) not in self._refused
            for step in (*closing(links), *self._opening(links, wanted))
            if not isinstance(step, SilencePort | ReflectPort) or step.port in self._settled
        )

    def described(self, links: Links, wanted: Desired) -> tuple[list[str], list[str]]:
        """What `close` and `open` would do, as commands."""
        first = [described(step, self._facts) for step in closing(links)]
        return first, [described(step, self._facts) for step in self._opening(links, wanted)]

    def cannot_filter(self, links: Links) -> str | None:
        """Why bridged packets do not meet the ip table, if they do not."""
        if not can_filter_bridges():
            return "br_netfilter is not loaded: bridged packets would pass unjudged (modprobe br_netfilter)"
        if links.bridge_filtered is False and self._links.read().bridge_filtered is False:
            return f"nf_call_iptables of {self._facts.bridge} cannot be set: bridged packets would pass unjudged"
        return None

    def _opening(self, links: Links, wanted: Desired) -> tuple[Step, ...]:
        sysctls = self._links.sysctls(one.name for one in wanted.sysctls)
        return opening(replace(links, sysctls=sysctls), wanted, self._facts)

    def _take(self, steps: Iterable[Step], failures: list[Failure]) -> tuple[str, ...]:
        taken = []
        steps = tuple(steps)
        try:
            if self._formers and steps:
                self._formers.note(formers(steps, self._facts))
        except OSError as failed:  # the setting matters more than what it was
            failures.append(Failure("host/former-settings", "disk", f"{failed.strerror or failed} ({failed.filename})"))
        for step in steps:
            try:
                self._do(step)
            except (KernelRefused, OSError) as refused:
                named = object_of(step, self._facts)
                failures.append(Failure(named, "links", str(refused)))
                self._refused |= {named}
            else:
                taken.append(described(step, self._facts))
        return tuple(taken)

    def _do(self, step: Step) -> None:
        match step:
            case FilterBridge():
                self._links.filter_bridge()
            case SilencePort(port):
                self._links.silence(port)
            case ReflectPort(port):
                self._links.reflect(port)
            case SetSysctl(sysctl):
                self._links.set_sysctl(sysctl.name, sysctl.value)
            case AddAddress(address):
                self._links.add_address(address)
            case DeleteAddress(address):
                self._links.delete_address(address)
            case _:
                assert_never(step)
