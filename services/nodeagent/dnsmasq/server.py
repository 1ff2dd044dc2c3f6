"""DHCP in the order of a pass: an address is known before its port opens, and forgotten after it has closed.

    admit ─▶ (the ruleset's transaction) ─▶ serve
    hosts that are new or changed           hosts that are gone; process up; read again; leases given back

A crash between any two lines leaves hosts too many, whose ports are closed, never too few. DHCP that fails blocks no
rules: it is reported, and tried again with the next pass.
"""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from nodeagent.desired.dhcp import IDENTIFIER, Dhcp
from nodeagent.dnsmasq import DnsmasqFailed, process, text
from nodeagent.dnsmasq.files import Files
from nodeagent.dnsmasq.process import Running
from nodeagent.kernel import KernelRefused, identifier
from nodeagent.state.leases import Lease, stale
from verge.contract.report import Failure

_SERVER_PORT: Final = 67
_RELEASE_S: Final = 0.3
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Status:
    """`idle`: there is no instance to serve, so nothing runs."""

    state: Literal["idle", "serving", "failed"] = "idle"
    pid: int | None = None
    hosts: int = 0
    starts: int = 0
    """By this agent; taking over a running one is none."""
    problem: str | None = None


class Dnsmasq:
    """One a node. `status` may be read from any thread."""

    def __init__(self, directory: Path, bridge: str, say: Callable[..., None] = lambda *_, **__: None) -> None:
        """Touches nothing. `say` hears of changes of state, as `Journal.say`."""
        self.status = Status()
        self._files = Files(directory.resolve())
        self._bridge = bridge
        self._say = say
        self._running: Running | None = None
        self._links = (0, 0)
        """Those that it was started with."""
        self._untold = False
        """Something changed in the files that dnsmasq learns by SIGHUP only."""
        self._admission_failed: str | None = None
        self._unadmitted: tuple[Failure, ...] = ()
        """Instances whose own files could not be written: they get no lease."""
        self._done: Dhcp | None = None
        """What the files and the process are known to be like."""

    def admit(self, wanted: Dhcp) -> None:
        """Before the ruleset: whoever may use his port from now on has an address waiting for him."""
        if wanted == self._done:
            return
        self._done = self._admission_failed = None
        self._unadmitted = ()
        try:
            different, failed = self._files.admit(wanted.hosts)
            self._unadmitted = tuple(
                Failure(f"instances/{host.instance}", "dhcp", f"{why.strerror} ({self._files.host(host)})")
                for host, why in failed.items()
            )
            different = self._files.options(text.options(wanted)) or different
        except OSError as failed:
            self._admission_failed = f"{failed.strerror} ({failed.filename})"
        else:
            self._untold = self._untold or different

    def serve(self, wanted: Dhcp) -> tuple[Failure, ...]:
        """After the ruleset: whoever is gone is forgotten. Collects what went wrong."""
        problem = self._admission_failed
        try:
            if problem is None and (wanted != self._done or self.ailing()):
                self._serve(wanted)
        except (DnsmasqFailed, KernelRefused) as failed:
            problem = str(failed)
        except OSError as failed:
            problem = f"{failed.strerror or failed} ({failed.filename or 'dnsmasq'})"
        self._done = None if problem or self._unadmitted else wanted
        self._note(wanted, problem)
        why = (Failure("host/dnsmasq", "dhcp", problem),) if problem else ()
        return (*wanted.failures, *self._unadmitted, *why)

    def doubt(self) -> None:
        """The next pass looks at every file and process."""
        self._done = None

    def ailing(self) -> bool:
        """Did what worked after the last `serve` stop to work? Cheap: call it each second, and `serve` if True."""
        return self._running is not None and not (
            self._running.alive() and identifier.held(IDENTIFIER) and identifier.links(self._bridge) == self._links
        )

    def close(self) -> None:
        """End it: leases live on at their holders, and an agent that starts within half a day is not missed."""
        if self._running:
            self._running.end()
            self._running = None

    def _serve(self, wanted: Dhcp) -> None:
        self._untold = self._files.retain(host.address for host in wanted.hosts) or self._untold
        if not wanted.hosts:
            self._keep(None)
            self._untold = False
            return
        identifier.hold(IDENTIFIER)
        self._links = identifier.links(self._bridge)
        if not self._links[0]:
            raise DnsmasqFailed(f"there is no bridge {self._bridge} to answer on: make it, or name another (--bridge)")
        configured = text.configuration(wanted.subnet, self._bridge, self._links, self._files.directory)
        configuration = self._files.configuration(configured)
        self._keep(configuration)
        if self._running is None:
            self._files.forget_leases()
            self._running = process.start(configuration, self._files.log)
            self.status = replace(self.status, starts=self.status.starts + 1)
        elif self._untold:
            self._running.read_again()
        self._untold = False
        self._give_back(wanted)

    def _keep(self, configuration: Path | None) -> None:
        """End every dnsmasq of ours but one with this configuration. One that was found may have missed what the agent
        before us meant to tell it."""
        if self._running is None:
            for other in process.found(self._files.directory):
                if self._running is None and other.configuration == configuration:
                    self._running, self._untold = other, True
                else:
                    other.end()
        elif not self._running.alive() or self._running.configuration != configuration:
            self._running.end()
            self._running = None

    def _give_back(self, wanted: Dhcp) -> None:
        """Leases of those who are gone: else their addresses are refused to whom they were given since."""
        for _ in range(_ATTEMPTS):
            gone = stale(self._files.leases(), wanted.hosts)
            if not gone:
                return
            _release(gone)
            deadline = time.monotonic() + _RELEASE_S
            while gone and time.monotonic() < deadline:
                time.sleep(0.003)
                gone = stale(self._files.leases(), wanted.hosts)
        raise DnsmasqFailed(f"dnsmasq does not give up {gone[0].address}, leased to {gone[0].mac}")

    def _note(self, wanted: Dhcp, problem: str | None) -> None:
        pid = self._running.pid if self._running else None
        before = self.status
        state: Literal["idle", "serving", "failed"] = "failed" if problem else "serving" if pid else "idle"
        self.status = replace(before, state=state, pid=pid, hosts=len(wanted.hosts), problem=problem)
        if (before.state, before.pid, before.problem) != (state, pid, problem):
            self._say(f"dhcp-{state}", pid=pid, hosts=len(wanted.hosts), reason=problem)


def _release(leases: tuple[Lease, ...]) -> None:
    """Bound to the link that holds the server's address: dnsmasq serves what comes from there, and from our bridge."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        sending.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, identifier.LINK.encode())
        for lease in leases:
            sending.sendto(text.release(lease), (str(IDENTIFIER), _SERVER_PORT))
