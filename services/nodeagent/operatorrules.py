"""What operators keep in our tables (`desired.operators`): carried over, loaded from their file, and said when it is lost.

They write to the kernel, as with any rule of nftables, and there it stays through every update, restart and repair. Where it
could not stay, this says what else goes into the transaction:

    a table is replaced as a whole       what is in it of theirs, as nft lists it
    their chains are made anew           the commands of their file: at first start, at boot, after somebody's flush. What was
                                         in the kernel alone is lost then, and named with the repair
    the kernel takes it not with theirs  ours goes in without; what was taken out is saved, and is a failure until they fill
                                         their chains again

So nothing that they write holds up a transaction of ours, and nothing that is lost is lost in silence.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from nodeagent.desired import operators
from nodeagent.desired.node import Desired
from nodeagent.kernel.ruleset import KernelRuleset
from nodeagent.nft.changes import AddChain, Change, DeleteTable
from nodeagent.nft.operatorfile import OperatorFileInvalid, commands
from nodeagent.state import ownership
from nodeagent.state.ruleset import Observed, TableId
from verge.contract.report import Failure

OBJECT: Final = "host/operator-rules"
_Signature = tuple[int, int] | None


@dataclass(slots=True)
class OperatorRules:
    file: Path | None = None
    """Need not exist."""
    saved: Path | None = None
    """Where to write what was taken out."""
    evicting: bool = False
    """The next transaction makes our tables anew, without theirs."""
    notes: tuple[str, ...] = ()
    """What became of theirs in this pass."""
    _known: Mapping[TableId, frozenset[str]] = field(default_factory=dict)
    _fault: str | None = None
    _refused: _Signature = None
    """The file that was found wrong: another one is tried again."""
    _evicted: str | None = None

    def begin(self) -> None:
        """A pass begins."""
        self.notes, self.evicting = (), False

    def seen(self, observed: Observed) -> None:
        """The ruleset as it was just read."""
        for table, held in observed.items():
            if held.operators and not self.evicting:
                self._evicted = None  # they are here again
            if ownership.PRE in held.chains or held.operators:
                self._known = {**self._known, table: held.operators}

    def calling(self, wanted: Desired, observed: Observed, ports: str) -> Desired:
        """With calls of their chains, where they hold something."""
        return replace(wanted, ruleset=operators.called(wanted.ruleset, self.held(observed), ports))

    def held(self, observed: Observed) -> frozenset[TableId]:
        """Tables in which something of theirs is, or will be with the transaction that makes their chains."""
        if self.evicting:
            return frozenset()
        held = {table for table, seen in observed.items() if seen.operators}
        both = (ownership.BRIDGE, ownership.IP)
        made = {table for table in both if table not in observed or ownership.PRE not in observed[table].chains}
        return frozenset(held | self._from_file(made).keys())

    def addition(self, changes: Collection[Change], observed: Observed, ruleset: KernelRuleset) -> str:
        """What goes behind these changes in their transaction. Raises KernelRefused."""
        if self.evicting:
            return ""
        replaced = {change.table for change in changes if isinstance(change, DeleteTable)}
        kept = {table: seen.operators for table, seen in observed.items() if table in replaced and seen.operators}
        made = {change.table for change in changes if isinstance(change, AddChain) and change.name == ownership.PRE}
        loaded = self._from_file(made - kept.keys())
        lost = [
            f"{what} of {table}"
            for table in sorted(made - kept.keys())
            for what in sorted(self._known.get(table, ()))
            if table not in loaded
        ]
        if lost:
            self.notes = (*self.notes, f"operator rules lost: {', '.join(lost)}")
            self._known = {table: held for table, held in self._known.items() if table not in made}
        return ruleset.text_of(kept) + "".join(loaded.values())

    def loaded(self, addition: str) -> None:
        """It went in."""
        if addition and self._signature() != self._refused:
            self._fault = None
        if addition:
            self.notes = (*self.notes, f"operator rules put back: {len(addition.splitlines())} lines")

    def blamed(self, reason: str, addition: str, observed: Observed, ruleset: KernelRuleset) -> bool:
        """The kernel refused the transaction. True: plan it anew, without theirs. Raises KernelRefused."""
        if self.evicting:
            return False
        kept = {table: seen.operators for table, seen in observed.items() if seen.operators}
        if addition and not kept:
            self._fault, self._refused = f"{self.file} is refused, and not in force: {reason}", self._signature()
            return True
        if not kept:
            return False
        self.evicting, self._evicted = True, f"taken out, since the kernel refuses our changes beside them ({reason})"
        if self.saved:
            try:
                self.saved.write_text(ruleset.text_of(kept))
                self._evicted += f"; they are in {self.saved}"
            except OSError as failed:  # ours matter more than a copy of theirs
                self._evicted += f"; {self.saved} cannot be written: {failed.strerror}"
        return True

    def acquitted(self) -> None:
        """The kernel refused without theirs too, so nothing was taken out."""
        self.evicting, self._evicted = False, None

    @property
    def failures(self) -> tuple[Failure, ...]:
        return tuple(Failure(OBJECT, "ruleset", why) for why in (self._fault, self._evicted) if why)

    def _from_file(self, made: Collection[TableId]) -> dict[TableId, str]:
        """A file that was refused is tried again, for both tables, when it has changed."""
        signature = self._signature()
        tables = set(ownership.TABLES) if self._fault and signature != self._refused else set(made)
        if not tables or self.file is None:
            return {}
        if signature is None:
            self._fault = None
            return {}
        if self._fault and signature == self._refused:
            return {}
        try:
            found = commands(self.file.read_text())
        except (OSError, UnicodeDecodeError, OperatorFileInvalid) as wrong:
            self._fault, self._refused = f"{self.file} is refused, and not in force: {wrong}", signature
            return {}
        return {table: found[table] for table in sorted(tables) if table in found}

    def _signature(self) -> _Signature:
        try:
            status = self.file.stat() if self.file else None
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_size) if status else None
