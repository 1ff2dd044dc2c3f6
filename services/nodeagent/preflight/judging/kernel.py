"""What the kernel and its tools must be able to do, and what Verge sets in it."""

from collections.abc import Iterator
from typing import Final

from nodeagent.desired import settings
from nodeagent.preflight.facts import Features, Kernel
from nodeagent.state.host import HostFacts
from verge.contract.report import Check
from verge.contract.view import View

NEEDED: Final = ("net/ipv4/ip_forward", "net/ipv4/conf/all/proxy_arp_pvlan")
"""Looked at whatever the view says; the second is how the kernel answers for what it would forward."""
_FLOWS_EACH: Final = 4096
_FLOWS_LEAST: Final = 65536


def checks(found: Kernel, host: HostFacts, view: View | None) -> Iterator[Check]:
    yield Check(
        "capability",
        ok=found.capable,
        found="CAP_NET_ADMIN" if found.capable else "no CAP_NET_ADMIN",
        needed="CAP_NET_ADMIN, to change rules, links and settings",
        remedy="# run it as root, or with AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW in its unit",
    )
    yield Check(
        "libnftables",
        ok=found.library,
        found="libnftables.so.1" if found.library else "no libnftables.so.1",
        needed="libnftables.so.1",
        remedy="apt-get install -y libnftables1",
    )
    yield _settings(found, host, view)
    if found.most_flows is not None:
        instances = len(view.instances) if view else 0
        needed = max(_FLOWS_LEAST, instances * _FLOWS_EACH)
        yield Check(
            "conntrack-size",
            ok=found.most_flows >= needed,
            severity="warning",
            found=f"nf_conntrack_max is {found.most_flows}",
            needed=f"{needed}: {_FLOWS_EACH} flows for each of {instances} instances, {_FLOWS_LEAST} at least",
            remedy=f"sysctl -w net.netfilter.nf_conntrack_max={needed}",
        )


def features(found: Features) -> Check:
    """Each was tried; what was refused is named."""
    words = "; ".join(f"{what}: {why}" for what, why in found.refused.items())
    return Check(
        "nft-features",
        ok=not found.refused,
        found=f"Linux {found.release} refuses {words}" if words else f"Linux {found.release} takes all",
        needed="concatenated keys, intervals, verdict maps, NAT, connection marks and states, in ip, arp and bridge tables",
        remedy="# a kernel with nf_tables, nf_tables_bridge, nft_nat, nft_ct, nft_fib and nf_conntrack (5.10 or newer)",
    )


def _settings(found: Kernel, host: HostFacts, view: View | None) -> Check:
    """One that differs is set with the view, so it is no fault: only one that cannot be set is. Those of an interface that
    is missing are missing with it."""
    wanted = {one.name: one.value for one in settings.sysctls(host, view)} if view else {}
    here = {name: one for name, one in found.settings.items() if one.value != wanted.get(name)}
    absent = [name for name in NEEDED if name not in found.settings]
    locked = [name for name, one in here.items() if not one.writable]
    if absent or locked:
        what = [f"there is no {_dotted(name)}" for name in absent]
        what += [f"{_dotted(name)} is {here[name].value} and cannot be written" for name in locked]
        commands = " && ".join(f"sysctl -w {name}={wanted[name]}" for name in locked if name in wanted)
        return Check(
            "sysctls",
            ok=False,
            found="; ".join(what),
            needed="forwarding and answering for others, which Verge sets itself where it may write below /proc/sys",
            remedy=f"{commands}  # or let the agent write below /proc/sys (in its unit: ProtectKernelTunables=no)".strip(),
        )
    said = ", ".join(f"{_dotted(name)} is {one.value}" for name, one in here.items() if name in wanted)
    now = f"{said}: Verge sets this with the view" if said else "as Verge sets them"
    return Check("sysctls", ok=True, found=now if view else "Verge sets them with the view", needed="settable")


def _dotted(name: str) -> str:
    return name.replace("/", ".")
