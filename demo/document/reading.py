"""Who may reach whom, read from the model: what the demo expects of the packets. Written apart from the services' own code.

What a flow's source looks like to its destination decides. By a private address, a VM is itself, a member of its groups. By
an elastic address, it is its own elastic IP if it has one, and still itself; else its node's address, behind which nobody
can be known, where the public network is apart; else, in one flat network, itself.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from demo.document.model import Model, Vm, Wire
from lab.frames import ECHO_REQUEST, ICMP, SCTP, TCP, UDP

NUMBERS: Final = {"tcp": TCP, "udp": UDP, "icmp": ICMP}
NAMES: Final = {number: name for name, number in NUMBERS.items()} | {SCTP: "sctp"}


@dataclass(frozen=True, slots=True)
class Message:
    """`port`, for ICMP, is type times 256 plus code, as in the lab's flows."""

    protocol: int
    port: int = 0

    def __str__(self) -> str:
        name = NAMES.get(self.protocol, f"protocol {self.protocol}")
        if self.protocol in (TCP, UDP):
            return f"{name} {self.port}"
        if self.protocol == ICMP:
            return "ping" if self.port == ECHO_REQUEST << 8 else f"icmp {self.port >> 8}/{self.port & 255}"
        return name


@dataclass(frozen=True, slots=True)
class Attempt:
    """`src`: a VM's id, or an outsider's name."""

    src: str
    address: IPv4Address
    message: Message


@dataclass(frozen=True, slots=True)
class Peer:
    """What a source looks like."""

    address: IPv4Address
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Grant:
    """What lets a flow in: a rule of a group, or the group that both ends are in."""

    group: str
    rule: int | None = None
    peer: str = ""

    def __str__(self) -> str:
        return f"both are in {self.group}" if self.rule is None else f"{self.group} admits {self.peer}"


@dataclass(frozen=True, slots=True)
class Judgement:
    dst: Vm
    kind: str
    seen: IPv4Address
    grants: tuple[Grant, ...]
    """Empty: it may not pass. Several: all must go before it may not."""


class Reading:
    def __init__(self, model: Model, outsiders: dict[str, IPv4Address]) -> None:
        self.model = model
        self.outsiders = outsiders
        self._by_ip = {vm.ip: vm for vm in model.vms.values()}

    def judge(self, attempt: Attempt) -> Judgement | None:
        """None: nobody has the address, or it is the source's own."""
        holder = self.model.elastic.get(attempt.address)
        dst = self.model.vms.get(holder) if holder else self._by_ip.get(attempt.address)
        if dst is None or dst.id == attempt.src:
            return None
        peer = self._peer(attempt.src, elastic=holder is not None)
        grants = tuple(self._grants(dst, peer, attempt.message))
        return Judgement(dst, self._kind(attempt.src, dst, elastic=holder is not None), peer.address, grants)

    def _peer(self, src: str, *, elastic: bool) -> Peer:
        if src in self.outsiders:
            return Peer(self.outsiders[src])
        vm = self.model.vms[src]
        own = self.model.elastic_of(src) if elastic else None
        if own:
            return Peer(own, vm.groups)
        if elastic and not self.model.is_flat(vm.node):
            return Peer(self.model.nodes[vm.node].address)
        return Peer(vm.ip, vm.groups)

    def _kind(self, src: str, dst: Vm, *, elastic: bool) -> str:
        to = "elastic IP" if elastic else "VM"
        if src in self.outsiders:
            return f"outside → {to}"
        node = self.model.vms[src].node
        if node == dst.node:
            return f"VM → {to}, same node"
        if elastic or self.model.nodes[node].zone == self.model.nodes[dst.node].zone:
            return f"VM → {to}, other node"
        return f"VM → {to}, other zone"

    def _grants(self, dst: Vm, peer: Peer, message: Message) -> list[Grant]:
        shared = sorted(dst.groups & peer.groups) if self.model.same_group_allowed else []
        found = [Grant(group) for group in shared]
        for group in sorted(dst.groups):
            for number, rule in enumerate(self.model.ingress[group]):
                if _names(rule, peer) and _means(rule, message):
                    found.append(Grant(group, number, rule.get("cidr") or rule["group"]))
        return found


def _names(rule: Wire, peer: Peer) -> bool:
    if "cidr" in rule:
        return peer.address in IPv4Network(rule["cidr"])
    return rule["group"] in peer.groups


def _means(rule: Wire, message: Message) -> bool:
    protocol = rule["protocol"]
    if protocol == "all":
        return True
    if NUMBERS.get(protocol, protocol) != message.protocol:
        return False
    if message.protocol in (TCP, UDP):
        return bool(rule.get("from_port", 0) <= message.port <= rule.get("to_port", 65535))
    if message.protocol == ICMP:
        kind, code = divmod(message.port, 256)
        return bool(rule.get("icmp_type", kind) == kind and rule.get("icmp_code", code) == code)
    return True
