"""What is to be set outside nftables: steps that close go before the ruleset, steps that open behind it.

close   bridged packets must pass the ruleset; ports must not send by themselves (IPv6)
open    the host forwards and answers for others, ports send back, the bridge has the gateway's address: what of it may
        happen, the ruleset says
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface

from nodeagent.desired.node import Desired
from nodeagent.state.former import Former, Setting
from nodeagent.state.host import HostFacts, Links, Sysctl


@dataclass(frozen=True, slots=True)
class FilterBridge:
    """Sets `nf_call_iptables` of our bridge."""


@dataclass(frozen=True, slots=True)
class SilencePort:
    """Sets `disable_ipv6` of a port: its own stack on the host would send frames past the bridge."""

    port: str


@dataclass(frozen=True, slots=True)
class ReflectPort:
    """Sets `hairpin` of a port: its instance may reach its own elastic IP."""

    port: str


@dataclass(frozen=True, slots=True)
class SetSysctl:
    sysctl: Sysctl
    was: str | None


@dataclass(frozen=True, slots=True)
class AddAddress:
    address: IPv4Interface


@dataclass(frozen=True, slots=True)
class DeleteAddress:
    address: IPv4Interface


Step = FilterBridge | SilencePort | ReflectPort | SetSysctl | AddAddress | DeleteAddress


def closing(links: Links) -> tuple[Step, ...]:
    steps: list[Step] = []
    if links.bridge_filtered is False:
        steps.append(FilterBridge())
    steps += [SilencePort(name) for name, port in sorted(links.ports.items()) if not port.ipv6_disabled]
    return tuple(steps)


def opening(links: Links, desired: Desired, facts: HostFacts) -> tuple[Step, ...]:
    """Nothing where there is no bridge to serve."""
    if links.bridge_filtered is None or not desired.sysctls:
        return ()
    mine = set(desired.interfaces.values())
    have = links.identity.bridge_addresses | {address.ip for address in links.own_addresses}
    return (
        *(DeleteAddress(address) for address in sorted(links.own_addresses - desired.addresses)),
        *(AddAddress(address) for address in sorted(desired.addresses) if address.ip not in have),
        *(
            SetSysctl(sysctl, links.sysctls.get(sysctl.name))
            for sysctl in desired.sysctls
            if links.sysctls.get(sysctl.name) != sysctl.value
        ),
        *(
            ReflectPort(name)
            for name, port in sorted(links.ports.items())
            if name in mine and port.bridge == facts.bridge and not port.hairpin
        ),
    )


def formers(steps: Iterable[Step], facts: HostFacts) -> Iterator[tuple[Setting, Former]]:
    """What these steps change, for him who sets it back. Addresses carry our label."""
    for step in steps:
        match step:
            case FilterBridge():
                yield Setting("nf_call_iptables", facts.bridge), Former("0", "1")
            case SilencePort(port):
                yield Setting("sysctl", f"net/ipv6/conf/{port}/disable_ipv6"), Former("0", "1")
            case ReflectPort(port):
                yield Setting("hairpin", port), Former("0", "1")
            case SetSysctl(sysctl, was) if was is not None:
                yield Setting("sysctl", sysctl.name), Former(was, sysctl.value)


def object_of(step: Step, facts: HostFacts) -> str:
    """As a report names it."""
    match step:
        case SilencePort(port) | ReflectPort(port):
            return f"host/{port}"
        case SetSysctl(sysctl):
            return f"host/{sysctl.name}"
        case FilterBridge() | AddAddress() | DeleteAddress():
            return f"host/{facts.bridge}"


def described(step: Step, facts: HostFacts) -> str:
    """As an operator would do it."""
    match step:
        case FilterBridge():
            return f"ip link set {facts.bridge} type bridge nf_call_iptables 1"
        case SilencePort(port):
            return f"sysctl net.ipv6.conf.{port}.disable_ipv6=1"
        case ReflectPort(port):
            return f"bridge link set dev {port} hairpin on"
        case SetSysctl(sysctl, was):
            return f"sysctl {sysctl.name}={sysctl.value}  # was {was or 'absent'}"
        case AddAddress(address):
            return f"ip address add {address} dev {facts.bridge}"
        case DeleteAddress(address):
            return f"ip address delete {address} dev {facts.bridge}"
