"""Others' rules that would drop what Verge lets through, each with the rule that mends it.

An accept of ours does not overrule a drop of theirs: the kernel asks every chain. So the remedy is always a rule in theirs.
"""

from collections.abc import Iterator

from nodeagent.preflight.facts import Firewalls, Hook, Links, Table
from nodeagent.preflight.packets import Dropped, Packet, walk
from nodeagent.state.host import HostFacts
from verge.contract.report import Check
from verge.contract.view import View

_FIREWALLD = "firewalld"


def checks(found: Firewalls, host: HostFacts, view: View | None, links: Links | None) -> Iterator[Check]:
    yield _forward(found, host, view, links)
    yield _dhcp(found, host)
    units = ", ".join(found.flushing_units)
    yield Check(
        "nftables-service",
        ok=not units,
        severity="warning",
        found=f"{units}: it flushes the ruleset when it starts and stops" if units else "not enabled",
        needed="nobody flushes the whole ruleset; Verge would put its own back within two seconds",
        remedy="systemctl disable nftables.service" if units else "",
    )


def _forward(found: Firewalls, host: HostFacts, view: View | None, links: Links | None) -> Check:
    """Where packets of instances are forwarded, bridged ones included."""
    subnet = view.zone.subnet if view else None
    bridge, public = host.bridge, host.public_interface
    routed = [Packet(bridge, bridge, subnet, None), Packet(bridge, bridge, None, subnet)]
    if host.is_separate:
        routed += [Packet(bridge, public, subnet, None), Packet(public, bridge, None, subnet)]
    uplinks = (
        [n for n, one in links.interfaces.items() if one.master == bridge and not host.is_port(n)] if links else []
    )
    bridged = [Packet(host.ports, host.ports)]
    bridged += [packet for up in uplinks for packet in (Packet(host.ports, up), Packet(up, host.ports))]
    culprits, remedies = [], []
    for table, hook in _hooks(found, "forward"):
        packets = bridged if table.family == "bridge" else routed
        dropped = [one for packet in packets if (one := walk(table, hook, packet))]
        if dropped:
            culprits.append(_named(table, dropped[0]))
            remedies.append(_remedy(found, table, hook, host))
    return Check(
        "forward",
        ok=not culprits,
        found="; ".join(culprits) + ": drops packets of instances"
        if culprits
        else "nobody else drops packets of instances",
        needed=f"no other forward chain drops what goes in or out by {bridge}",
        remedy=" && ".join(dict.fromkeys(remedies)),
    )


def _dhcp(found: Firewalls, host: HostFacts) -> Check:
    asks = Packet(host.bridge, None, None, None, "udp", 67)
    culprits, remedies = [], []
    for table, hook in _hooks(found, "input"):
        if table.family != "bridge" and (dropped := walk(table, hook, asks)):
            culprits.append(_named(table, dropped))
            remedies.append(_remedy_for_dhcp(found, table, hook, host))
    return Check(
        "dhcp-input",
        ok=not culprits,
        severity="warning",
        found="; ".join(culprits) + ": drops requests for addresses"
        if culprits
        else "nobody else drops requests for addresses",
        needed=f"UDP port 67 is let in by {host.bridge}",
        remedy=" && ".join(dict.fromkeys(remedies)),
    )


def _hooks(found: Firewalls, name: str) -> Iterator[tuple[Table, Hook]]:
    for table in found.tables:
        for hook in table.hooks:
            if hook.hook == name:
                yield table, hook


def _named(table: Table, dropped: Dropped) -> str:
    author = _author(table)
    kind = "iptables-legacy table" if table.is_legacy else f"table {table.family}"
    return f"{kind} {table.name}{f' ({author})' if author else ''}, {dropped.by}"


def _author(table: Table) -> str | None:
    """By the names that they give their chains."""
    if "DOCKER-USER" in table.chains or "DOCKER" in table.chains:
        return "docker"
    if table.name == _FIREWALLD:
        return _FIREWALLD
    for beginning, author in (("ufw-", "ufw"), ("LIBVIRT_", "libvirt"), ("KUBE-", "kubernetes")):
        if any(name.startswith(beginning) for name in table.chains):
            return author
    return "libvirt" if table.name.startswith("libvirt") else None


def _remedy(found: Firewalls, table: Table, hook: Hook, host: HostFacts) -> str:
    bridge = host.bridge
    match _author(table):
        case "firewalld":
            return f"firewall-cmd --permanent --zone=trusted --add-interface={bridge} && firewall-cmd --reload"
        case "ufw":
            return f"ufw route allow in on {bridge} && ufw route allow out on {bridge}"
    chain = "DOCKER-USER" if "DOCKER-USER" in table.chains else hook.chain
    if table.is_legacy or (found.has_iptables and _is_of_iptables(table)):
        command = "iptables-legacy" if table.is_legacy else "iptables-nft"
        return " && ".join(f"{command} -I {chain} -{way} {bridge} -j ACCEPT" for way in "io")
    name = host.ports if table.family == "bridge" else bridge
    return " && ".join(
        f"nft insert rule {table.family} {table.name} {chain} {key} '\"{name}\"' accept"
        for key in ("iifname", "oifname")
    )


def _remedy_for_dhcp(found: Firewalls, table: Table, hook: Hook, host: HostFacts) -> str:
    bridge = host.bridge
    match _author(table):
        case "firewalld":
            return f"firewall-cmd --permanent --zone=trusted --add-interface={bridge} && firewall-cmd --reload"
        case "ufw":
            return f"ufw allow in on {bridge} to any port 67 proto udp"
    if table.is_legacy or (found.has_iptables and _is_of_iptables(table)):
        command = "iptables-legacy" if table.is_legacy else "iptables-nft"
        return f"{command} -I {hook.chain} -i {bridge} -p udp --dport 67 -j ACCEPT"
    return f"nft insert rule {table.family} {table.name} {hook.chain} iifname '\"{bridge}\"' udp dport 67 accept"


def _is_of_iptables(table: Table) -> bool:
    """Those of iptables-nft have its names."""
    return table.family == "ip" and table.name in ("filter", "nat", "mangle", "raw", "security")
