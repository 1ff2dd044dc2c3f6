"""The two ports of the packet self-test: nobody's, and judged like any instance's.

    vn_~1  169.254.67.71  ──udp 7──▶  vn_~2  169.254.67.72         one rule lets that in, and nothing else

The rule names both addresses' network, so that what spoofs another in it is for the port to stop, and for nobody else.

They are in every ruleset that has a view (a handful of elements, a group and two chains), so that the test changes nothing
of the ruleset; the links are there while it runs only. No instance can have their names: its own has no tilde. The addresses
are beside the DHCP identifier, in a range that is never routed.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from verge.contract.rule import UDP, GroupId, Rule
from verge.contract.view import InstanceId, Interface, Mac, ViewGroup, ViewInstance

PORT: Final = 7
"""That the rule allows."""
_GROUP: Final = GroupId("_self-test")  # ids of the cloud begin with a letter or digit
_LONGEST: Final = 15  # IFNAMSIZ, less the end


@dataclass(frozen=True, slots=True)
class ScratchPort:
    name: str
    mac: Mac
    """That frames carry and are sent to."""
    address: IPv4Address
    link_mac: str
    """Of the port itself. The highest there is: a bridge without an address of its own takes the lowest of its ports'."""
    peer: str
    """The other end, where the agent sits."""
    peer_mac: str
    """Another one than frames are sent to, so that the host's own stack takes none of them."""


def pair(ports: str) -> tuple[ScratchPort, ScratchPort] | None:
    """For this pattern of ports' names; None where a name of two letters more would be too long."""
    if len(ports) - 1 + 2 > _LONGEST:
        return None
    one, two = (
        ScratchPort(
            name=f"{ports[:-1]}~{n}",
            mac=Mac(f"fe:76:65:72:67:0{n}"),
            address=IPv4Address(f"169.254.67.7{n}"),
            link_mac=f"fe:ff:ff:ff:ff:f{n}",
            peer=f"verge-test{n}",
            peer_mac=f"fe:ff:ff:ff:ff:e{n}",
        )
        for n in (1, 2)
    )
    return one, two


def instances(ports: str) -> tuple[ViewInstance, ...]:
    """As a view would name them."""
    return tuple(
        ViewInstance(
            id=InstanceId(f"{_GROUP}-{port.name[-1]}"),
            mac=port.mac,
            private_ip=port.address,
            elastic_ip=None,
            interface=Interface(port.name),
            groups=(_GROUP,),
            account="",
            node=None,
        )
        for port in pair(ports) or ()
    )


def group(ports: str) -> tuple[ViewGroup, ...]:
    """Theirs: the second hears the first, on one port."""
    both = pair(ports)
    if both is None:
        return ()
    allowed = Rule(UDP, IPv4Network((both[0].address, 24), strict=False), (PORT, PORT))
    return (ViewGroup(_GROUP, (allowed,), None),)
