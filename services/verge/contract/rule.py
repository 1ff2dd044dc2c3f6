"""One rule of a security group, in its one normal form.

    {"protocol": "tcp"|"udp"|"icmp"|"all"|0..255, "from_port"?, "to_port"?, "icmp_type"?, "icmp_code"?, "cidr" | "group"}

Normal: the protocol by name where it has one, else by number; tcp and udp always with both ports (absent means all:
0..65535); icmp type and code absent where any is meant; everything else without either. A rule is one protocol with one
range from one source, as in EC2 and in Eucalyptus documents; `cidr` is the peer's side, a source for ingress and a
destination for egress.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any, Final, NewType

GroupId = NewType("GroupId", str)

ICMP: Final = 1
TCP: Final = 6
UDP: Final = 17
ALL: Final = -1
"""Every protocol, as EC2 writes it."""

PROTOCOL_NUMBERS: Final = {"icmp": ICMP, "tcp": TCP, "udp": UDP, "all": ALL}
PROTOCOL_NAMES: Final = {number: name for name, number in PROTOCOL_NUMBERS.items()}
PORTS: Final = (0, 65535)


@dataclass(frozen=True, slots=True)
class Rule:
    protocol: int
    """0..255, or ALL."""
    peer: IPv4Network | GroupId
    ports: tuple[int, int] | None = None
    """Inclusive; with tcp and udp only, and always with them."""
    icmp_type: int | None = None
    """0..255; None is any. With icmp only."""
    icmp_code: int | None = None

    def to_wire(self) -> dict[str, Any]:
        """The rule's normal form as JSON."""
        wire: dict[str, Any] = {"protocol": PROTOCOL_NAMES.get(self.protocol, self.protocol)}
        if self.ports is not None:
            wire["from_port"], wire["to_port"] = self.ports
        if self.icmp_type is not None:
            wire["icmp_type"] = self.icmp_type
        if self.icmp_code is not None:
            wire["icmp_code"] = self.icmp_code
        if isinstance(self.peer, IPv4Network):
            wire["cidr"] = str(self.peer)
        else:
            wire["group"] = self.peer
        return wire

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> "Rule":
        """From the normal form. Raises ValueError, KeyError or TypeError for anything else; the server's door, which
        takes any form and explains what is wrong with it, is `viewserver.model.security_group`."""
        protocol = wire["protocol"]
        number = PROTOCOL_NUMBERS[protocol] if isinstance(protocol, str) else int(protocol)
        return cls(
            protocol=number,
            peer=IPv4Network(wire["cidr"]) if "cidr" in wire else GroupId(wire["group"]),
            ports=(int(wire["from_port"]), int(wire["to_port"])) if number in (TCP, UDP) else None,
            icmp_type=wire.get("icmp_type"),
            icmp_code=wire.get("icmp_code"),
        )

    @property
    def order(self) -> tuple[int, str, int, int, int, int]:
        """A total order for sorted sets of rules."""
        low, high = self.ports or (-1, -1)
        kind = -1 if self.icmp_type is None else self.icmp_type
        code = -1 if self.icmp_code is None else self.icmp_code
        return (self.protocol, str(self.peer), low, high, kind, code)
