"""DHCP in the order of a pass: an address is known before its port opens, and forgotten after it has closed.

    admit ─▶ (the ruleset's transaction) ─▶ serve
    hosts that are new or changed           hosts that are gone; process up; read again; leases given back

A crash between any two lines leaves hosts too many, whose ports are closed, never too few. DHCP that fails blocks no
rules: it is reported, and tried again with the next pass, or as soon as whoever had the port let go of it.

An instance that comes costs a file, one that goes a signal and its lease; nothing is forked, and dnsmasq stays.
"""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from nodeagent.desired.dhcp import Dhcp
from nodeagent.desired.reserved import IDENTIFIER
from nodeagent.dnsmasq import DnsmasqFailed, account, process, text
from nodeagent.dnsmasq.files import Files
from nodeagent.dnsmasq.process import PORT, PortTaken, Running
from nodeagent.dnsmasq.sharing import Sharing
from nodeagent.kernel import KernelRefused, identifier
from nodeagent.state.leases import Lease, stale
from verge.contract.report import Failure

_RELEASE_S: Final = 0.3
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Status:
    """`idle`: there is no instance to serve, so nothing runs."""

    state: Literal["idle", "serving", "failed"] = "idle"
    pid: int | None = None
    user: str | None = None
    """That it runs as."""
    hosts: int = 0
    starts: int = 0
    """By this agent; taking over a running one is none."""
    problem: str | None = None
    """While it serves: somebody else may, too."""


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
        self._sharing = Sharing(bridge)
        self._shared: str | None = None
        """With whom, and so a problem."""
        self._untold = False
        """Something changed in the files that dnsmasq learns by SIGHUP only."""
        self._owing = True
        """There may be leases of those who are gone."""
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
            self._owing = self._owing or different

    def serve(self, wanted: Dhcp) -> tuple[Failure, ...]:
        """After the ruleset: whoever is gone is forgotten. Collects what went wrong."""
        problem = self._admission_failed
        try:
            if problem is None and (wanted != self._done or self.ailing()):
                self._serve(wanted)
        except (DnsmasqFailed, KernelRefused) as failed:
            problem = str(failed)
            if isinstance(failed, PortTaken):
                self._sharing.taken()
        except OSError as failed:
            problem = f"{failed.strerror or failed} ({failed.filename or 'dnsmasq'})"
        self._done = None if problem or self._unadmitted else wanted
        self._note(wanted, problem)
        found = "; ".join(filter(None, (problem, self._shared)))
        why = (Failure("host/dnsmasq", "dhcp", found),) if found else ()
        return (*wanted.failures, *self._unadmitted, *why)

    def doubt(self) -> None:
        """The next pass looks at every file and process."""
        self._done = None
        self._owing = True
        self._files.doubt()

    def ailing(self) -> bool:
        """Did what worked after the last `serve` stop to work, or what stood against it go away? Cheap: call it each second,
        and `serve` if True."""
        self._files.shorten_log()
        if self._sharing.changed():
            return True
        return self._running is not None and not (
            self._running.alive() and identifier.held(IDENTIFIER) and identifier.links(self._bridge) == self._links
        )

    def close(self) -> None:
        """End it: leases live on at their holders, and an agent that starts within half a day is not missed."""
        if self._running:
            self._running.end()
            self._running = None

    def _serve(self, wanted: Dhcp) -> None:
        if self._files.retain(host.address for host in wanted.hosts):
            self._untold = self._owing = True
        if not wanted.hosts:
            self._keep(None)
            self._sharing.forget()
            self._shared, self._untold = None, False
            return
        identifier.hold(IDENTIFIER)
        self._links = identifier.links(self._bridge)
        if not self._links[0]:
            raise DnsmasqFailed(f"there is no bridge {self._bridge} to answer on: make it, or name another (--bridge)")
        configured = text.configuration(wanted.subnet, self._bridge, self._links, self._files.directory)
        configuration = self._files.configuration(configured)
        before = self._running
        self._keep(configuration)
        if self._running is None:
            self._start(configuration, wanted)
        elif self._untold:
            self._running.read_again()
        self._untold = False
        assert self._running
        if self._running is not before or self._sharing.changed():
            self._shared = self._sharing.mind(self._running.pid)
        if self._owing:
            self._give_back(wanted)
            self._owing = False

    def _start(self, configuration: Path, wanted: Dhcp) -> None:
        """Clients that renew lose nothing: it finds their leases, and takes their word for those it does not know."""
        self._files.keep_leases(wanted.hosts)
        user, why_not = account.choose(self._files.directory)
        if why_not:
            self._say("dhcp-as-agent", reason=why_not)
        self._shared = None
        self._running = process.start(configuration, self._files.log, user)
        self.status = replace(self.status, starts=self.status.starts + 1)

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
        problem = "; ".join(filter(None, (problem, self._shared))) or None
        user = before.user if pid == before.pid else account.of(pid) if pid else None
        self.status = replace(before, state=state, pid=pid, user=user, hosts=len(wanted.hosts), problem=problem)
        if (before.state, before.pid, before.problem) != (state, pid, problem):
            self._say(f"dhcp-{state}", pid=pid, user=user, hosts=len(wanted.hosts), reason=problem)


def _release(leases: tuple[Lease, ...]) -> None:
    """Bound to the link that holds the server's address: dnsmasq serves what comes from there, and from our bridge."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        sending.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, identifier.LINK.encode())
        for lease in leases:
            sending.sendto(text.release(lease), (str(IDENTIFIER), PORT))
