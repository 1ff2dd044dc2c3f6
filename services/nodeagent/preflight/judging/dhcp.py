"""The port that dnsmasq needs."""

from collections.abc import Iterator
from typing import Final

from nodeagent.preflight.facts import DhcpPort, Holder
from nodeagent.state.host import HostFacts
from verge.contract.report import Check

_UNITS: Final = {
    "dnsmasq": "systemctl disable --now dnsmasq.service (of libvirt: virsh net-autostart --disable default)",
    "dhcpd": "systemctl disable --now isc-dhcp-server.service",
    "kea-dhcp4": "systemctl disable --now kea-dhcp4-server.service",
}


def checks(found: DhcpPort, host: HostFacts) -> Iterator[Check]:
    """Rules are enforced without DHCP, so it keeps no view out."""
    # one that shares the port, but hears other interfaces only, as libvirt's does, is none
    rivals = [one for one in found.holders if one.hears_us or not found.free]
    who = ", ".join(dict.fromkeys(one.who for one in rivals or found.holders))
    yield Check(
        "dhcp-port",
        ok=not rivals,
        severity="warning",
        found=f"UDP port 67 is taken by {who}"
        if rivals
        else f"shared with {who}, who does not hear {host.bridge}"
        if who
        else "free, or our own dnsmasq's",
        needed=f"UDP port 67 of {host.bridge}, for instances' addresses",
        remedy=_ended(rivals) if rivals else "",
    )


def _ended(rivals: list[Holder]) -> str:
    """The processes now, and where they are known the units that would start them again."""
    pids = dict.fromkeys(str(one.pid) for one in rivals if one.pid is not None)
    units = " and ".join(dict.fromkeys(_UNITS[one.program] for one in rivals if one.program in _UNITS))
    kills = f"kill {' '.join(pids)}" if pids else "ss -lunp sport = :67"
    return f"{kills}  # for good: {units}" if units else kills
