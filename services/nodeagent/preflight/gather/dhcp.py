"""Who has the port that dnsmasq needs, on which interface, and whether he shares it."""

import errno
import re
import socket
from pathlib import Path
from typing import Final

from nodeagent.kernel import ports
from nodeagent.preflight.facts import DhcpPort, Holder
from nodeagent.state.host import HostFacts

_PORT: Final = 67
_OUR_CONFIGURATION = re.compile(r"--conf-file=.*/dhcp/dnsmasq-[0-9a-f]{16}\.conf")


def dhcp_port(host: HostFacts) -> DhcpPort:
    """Some 10 ms where the port is taken, since all processes' descriptors are looked through. Raises OSError."""
    others = tuple(one for one in ports.holders(_PORT) if one.pid is None or not _is_ours(one.pid))
    bridge = _index(host.bridge)
    return DhcpPort(
        tuple(Holder(str(one), one.pid, one.program, ports.hears(one.socket, bridge)) for one in others),
        free=not others or _can_be_shared(),
    )


def _index(interface: str) -> int:
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return 0


def _can_be_shared() -> bool:
    """As dnsmasq would (bind-dynamic). It is let go at once; a request that came meanwhile is sent again by its client."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trying:
        trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            trying.bind(("", _PORT))
        except OSError as refused:
            return refused.errno != errno.EADDRINUSE
    return True


def _is_ours(pid: int) -> bool:
    """By its command line, as an agent finds the one of its predecessor."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return False
    return any(_OUR_CONFIGURATION.fullmatch(word) for word in words)
