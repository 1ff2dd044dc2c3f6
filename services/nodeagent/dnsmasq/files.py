"""Files below the state directory that dnsmasq reads, each whole or not at all.

    DIR/dhcp/dnsmasq-<digest>.conf    read once
    DIR/dhcp/options                  read again on SIGHUP
    DIR/dhcp/hosts/<address>          one instance each; read when it appears or changes, forgotten on SIGHUP only
    DIR/dhcp/leases                   dnsmasq's own, a line for each instance that has its address
    DIR/dhcp/log                      what it said, as long as that is not too much

dnsmasq reads every file in `hosts`, temporary ones too: so a file is written beside the directory and renamed into it. It
reads as another user, so what it reads is readable for all; the state directory cannot be listed.

What was written is remembered: an instance that comes or goes touches its own file, and no other is looked at.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Final

from nodeagent.dnsmasq import text
from nodeagent.state import leases
from nodeagent.state.leases import Host, Lease

_LOG_BYTES: Final = 1 << 18


class Files:
    """Every method raises OSError."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._hosts = directory / "hosts"
        self._known: dict[IPv4Address, Host | None] | None = None
        """What stands in `hosts`; None for what is no host of ours. Not known: to be read."""

    def doubt(self) -> None:
        """Others may have changed the hosts."""
        self._known = None

    def admit(self, hosts: Iterable[Host]) -> tuple[bool, dict[Host, OSError]]:
        """Write what is new or different. True: something was different, which dnsmasq must be told to forget. And which
        hosts could not be written, while others could."""
        known = self._held()
        different = False
        failed: dict[Host, OSError] = {}
        for host in hosts:
            if host.address in known and known[host.address] == host:
                continue
            try:
                self._write(self.host(host), text.host(host))
            except OSError as reason:
                failed[host] = reason
                continue
            different = different or host.address in known
            known[host.address] = host
        return different, failed

    def host(self, host: Host) -> Path:
        return self._hosts / str(host.address)

    def retain(self, addresses: Iterable[IPv4Address]) -> bool:
        """Remove all other hosts. True: there were others."""
        known = self._held()
        others = known.keys() - set(addresses)
        for address in others:
            with suppress(IsADirectoryError):  # dnsmasq does not read what is in it
                (self._hosts / str(address)).unlink(missing_ok=True)
            del known[address]
        return bool(others)

    def options(self, content: str) -> bool:
        """True: they were different."""
        path = self.directory / "options"
        if path.exists() and path.read_text() == content:
            return False
        self._write(path, content)
        return True

    def configuration(self, content: str) -> Path:
        path = self.directory / text.configuration_name(content)
        if not path.exists():
            for old in self.directory.glob("dnsmasq-*.conf"):
                old.unlink()
            self._write(path, content)
        return path

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def shorten_log(self) -> None:
        """It is appended to, so whoever writes goes on at its new end."""
        with suppress(FileNotFoundError):
            if self.log.stat().st_size > _LOG_BYTES:
                os.truncate(self.log, 0)

    def leases(self) -> tuple[Lease, ...]:
        return leases.parse(self._lease_text())

    def keep_leases(self, hosts: Iterable[Host]) -> None:
        """Of these, and no other. Only while no dnsmasq runs."""
        before = self._lease_text()
        after = leases.entitled(before, hosts)
        if after != before:
            self._write(self.directory / "leases", after)

    def _lease_text(self) -> str:
        try:
            return (self.directory / "leases").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def _held(self) -> dict[IPv4Address, Host | None]:
        if self._known is None:
            for directory, mode in ((self.directory, 0o711), (self._hosts, 0o755)):
                directory.mkdir(parents=True, exist_ok=True)
                directory.chmod(mode)
            self._known = {}
            for path in self._hosts.iterdir():
                try:
                    address = IPv4Address(path.name)
                except AddressValueError:
                    with suppress(IsADirectoryError):
                        path.unlink(missing_ok=True)
                else:
                    self._known[address] = _host(address, path)
        return self._known

    def _write(self, path: Path, content: str) -> None:
        temporary = self.directory / ".new"
        temporary.write_text(content)
        temporary.chmod(0o644)
        temporary.replace(path)


def _host(address: IPv4Address, path: Path) -> Host | None:
    try:
        content = path.read_text(errors="replace")
    except OSError:
        return None
    match content.rstrip("\n").split(","):
        case [mac, _, name]:
            host = Host(address, mac, name)
            return host if text.host(host) == content else None
    return None
