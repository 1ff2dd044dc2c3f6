"""What is ours on this host → steps that leave it as if we had never been: the agent's order, backwards.

    1  dnsmasq ends                               nobody is told an address any more
    2  settings that opened are set back, and our addresses go, while the ruleset still keeps them in bounds
    3  the ruleset: all our tables in one transaction, or the closed table in their place
    4  settings that closed are set back, unless ports stay closed
    5  our link; the views on disk, if asked

A setting that somebody has changed since is his, and stays; so does one of which nobody knows what it was.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from pathlib import Path

from nodeagent.state import ownership
from nodeagent.state.former import Formers, Setting
from nodeagent.state.ruleset import TableId


@dataclass(frozen=True, slots=True)
class Ours:
    """What was found, and how it is known to be ours: `state.ownership`."""

    tables: tuple[TableId, ...] = ()
    operators: Mapping[TableId, frozenset[str]] = field(default_factory=dict)
    """What operators keep in them."""
    addresses: tuple[tuple[str, IPv4Interface], ...] = ()
    """By link."""
    links: tuple[str, ...] = ()
    dnsmasq: tuple[int, ...] = ()
    """Pids."""
    formers: Formers = field(default_factory=dict)
    now: Mapping[Setting, str] = field(default_factory=dict)
    """The present values of these settings; those that are gone left out."""
    files: tuple[Path, ...] = ()
    """Views on disk."""


@dataclass(frozen=True, slots=True)
class EndDnsmasq:
    pid: int


@dataclass(frozen=True, slots=True)
class SetBack:
    setting: Setting
    value: str


@dataclass(frozen=True, slots=True)
class DropAddress:
    link: str
    address: IPv4Interface


@dataclass(frozen=True, slots=True)
class SaveOperators:
    """Their rules go with our tables; they are written here first."""

    objects: Mapping[TableId, frozenset[str]]
    path: Path


@dataclass(frozen=True, slots=True)
class DropTables:
    tables: tuple[TableId, ...]
    closed: str | None
    """The pattern of ports that stay closed."""


@dataclass(frozen=True, slots=True)
class DropLink:
    link: str


@dataclass(frozen=True, slots=True)
class Forget:
    path: Path


Step = EndDnsmasq | SetBack | DropAddress | SaveOperators | DropTables | DropLink | Forget


def steps(ours: Ours, *, save: Path, closed: str | None = None) -> Iterator[Step]:
    yield from (EndDnsmasq(pid) for pid in ours.dnsmasq)
    back = [one for one in _unchanged(ours) if not one.setting.closes]
    yield from reversed(back)  # forwarding of one interface before that of all, which sets the one
    yield from (DropAddress(link, address) for link, address in ours.addresses)
    if ours.operators:
        yield SaveOperators(ours.operators, save)
    if ours.tables or closed:
        yield DropTables(ours.tables, closed)
    if closed is None:
        yield from (one for one in _unchanged(ours) if one.setting.closes)
    yield from (DropLink(link) for link in ours.links)
    yield from (Forget(path) for path in ours.files)


def left(ours: Ours) -> Iterator[str]:
    """Settings that we once changed and now leave, with the reason."""
    for setting, former in ours.formers.items():
        now = ours.now.get(setting)
        if now is not None and now not in (former.set, former.was):
            yield f"{setting.command(now)}  # somebody's: the agent set {former.set}, before it was {former.was}"


def described(step: Step) -> str:
    """As an operator would do it."""
    match step:
        case EndDnsmasq(pid):
            return f"kill {pid}  # dnsmasq"
        case SetBack(setting, value):
            return setting.command(value)
        case DropAddress(link, address):
            return f"ip address delete {address} dev {link}"
        case SaveOperators(objects, path):
            count = sum(map(len, objects.values()))
            return f"nft list … >{path}  # {count} objects of operators'"
        case DropTables(tables, closed):
            parts = [f"delete table {table}" for table in tables]
            parts += [f"create table {ownership.BRIDGE}  # closed: {closed} passes nothing"] if closed else []
            return "nft " + "; ".join(parts)
        case DropLink(link):
            return f"ip link delete {link}"
        case Forget(path):
            return f"rm {path}"


def _unchanged(ours: Ours) -> list[SetBack]:
    return [
        SetBack(setting, former.was)
        for setting, former in ours.formers.items()
        if ours.now.get(setting) == former.set != former.was
    ]
