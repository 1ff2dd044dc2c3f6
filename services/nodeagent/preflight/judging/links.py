"""The bridge, its uplink, the public interface, and the names of ports."""

from collections.abc import Iterator
from typing import Final

from nodeagent.preflight.facts import Interface, Links
from nodeagent.state.host import HostFacts
from verge.contract.report import Check
from verge.contract.view import View

_ETHERNET: Final = 1500


def checks(found: Links, host: HostFacts, view: View | None) -> Iterator[Check]:
    yield Check(
        "br_netfilter",
        ok=found.bridges_filtered,
        found="loaded" if found.bridges_filtered else "not loaded: bridged packets would pass unjudged",
        needed="loaded; the bridge's own nf_call_iptables is set by Verge",
        remedy="modprobe br_netfilter && echo br_netfilter >/etc/modules-load.d/verge.conf",
    )
    yield _bridge(found, host)
    if host.is_separate:
        yield _present("public-interface", host.public_interface, found, "the public network")
    yield _ports(found, host)
    bridge = found.interfaces.get(host.bridge)
    if bridge is None or bridge.kind != "bridge":
        return
    uplinks = _uplinks(found, host)
    yield Check(
        "uplink",
        ok=any(one.is_up for one in uplinks.values()),
        severity="warning",
        found=", ".join(f"{name} is {'up' if one.is_up else 'down'}" for name, one in uplinks.items())
        or f"{host.bridge} has no port that leads out of this host",
        needed=f"a port of {host.bridge} on the private network, up",
        remedy="; ".join(f"ip link set {name} up" for name in uplinks)
        or f"# ip link set INTERFACE master {host.bridge} up, with the interface that is on the private network",
    )
    yield _mtu(found, host, bridge, uplinks, view.network.mtu if view else None)


def _uplinks(found: Links, host: HostFacts) -> dict[str, Interface]:
    return {n: one for n, one in found.interfaces.items() if one.master == host.bridge and not host.is_port(n)}


def _bridge(found: Links, host: HostFacts) -> Check:
    bridge = found.interfaces.get(host.bridge)
    if bridge and bridge.kind != "bridge":
        return Check(
            "bridge",
            ok=False,
            found=f"{host.bridge} is no bridge" + (f" but a {bridge.kind}" if bridge.kind else ""),
            needed=f"a bridge {host.bridge} on the private network",
            remedy="# name the bridge with --bridge, or make one of this name in the host's network configuration",
        )
    if bridge is None:
        return Check(
            "bridge",
            ok=False,
            found=f"there is no bridge {host.bridge}",
            needed=f"a bridge {host.bridge} on the private network",
            remedy=f"ip link add {host.bridge} type bridge && ip link set {host.bridge} up"
            "  # then its address and uplink; in the host's network configuration, to stay",
        )
    return _present("bridge", host.bridge, found, "the private network")


def _present(check: str, name: str, found: Links, network: str) -> Check:
    link = found.interfaces.get(name)
    return Check(
        check,
        ok=bool(link and link.is_up),
        found=f"{name} is {'up' if link.is_up else 'down'}" if link else f"there is no interface {name}",
        needed=f"{name} on {network}, up",
        remedy=f"ip link set {name} up" if link else f"# bring {name} into being, or name another with --{check}",
    )


def _ports(found: Links, host: HostFacts) -> Check:
    """The host's own interfaces under a name that closes them."""
    masters = {one.master for one in found.interfaces.values()}
    taken = {
        name: "has an address" if one.addresses else "has ports of its own" if name in masters else f"is a {one.kind}"
        for name, one in found.interfaces.items()
        if host.is_port(name) and (one.addresses or name in masters or one.kind in ("bridge", "bond", "vlan"))
    }
    said = "; ".join(f"{name} {why}" for name, why in taken.items())
    return Check(
        "port-names",
        ok=not taken,
        found=f"{said}, yet would be closed as an instance's port"
        if taken
        else f"{host.ports} matches instances' ports only",
        needed=f"no interface of the host matches {host.ports}",
        remedy=f"# rename {', '.join(taken)}, or choose another pattern with --ports" if taken else "",
    )


def _mtu(found: Links, host: HostFacts, bridge: Interface, uplinks: dict[str, Interface], told: int | None) -> Check:
    """What instances are told (or take for granted) must fit through the bridge and what leads out of it."""
    needed = told or _ETHERNET
    links = {host.bridge: bridge} | uplinks
    if host.is_separate and (public := found.interfaces.get(host.public_interface)):
        links[host.public_interface] = public
    narrow = [name for name, one in links.items() if one.mtu < needed]
    source = "which instances are told" if told else "which instances take for granted, since they are told nothing"
    return Check(
        "mtu",
        ok=not narrow,
        severity="warning",
        found=", ".join(f"{name} {one.mtu}" for name, one in links.items()),
        needed=f"{needed} or more, {source}",
        remedy=" && ".join(f"ip link set {name} mtu {needed}" for name in reversed(narrow))
        + "  # or a smaller mtu in the cloud's network document",
    )
