"""What a host's kernel holds of ours."""

from __future__ import annotations

from lab.host import Host
from nodeagent.kernel.ruleset import KernelRuleset
from nodeagent.state import ownership
from nodeagent.state.ruleset import Observed, SeenTable
from tests.unit.nodeagent.test_plan import without_handles


def observed(host: Host) -> Observed:
    with host.entered():
        ruleset = KernelRuleset()
        try:
            return ruleset.read()[0]
        finally:
            ruleset.close()


def policy(seen: Observed) -> Observed:
    """Without handles, and without the numbers of generations, which follow the clock here."""
    found = without_handles(seen)
    table = found[ownership.IP]
    sets = {name: one for name, one in table.sets.items() if not name.startswith("generations")}
    maps = {name: sorted(one.elements) if one.data == "mark" else one for name, one in table.maps.items()}
    return {**found, ownership.IP: SeenTable(sets, maps, table.chains)}  # type: ignore[arg-type]
