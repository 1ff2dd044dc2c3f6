"""DHCP in the bridge table: an instance and its node, nobody else, and nobody in another's name.

    from an instance    UDP to port 67 is for this host, and must be in the name of the instance's own MAC (chaddr): the server
                        goes by that, and would believe that a neighbour declines or gives back its address
    across the bridge   nothing
    from the uplink     no request reaches this host: its server is for its instances
    from this host      no answer of our server leaves by another port, as those to everyone would

The hypervisor's own lease, which comes over the same bridge from somebody else's server, passes. Our server's answers are known
by its identifier in them (siaddr), so what another server on this host says is not touched.
"""

from collections.abc import Iterable
from typing import Final

from nodeagent.desired.reserved import IDENTIFIER
from nodeagent.state.host import HostFacts
from nodeagent.state.rule import ACCEPT, DROP, Field, Goto, Jump, Match, Rule, differs, equals, rule, within
from nodeagent.state.ruleset import Chain
from verge.contract.rule import UDP
from verge.contract.view import ViewInstance

SERVER: Final = 67
CLIENT: Final = 68
EVERYONE: Final = 0xFFFF_FFFF
_UDP: Final = equals(Field.L4PROTO, UDP)
# the port first, which says no to nearly every packet
TO_SERVER: Final = equals(Field.DPORT, SERVER), _UDP
FROM_SERVER: Final = equals(Field.SPORT, SERVER), _UDP


def from_vm(instances: Iterable[ViewInstance], from_its_mac: Match, limit: Iterable[Rule] = ()) -> dict[str, Chain]:
    """Where `from_vm` goes with what is sent to the server's port. One rule each, behind that: nft has no set key for raw
    header bits. `limit` drops what of an instance's own is too much."""
    return {
        "from_vm_dhcp": Chain((*map(_in_its_name, instances), rule(DROP))),
        "from_vm_dhcp_own": Chain(
            (
                *limit,
                rule(within("identity4", Field.IIFNAME, Field.ETHER_SADDR, Field.IP_SADDR), Goto("from_vm_renewal")),
                # RFC 2131: a client without an address asks everyone
                rule(
                    from_its_mac,
                    equals(Field.IP_SADDR, 0),
                    equals(Field.IP_DADDR, EVERYONE),
                    equals(Field.UDP_SPORT, CLIENT),
                    ACCEPT,
                ),
                rule(DROP),
            )
        ),
        # a lease is renewed with this host, whoever is between
        "from_vm_renewal": Chain((rule(Jump("to_host")), rule(ACCEPT))),
    }


def _in_its_name(vm: ViewInstance) -> Rule:
    mac = int(vm.mac.replace(":", ""), 16)
    return rule(equals(Field.IIFNAME, vm.interface), equals(Field.DHCP_CHADDR, mac), Goto("from_vm_dhcp_own"))


def forward(facts: HostFacts) -> tuple[Rule, ...]:
    return (
        rule(*TO_SERVER, equals(Field.IIFNAME, facts.ports), DROP),
        rule(*FROM_SERVER, equals(Field.OIFNAME, facts.ports), DROP),
    )


def to_vm() -> Rule:
    """An answer to everyone, from this host: others' was dropped in `forward`."""
    return rule(
        equals(Field.IP_DADDR, EVERYONE),
        equals(Field.UDP_SPORT, SERVER),
        equals(Field.UDP_DPORT, CLIENT),
        within("vm_ports", Field.OIFNAME),
        ACCEPT,
    )


def to_host() -> Rule:
    return rule(within("uplinks", Field.IIFNAME), equals(Field.UDP_DPORT, SERVER), DROP)


def from_host(facts: HostFacts) -> Rule:
    return rule(
        differs(Field.OIFNAME, facts.ports),
        equals(Field.UDP_SPORT, SERVER),
        equals(Field.UDP_DPORT, CLIENT),
        equals(Field.DHCP_SIADDR, int(IDENTIFIER)),
        DROP,
    )
