"""Real DHCP clients inside VMs: udhcpc and dhclient, and what they were told."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.host import Host

_UDHCPC = """\
#!/bin/sh
case $1 in
deconfig) ip address flush dev $interface; ip link set $interface up ;;
bound | renew)
    ip address replace $ip/$mask brd + dev $interface
    if [ -z "$staticroutes" ]; then ip route replace default via $router dev $interface; fi
    routes=$staticroutes ;;
esac
told=$(env | grep -E '^(ip|subnet|router|serverid|lease|dns|domain|hostname|broadcast|mtu|staticroutes)=' | tr '\\n' '|')
set -- $1 $routes
while [ -n "$2" ]; do
    ip route replace $2 via $3 dev $interface
    event=$1; shift 3; set -- $event $*
done
echo "EVENT $1|$told"
"""

_DHCLIENT = """\
#!/bin/sh
case $reason in
BOUND | RENEW | REBIND | REBOOT)
    ip address replace $new_ip_address/$new_subnet_mask broadcast $new_broadcast_address dev $interface
    set -- $new_rfc3442
    if [ -z "$1" ]; then ip route replace default via $new_routers dev $interface; fi
    while [ -n "$1" ]; do  # of the network only as many octets are told as its length needs
        case $1 in
        0) network=default; shift ;;
        32) network=$2.$3.$4.$5; shift 5 ;;
        *) exit 1 ;;
        esac
        ip route replace $network via $1.$2.$3.$4 dev $interface
        shift 4
    done ;;
PREINIT) ip link set $interface up ;;
esac
echo "EVENT $reason|$(env | grep '^new_' | sed 's/^new_//' | tr '\\n' '|')"
"""

_REQUEST = """\
option rfc3442 code 121 = array of unsigned integer 8;
request subnet-mask, broadcast-address, routers, domain-name, domain-name-servers, host-name, interface-mtu, rfc3442;
timeout 5;
"""


def forget_address(host: Host) -> None:
    """The VM as it boots: its link is up, and it knows nothing."""
    host.ip("address flush dev eth0", "link set eth0 up")


class Client:
    """A client that runs until the block is left. `event` waits for what its script is told, by name, with the lease."""

    def __init__(self, host: Host, directory: Path, script: str, *command: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "script"
        path.write_text(script)
        path.chmod(0o755)
        words = [word.format(script=path, directory=directory) for word in command]
        self._process = host.popen(*words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._unread = b""
        self.said = ""

    @classmethod
    def udhcpc(cls, host: Host, directory: Path, *more: str) -> Self:
        asked = [word for name in ("mtu", "broadcast", "hostname", "domain", "staticroutes") for word in ("-O", name)]
        options = ["-f", "-t", "20", "-T", "1", "-A", "1", *asked, *more]
        return cls(host, directory, _UDHCPC, "udhcpc", "-i", "eth0", "-s", "{script}", *options)

    @classmethod
    def dhclient(cls, host: Host, directory: Path) -> Self:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "conf").write_text(_REQUEST)
        files = ("-lf", "{directory}/leases", "-pf", "{directory}/pid", "-cf", "{directory}/conf", "-sf", "{script}")
        return cls(host, directory, _DHCLIENT, "dhclient", "-d", "-1", *files, "eth0")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait(10)
        self._process.stdout.close()

    def renew(self) -> None:
        """udhcpc: ask the server that gave the lease, now (RFC 2131: RENEWING, unicast)."""
        self._process.send_signal(signal.SIGUSR1)

    def until_said(self, words: str, timeout: float = 10) -> None:
        deadline = time.monotonic() + timeout
        while words not in self.said:
            assert self._line(deadline) is not None, f"not said in {timeout} s: {words}, but:\n{self.said}"

    def event(self, *names: str, timeout: float = 10) -> dict[str, str]:
        """The lease as of the next of these events."""
        deadline = time.monotonic() + timeout
        while True:
            line = self._line(deadline)
            assert line is not None, f"none of {names} in {timeout} s; the client said:\n{self.said}"
            event, _, rest = line.partition("|")
            if event.removeprefix("EVENT ") in names and event.startswith("EVENT "):
                return dict(pair.split("=", 1) for pair in rest.strip("|").split("|"))

    def _line(self, deadline: float) -> str | None:
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                return None
            more = os.read(self._process.stdout.fileno(), 65536)
            if not more:
                return None
            self._unread += more
            self.said += more.decode(errors="replace")
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode(errors="replace")
