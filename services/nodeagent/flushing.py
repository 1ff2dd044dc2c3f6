"""`verge-nodeagent flush` and `closed-ruleset`: what takes Verge off a host, and what keeps ports shut without an agent.

Offline, without a view or a server, and without memory: what is ours is known by its marks (`state.ownership`). Memory adds only
what no mark can tell: the former values of settings (`formersettings`). Exit codes: 0 done (or, of a dry run, could be), 1 a step
failed (each on its own line; the others were taken, save that our tables stay where operators' rules in them could not be
saved), 2 not as told.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, assert_never

from nodeagent.dnsmasq import process
from nodeagent.formersettings import FormerSettings
from nodeagent.kernel import KernelRefused, identifier
from nodeagent.kernel.links import HostLinks
from nodeagent.kernel.ruleset import KernelRuleset
from nodeagent.kernel.scratch import ScratchLinks
from nodeagent.nft.changes import DeleteTable
from nodeagent.nft.document import closed_script
from nodeagent.nft.transaction import transaction
from nodeagent.plan.flush import (
    DropAddress,
    DropLink,
    DropTables,
    EndDnsmasq,
    Forget,
    Ours,
    SaveOperators,
    SetBack,
    Step,
    described,
    left,
    steps,
)
from nodeagent.state import ownership, scratch
from nodeagent.state.host import HostFacts

_VIEWS: Final = ("view.next", "view.last", "view.pinned", "view.deltas", "former.json")
_END_S: Final = 15.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    do = parser.add_mutually_exclusive_group(required=True)
    do.add_argument("--dry-run", action="store_true", help="print what --yes would do, and do nothing")
    do.add_argument("--yes", action="store_true", help="do it")
    parser.add_argument("--state-dir", help="the agent's, default /var/lib/verge [VERGE_STATE_DIR]")
    parser.add_argument("--ports", help="pattern of instances' ports, default vn_* [VERGE_PORTS]")
    parser.add_argument("--keep-closed", action="store_true", help="leave a table that lets ports pass nothing")
    parser.add_argument("--keep-settings", action="store_true", help="leave sysctls, bridge and port flags as they are")
    parser.add_argument("--forget", action="store_true", help="delete the views on disk as well")
    parser.add_argument("--stop-agent", action="store_true", help="end an agent that runs (SIGTERM), then flush")


def flush(given: argparse.Namespace, say: Callable[[str], None]) -> int:
    directory = Path(given.state_dir or os.environ.get("VERGE_STATE_DIR") or "/var/lib/verge")
    try:
        facts = HostFacts("lo", "lo", given.ports or os.environ.get("VERGE_PORTS") or "vn_*")
    except ValueError as wrong:
        return _fault(str(wrong))
    agents = list(_agents())
    if given.yes and agents:
        if not given.stop_agent:
            return _fault(f"an agent runs here, pid {agents[0]}: it would put everything back. End it, or --stop-agent")
        if not _ended(agents):
            return _fault(f"the agent, pid {agents[0]}, does not end")
    elif agents:
        say(f"# an agent runs, pid {agents[0]}: --yes refuses, unless --stop-agent ends it")
    try:
        host = _Host(facts, directory)
    except OSError as failed:
        return _fault(str(failed))
    try:
        return _flush(host, given, say)
    except (KernelRefused, OSError) as refused:
        return _fault(str(refused))
    finally:
        host.close()


def closed_ruleset(ports: str, say: Callable[[str], None]) -> int:
    """For the unit that closes ports at boot."""
    try:
        facts = HostFacts("lo", "lo", ports)
    except ValueError as wrong:
        return _fault(str(wrong))
    say(
        "# Until the Verge node agent starts, no port that matches passes anything, either way; the agent takes it over."
    )
    say(f"# Made by: verge-nodeagent closed-ruleset --ports '{facts.ports}'")
    say(closed_script(facts.ports).rstrip())
    return 0


def _flush(host: "_Host", given: argparse.Namespace, say: Callable[[str], None]) -> int:
    ours = host.ours(settings=not given.keep_settings, forget=given.forget)
    failed = False
    for step in steps(ours, save=host.saved, closed=host.facts.ports if given.keep_closed else None):
        say(described(step))
        if given.yes:
            try:
                host.do(step)
            except (KernelRefused, OSError) as refused:
                failed = True
                _fault(f"{described(step)}: {refused}")
                if isinstance(step, SaveOperators):
                    _fault("our tables stay, and what is behind them, since operators' rules in them would be lost")
                    return 1
    for line in left(ours):
        say(f"# left: {line}")
    say(_notice(host.ports(), host.facts.ports, closed=given.keep_closed))
    return int(failed)


def _notice(ports: int, pattern: str, *, closed: bool) -> str:
    if closed:
        return f"# {ports} ports match {pattern}: they pass nothing, until an agent starts or `nft delete table bridge verge_l2`"
    return (
        f"# {ports} ports match {pattern}: they are UNFILTERED now, and so is every port to come. With --keep-closed they would "
        "pass nothing"
    )


class _Host:
    """Everything that is looked at and touched. Raises KernelRefused, OSError."""

    def __init__(self, facts: HostFacts, directory: Path) -> None:
        self.facts = facts
        self.saved = directory / "operator-rules.nft"
        self._directory = directory
        self._links = HostLinks(facts)
        self._ruleset = KernelRuleset()
        ports = scratch.pair(facts.ports)
        self._scratch = ScratchLinks(facts.bridge, ports) if ports else None

    def close(self) -> None:
        self._links.close()
        self._ruleset.close()
        if self._scratch:
            self._scratch.close()

    def ports(self) -> int:
        return len(self._links.read().ports)

    def ours(self, *, settings: bool, forget: bool) -> Ours:
        observed, _ = self._ruleset.read()
        formers = FormerSettings(self._directory).read() if settings else {}
        known = {setting: self._links.setting(setting) for setting in formers}
        running = list(process.found(None))
        for one in running:
            one.release()
        return Ours(
            tables=(*sorted(observed), *((ownership.METERS,) if self._ruleset.meters() else ())),
            operators={table: seen.operators for table, seen in observed.items() if seen.operators},
            addresses=self._links.labelled(),
            links=((identifier.LINK,) if identifier.made() else ()) + (self._scratch.left() if self._scratch else ()),
            dnsmasq=tuple(one.pid for one in running),
            formers=formers,
            now={setting: value for setting, value in known.items() if value is not None},
            files=tuple(path for name in _VIEWS if forget and (path := self._directory / name).exists()),
        )

    def do(self, step: Step) -> None:
        match step:
            case EndDnsmasq(pid):
                for one in process.found(None):
                    one.end() if one.pid == pid else one.release()
            case SetBack(setting, value):
                self._links.set_back(setting, value)
            case DropAddress(link, address):
                self._links.drop_address(link, address)
            case SaveOperators(objects, path):
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.write_text(self._ruleset.text_of(objects))
            case DropTables(tables, closed):
                text = transaction(map(DeleteTable, tables))
                self._ruleset.run(text + (closed_script(closed) if closed else ""))
            case DropLink(identifier.LINK):
                identifier.release()
            case DropLink():
                if self._scratch:  # both at once
                    self._scratch.remove()
            case Forget(path):
                path.unlink(missing_ok=True)
            case _:
                assert_never(step)


def _agents() -> Iterator[int]:
    """Of this network namespace, by their command lines: whatever state directory they use."""
    here = Path("/proc/thread-self/ns/net").stat().st_ino
    for path in Path("/proc").iterdir():
        if not path.name.isdigit() or int(path.name) == os.getpid():
            continue
        with suppress(OSError):
            words = (path / "cmdline").read_text(errors="replace").split("\0")
            names = [word.rsplit("/", 1)[-1] for word in words]
            if (
                "run" in words
                and {"verge-nodeagent", "nodeagent"} & set(names[:4])
                and (path / "ns/net").stat().st_ino == here
            ):
                yield int(path.name)


def _ended(pids: list[int]) -> bool:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    return _within(_END_S, lambda: not list(_agents()))


def _within(seconds: float, true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _fault(text: str) -> int:
    sys.stderr.write(f"verge-nodeagent: {text}\n")
    return 2
