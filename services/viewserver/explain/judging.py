"""Security groups: which rule lets a message pass, through which membership; and where none does, how near each came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final, Literal

from verge.contract.rule import ALL, ICMP, PROTOCOL_NAMES, TCP, UDP, Rule
from viewserver.compile.view import NO_SETTINGS
from viewserver.explain.question import Message
from viewserver.model.network import Network
from viewserver.model.objects import Instance, Key, SecurityGroup

Direction = Literal["ingress", "egress"]
MISSES: Final = 10
"""Named at most, the nearest first."""


@dataclass(frozen=True, slots=True)
class Ruled:
    """A rule, where it stands, and what it says."""

    group: str
    direction: Direction
    rule: Rule

    def __str__(self) -> str:
        return f"{self.group} {self.direction}: {rule_text(self.rule, self.direction)}"

    def to_wire(self) -> dict[str, Any]:
        text = rule_text(self.rule, self.direction)
        return {"group": self.group, "direction": self.direction, "rule": self.rule.to_wire(), "text": text}


@dataclass(frozen=True, slots=True)
class Miss:
    ruled: Ruled
    why: str
    faults: int
    """In how many ways it does not fit."""

    def to_wire(self) -> dict[str, Any]:
        return {**self.ruled.to_wire(), "why_not": self.why}


@dataclass(frozen=True, slots=True)
class Link:
    """One step of a membership: an object, and what it says."""

    key: Key
    says: str

    def to_wire(self) -> dict[str, str]:
        return {"kind": self.key[0], "id": self.key[1], "says": self.says}


@dataclass(frozen=True, slots=True)
class Judged:
    passes: bool
    text: str
    ruled: Ruled | None = None
    chain: tuple[Link, ...] = ()
    misses: tuple[Miss, ...] = ()
    facts: frozenset[Key] = field(default=frozenset())
    """What it was read from."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other side as rules see it: by an address, and by the groups of the instance that has it."""

    address: IPv4Address
    owner: str | None
    groups: frozenset[str]

    def __str__(self) -> str:
        return str(self.address) if self.owner is None else f"{self.owner} ({self.address})"


def peer_of(network: Network, address: IPv4Address) -> Peer:
    """Members are known by private and by elastic address, while a node has them; an address that is held back is nobody's,
    unless its instance takes it along."""
    holder = network.holder(str(address))
    instance = network.instance(holder) if holder is not None else None
    if holder is None or instance is None:
        return Peer(address, None, frozenset())
    counts = network.effective_node(holder) is not None or network.cut_over(holder) is not None
    if not counts or str(address) not in (str(instance.private_ip), network.effective_elastic_ip(holder)):
        return Peer(address, None, frozenset())
    return Peer(address, holder, frozenset(instance.groups))


def egress(network: Network, name: str, instance: Instance, peer: Peer, message: Message) -> Judged:
    """The union of its groups' egress; one without any lets all out, and so does having no group."""
    facts = _facts(network, name, instance, peer)
    if not instance.groups:
        return Judged(passes=True, text=f"{name} is in no group, so it may send anything", facts=facts)
    for key, group in _groups(network, instance):
        if group.egress is None:
            return Judged(
                passes=True,
                text=f"{key} does not limit egress, so {name} may send anything",
                chain=(_member(name, key),),
                facts=facts,
            )
    rules = [Ruled(key, "egress", rule) for key, group in _groups(network, instance) for rule in group.egress or ()]
    return _judge(name, rules, peer, message, facts)


def ingress(network: Network, name: str, instance: Instance, peer: Peer, message: Message) -> Judged:
    """The union of its groups' ingress, and its own groups where the network lets them."""
    facts = _facts(network, name, instance, peer)
    shared = sorted(peer.groups & set(instance.groups))
    if (network.settings or NO_SETTINGS).same_group_traffic == "allow" and shared:
        chain = (_member(str(peer), shared[0]), _member(name, shared[0]))
        text = f"{peer} and {name} are both in {shared[0]}, and same_group_traffic is allow"
        return Judged(passes=True, text=text, chain=chain, facts=facts)
    if not instance.groups:
        return Judged(passes=False, text=f"{name} is in no group, so nothing may come in", facts=facts)
    rules = [Ruled(key, "ingress", rule) for key, group in _groups(network, instance) for rule in group.ingress]
    return _judge(name, rules, peer, message, facts)


def _judge(name: str, rules: Sequence[Ruled], peer: Peer, message: Message, facts: frozenset[Key]) -> Judged:
    misses = []
    for ruled in rules:
        why = [text for text in (_other_peer(ruled.rule, peer), _other_message(ruled.rule, message)) if text]
        if not why:
            found = ruled.rule.peer
            chain: tuple[Link, ...] = (_member(str(peer), found),) if isinstance(found, str) else ()
            text = f"{rule_text(ruled.rule, ruled.direction)} ({ruled.group}) covers {message} and {peer}"
            chain += (Link(("group", ruled.group), rule_text(ruled.rule, ruled.direction)), _member(name, ruled.group))
            return Judged(passes=True, text=text, ruled=ruled, chain=chain, facts=facts)
        misses.append(Miss(ruled, "; ".join(why), len(why)))
    way = (
        f"lets {message} from {peer} in"
        if not rules or rules[0].direction == "ingress"
        else f"lets {message} to {peer} out"
    )
    text = f"no rule of {name}'s groups {way}"
    nearest = sorted(misses, key=lambda miss: miss.faults)
    return Judged(passes=False, text=text, misses=tuple(nearest[:MISSES]), facts=facts)


def _other_peer(rule: Rule, peer: Peer) -> str | None:
    if isinstance(rule.peer, IPv4Network):
        return None if peer.address in rule.peer else f"{peer.address} is not in {rule.peer}"
    if rule.peer in peer.groups:
        return None
    if peer.owner is None:
        return f"{peer.address} is no member of {rule.peer}: no instance is known by it"
    return f"{peer.owner} is not in {rule.peer}"


def _other_message(rule: Rule, message: Message) -> str | None:
    if rule.protocol == ALL:
        return None
    if rule.protocol != message.protocol:
        return f"it is for {_protocol(rule)}"
    if rule.ports is not None and not rule.ports[0] <= message.first <= rule.ports[1]:
        return f"port {message.first} is not in {_span(*rule.ports)}"
    if message.protocol == ICMP:
        if rule.icmp_type not in (None, message.first):
            return f"it is for ICMP type {rule.icmp_type}"
        if rule.icmp_code not in (None, message.second):
            return f"it is for ICMP code {rule.icmp_code}"
    return None


def rule_text(rule: Rule, direction: Direction) -> str:
    """`tcp 22 from sg-web`, `icmp 3/4 to 10.0.0.0/8`, `all from 0.0.0.0/0`."""
    words = [_protocol(rule)]
    if rule.protocol in (TCP, UDP) and rule.ports is not None:
        words.append(_span(*rule.ports))
    if rule.icmp_type is not None:
        words.append(str(rule.icmp_type) + ("" if rule.icmp_code is None else f"/{rule.icmp_code}"))
    return " ".join([*words, "from" if direction == "ingress" else "to", str(rule.peer)])


def _protocol(rule: Rule) -> str:
    return PROTOCOL_NAMES.get(rule.protocol, f"protocol {rule.protocol}")


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


def _groups(network: Network, instance: Instance) -> Iterable[tuple[str, SecurityGroup]]:
    for key in instance.groups:
        group = network.group(key)
        if group is not None:
            yield key, group


def _member(who: str, group: str) -> Link:
    return Link(("group", group), f"{who} is in {group}")


def _facts(network: Network, name: str, instance: Instance, peer: Peer) -> frozenset[Key]:
    facts: set[Key] = {("network", "network"), ("instance", name), *(("group", key) for key in instance.groups)}
    if peer.owner is not None:
        facts.add(("instance", peer.owner))
        elastic = network.elastic_ip_of.get(peer.owner)
        if elastic is not None:
            facts.add(("elastic_ip", elastic))
    return frozenset(facts)
