"""What the kernel must be set to beside the ruleset, so that this host routes, answers and translates for its instances."""

from ipaddress import IPv4Interface

from nodeagent.desired.reserved import METADATA
from nodeagent.state.host import HostFacts, Sysctl
from verge.contract.view import View


def sysctls(facts: HostFacts, view: View) -> tuple[Sysctl, ...]:
    """In the order in which they are set, behind the ruleset: it says what may be forwarded and answered.

    Each is set for our interfaces alone where the kernel takes the greater of that and `all` (ip-sysctl.rst); forwarding
    and redirects have no such form.
    """
    bridge, public = facts.bridge, facts.public_interface
    interfaces = [bridge, public] if facts.is_separate else [bridge]
    answers = public if facts.is_separate else bridge
    found = [("ip_forward", "1"), ("conf/all/send_redirects", "0")]
    for name in interfaces:
        found += [
            (f"conf/{name}/forwarding", "1"),
            # routed out by where it came in from: the kernel would tell instances a shorter way, past this host
            (f"conf/{name}/send_redirects", "0"),
            # loose: a source that is on the other interface is no spoof; spoofs are the ruleset's to drop
            (f"conf/{name}/rp_filter", "2"),
            # the address of the other interface, and the gateway's, are not for this one to tell
            (f"conf/{name}/arp_announce", "2"),
        ]
        if facts.is_separate:
            found.append((f"conf/{name}/arp_ignore", "1"))
    for name in dict.fromkeys([answers, *([bridge] if view.host.gateway_mode in ("impersonate", "proxy") else [])]):
        found += [
            # the kernel answers up to 0.8 s late where it answers for others
            (f"neigh/{name}/proxy_delay", "0"),
            (f"conf/{name}/proxy_arp_pvlan", "1"),
        ]
    return tuple(Sysctl(f"net/ipv4/{name}", value) for name, value in found)


def addresses(view: View) -> frozenset[IPv4Interface]:
    """Of the bridge. Instances reach the gateway and the metadata address on whichever node they are."""
    if view.host.gateway_mode != "node":
        return frozenset()
    gateway = IPv4Interface((view.zone.gateway, view.zone.subnet.prefixlen))
    return frozenset((gateway, IPv4Interface((METADATA, 32))))
