"""Rules of others where packets of instances come by, and who would flush them all."""

from pathlib import Path
from typing import Final

from nodeagent.kernel.legacy import read
from nodeagent.kernel.libnftables import Libnftables
from nodeagent.preflight.facts import Firewalls, Table
from nodeagent.preflight.gather.tools import installed
from nodeagent.preflight.legacy import table
from nodeagent.preflight.listed import tables
from nodeagent.state import ownership
from nodeagent.state.ruleset import TableId

_HOOKS: Final = ("forward", "input")
_FAMILIES: Final = ("ip", "inet", "bridge")
_UNITS: Final = Path("/etc/systemd/system")
_FLUSHING: Final = "nftables.service"
"""Debian's and Red Hat's stop by flushing; Debian's stock configuration starts by it, too."""


def firewalls() -> Firewalls:
    """A millisecond, and more where others have many rules. Raises OSError, KernelRefused."""
    nft = Libnftables()
    try:
        foreign = {
            TableId(chain["family"], chain["table"])
            for chain in nft.base_chains()
            if chain["hook"] in _HOOKS and chain["family"] in _FAMILIES
        } - set(ownership.TABLES)
        listed = tables(nft.rules(foreign)) if foreign else ()
    finally:
        nft.close()
    enabled = (str(link) for link in sorted(_UNITS.glob(f"*.wants/{_FLUSHING}")))
    return Firewalls((*listed, *_legacy()), installed("iptables-nft") is not None, tuple(enabled))


def _legacy() -> tuple[Table, ...]:
    """The filter and mangle tables, where iptables-legacy has ever used them: asking for others would make them."""
    names = Path("/proc/thread-self/net/ip_tables_names")
    try:
        used = names.read_text().split()
    except OSError:
        return ()
    return tuple(table(name, *read(name)) for name in ("filter", "mangle") if name in used)
