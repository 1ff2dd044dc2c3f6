"""What is gathered when, so that a pass pays for little and an idle agent for nothing.

    quick     each pass: links, addresses, routes (0.5 ms). The rest as it was last found
    local     the first time, when somebody else changed the ruleset, when a view is tried again: also settings and
              others' rules (2 ms)
    whole     soon after the start, on demand, every few minutes and after a pass that failed: also what the kernel takes,
              versions, the DHCP port, who answers, the clock (50 ms)

Blocking; any thread of the node's network namespace may call.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from nodeagent.kernel import KernelRefused
from nodeagent.preflight.facts import Facts
from nodeagent.preflight.gather.dhcp import dhcp_port
from nodeagent.preflight.gather.features import features
from nodeagent.preflight.gather.firewalls import firewalls
from nodeagent.preflight.gather.kernel import kernel
from nodeagent.preflight.gather.links import links
from nodeagent.preflight.gather.tools import tools
from nodeagent.preflight.judging.judge import judge
from nodeagent.state.host import HostFacts
from verge.contract.report import Check
from verge.contract.view import View

_LOCAL: Final = ("links", "kernel", "firewalls")
_WHOLE: Final = (*_LOCAL, "features", "dhcp", "tools")


class Preflight:
    def __init__(self, host: HostFacts, servers: Sequence[str] = ()) -> None:
        """Touches nothing."""
        self._host = host
        self._servers = tuple(servers)
        self._facts = Facts()
        self._lock = threading.Lock()
        """Of `_facts`, which is replaced as a whole."""

    def quick(self, view: View | None) -> tuple[Check, ...]:
        if self._facts.links is None:
            return self.local(view)
        self._gather(view, ("links",))
        return self._judged(view)

    def local(self, view: View | None) -> tuple[Check, ...]:
        self._gather(view, _LOCAL)
        return self._judged(view)

    def whole(self, view: View | None) -> tuple[Check, ...]:
        """Up to some seconds, where somebody does not answer."""
        from nodeagent.preflight.gather.reach import reach  # only now: http.client takes 20 ms to import

        self._gather(view, _WHOLE)
        self._keep("reach", lambda: reach(self._host, view, self._facts.links, self._servers))
        return self._judged(view)

    def _judged(self, view: View | None) -> tuple[Check, ...]:
        return judge(self._facts, self._host, view)

    def _gather(self, view: View | None, parts: Sequence[str]) -> None:
        readers: dict[str, Callable[[], object]] = {
            "links": links,
            "kernel": lambda: kernel(self._host, view),
            "firewalls": firewalls,
            "features": features,
            "dhcp": lambda: dhcp_port(self._host),
            "tools": tools,
        }
        for part in parts:
            self._keep(part, readers[part])

    def _keep(self, part: str, read: Callable[[], object]) -> None:
        """A part that cannot be looked at is known as such, and does not keep the others from being looked at."""
        found, problem = None, None
        try:
            found = read()
        except (OSError, KernelRefused, ValueError, LookupError) as failed:
            problem = str(failed) or repr(failed)
        with self._lock:
            unread = {name: why for name, why in self._facts.unread.items() if name != part}
            unread |= {part: problem} if problem else {}
            self._facts = replace(self._facts, unread=unread, **{part: found})  # type: ignore[arg-type]
