"""`verge-nodeagent preflight`: the whole preflight once, beside a running agent or without one.

Where the state directory holds a view, what needs one is checked against it. Exit codes: 0 fit (warnings or none),
1 something is failing, 2 cannot look as told.
"""

import json
import sys
from contextlib import suppress

from nodeagent.checkpoint import Checkpoint, CheckpointUnreadable, Slot
from nodeagent.preflight.preflight import Preflight
from nodeagent.preflight.text import table
from nodeagent.settings import Settings
from nodeagent.state.host import HostFacts
from verge.contract.report import Check
from verge.contract.view import View


def run(settings: Settings, host: HostFacts, *, as_json: bool) -> int:
    view = view_on_disk(settings)
    checks = Preflight(host, settings.servers).whole(view)
    sys.stdout.write(_json(settings, view, checks) if as_json else table(checks))
    return 1 if any(one.blocks for one in checks) else 0


def view_on_disk(settings: Settings) -> View | None:
    """The one that an agent would enforce at its start; None: it would have none."""
    checkpoint = Checkpoint(settings.state_dir, settings.node)
    slots: tuple[Slot, ...] = ("pinned", "next", "last")
    for slot in slots:
        with suppress(CheckpointUnreadable, OSError):
            stored = checkpoint.load(slot)
            if stored:
                return stored.view()
    return None


def _json(settings: Settings, view: View | None, checks: tuple[Check, ...]) -> str:
    said = {
        "node": settings.node or None,
        "view": view.digest if view else None,
        "ok": not any(one.blocks for one in checks),
        "checks": [one.to_wire() for one in checks],
    }
    return json.dumps(said, indent=2) + "\n"
