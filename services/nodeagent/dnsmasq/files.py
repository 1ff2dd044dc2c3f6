"""Files below the state directory that dnsmasq reads, each whole or not at all.

    DIR/dhcp/dnsmasq-<digest>.conf    read once
    DIR/dhcp/options                  read again on SIGHUP
    DIR/dhcp/hosts/<address>          one instance each; read when it appears or changes, forgotten on SIGHUP only
    DIR/dhcp/leases                   dnsmasq's own
    DIR/dhcp/log                      what it said since it was started

dnsmasq reads every file in `hosts`, temporary ones too: so a file is written beside the directory and renamed into it.
"""

from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

from nodeagent.dnsmasq import text
from nodeagent.state import leases
from nodeagent.state.leases import Host, Lease


class Files:
    """Every method raises OSError."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._hosts = directory / "hosts"

    def admit(self, hosts: Iterable[Host]) -> tuple[bool, dict[Host, OSError]]:
        """Write what is new or different. True: something was different, which dnsmasq must be told to forget. And which
        hosts could not be written, while others could."""
        self._hosts.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = {path.name: path for path in self._hosts.iterdir()}
        different = False
        failed: dict[Host, OSError] = {}
        for host in hosts:
            name, content = str(host.address), text.host(host)
            try:
                if name not in known:
                    self._write(self._hosts / name, content)
                elif known[name].read_text() != content:
                    self._write(self._hosts / name, content)
                    different = True
            except OSError as reason:
                failed[host] = reason
        return different, failed

    def host(self, host: Host) -> Path:
        return self._hosts / str(host.address)

    def retain(self, addresses: Iterable[IPv4Address]) -> bool:
        """Remove all other hosts. True: there were others."""
        retained = {str(address) for address in addresses}
        others = [path for path in self._hosts.iterdir() if path.name not in retained]
        for path in others:
            with suppress(IsADirectoryError):  # dnsmasq does not read what is in it
                path.unlink(missing_ok=True)
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

    def leases(self) -> tuple[Lease, ...]:
        try:
            return leases.parse((self.directory / "leases").read_text())
        except FileNotFoundError:
            return ()

    def forget_leases(self) -> None:
        """Only while no dnsmasq runs. Its clients lose nothing: it takes their word for addresses that are theirs."""
        (self.directory / "leases").unlink(missing_ok=True)

    def _write(self, path: Path, content: str) -> None:
        temporary = self.directory / ".new"
        temporary.write_text(content)
        temporary.replace(path)
