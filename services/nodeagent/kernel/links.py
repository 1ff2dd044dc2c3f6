"""The links this agent has to do with: our bridge and the ports that match the pattern."""

from pathlib import Path
from typing import Final

from nodeagent.kernel import Absent
from nodeagent.kernel.netlink import LinkTable
from nodeagent.state.host import HostFacts, Links, Port

_IPV6: Final = Path("/proc/sys/net/ipv6/conf")
_BRIDGE_NETFILTER: Final = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


class HostLinks:
    def __init__(self, facts: HostFacts) -> None:
        self._facts = facts
        self._table = LinkTable()

    def close(self) -> None:
        self._table.close()

    def read(self) -> Links:
        found = self._table.read()
        names = {link.ifindex: name for name, link in found.items()}
        bridge = found.get(self._facts.bridge)
        ports = {
            name: Port(names.get(link.master), ipv6_disabled=_ipv6_disabled(name))
            for name, link in found.items()
            if self._facts.is_port(name)
        }
        return Links(bridge.call_iptables if bridge else None, ports)

    def filter_bridge(self) -> None:
        """Raises Absent, KernelRefused."""
        bridge = self._table.read().get(self._facts.bridge)
        if bridge is None:
            raise Absent(f"there is no bridge {self._facts.bridge}")
        self._table.filter_bridge(bridge.ifindex)

    def silence(self, port: str) -> None:
        """Raises OSError; a port that has gone meanwhile is silent enough."""
        try:
            (_IPV6 / port / "disable_ipv6").write_text("1")
        except FileNotFoundError:
            return


def can_filter_bridges() -> bool:
    """Is br_netfilter there? Without it bridged packets never meet the ip table."""
    return _BRIDGE_NETFILTER.exists()


def _ipv6_disabled(port: str) -> bool:
    """A kernel without IPv6 has it disabled everywhere."""
    try:
        return (_IPV6 / port / "disable_ipv6").read_text().strip() != "0"
    except FileNotFoundError:
        return True
