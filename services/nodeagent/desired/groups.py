"""Security groups as chains and sets of the ip table.

Per group and direction one chain that judges packets of new flows, and its mirror, which judges replies by what the flow's
first packet must have looked like (needed when a flow is judged again while only its replies are flowing):

    chain in/sg-1           ip saddr . meta l4proto . th dport @in/sg-1/ports  goto pass_in
                            ip saddr @members/sg-2 meta l4proto . th dport @in/sg-1/from/sg-2/ports  goto pass_in
    chain in/sg-1/replies   ip daddr . meta l4proto . th sport @in/sg-1/ports  goto pass_reply   …

A group's CIDR rules are three sets of disjoint boxes: ports of tcp and udp, types and codes of icmp, whole protocols. Each
peer group has the same without the address, behind one look into its members. What varies is elements, so that a changed
rule or member is an element more or less; a rule of the chain comes or goes with the first or last box of its kind.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Final

from nodeagent.desired.boxes import Box, canonical
from nodeagent.desired.names import token
from nodeagent.state.rule import ACCEPT, Field, Goto, In, KeyType, Match, Verdict, equals, within
from nodeagent.state.rule import Rule as ChainRule
from nodeagent.state.rule import rule as chain_rule
from nodeagent.state.ruleset import Chain, Set, Span
from verge.contract.rule import ALL, ICMP, TCP, UDP, GroupId, Rule
from verge.contract.view import ViewGroup

_ANY: Final = Span(0, 255)
_ANY_ADDRESS: Final = Span(0, 0xFFFF_FFFF)
_ANSWERS: Final = {8: 0, 13: 14, 15: 16, 17: 18}
"""ICMP types that begin a flow, and what answers them (nf_conntrack_proto_icmp). Errors belong to the flow they are about."""


@dataclass(frozen=True, slots=True)
class Direction:
    """Where a packet of a new flow carries the peer and the port, and where a reply does."""

    name: str
    peer_word: str
    peer: Field
    reply_peer: Field
    passing: Verdict
    reply_passing: Verdict


INGRESS: Final = Direction("in", "from", Field.IP_SADDR, Field.IP_DADDR, Goto("pass_in"), Goto("pass_reply"))
EGRESS: Final = Direction("out", "to", Field.IP_DADDR, Field.IP_SADDR, ACCEPT, ACCEPT)


@dataclass(frozen=True, slots=True)
class GroupObjects:
    """What one group puts into the ip table."""

    sets: Mapping[str, Set] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)
    peers: frozenset[GroupId] = frozenset()
    """Groups whose members it looks up."""
    faults: tuple[str, ...] = ()
    """Rules that mean nothing, left out: closed."""


def members_set(group: GroupId) -> str:
    return f"members/{token(group)}"


def chain_of(direction: Direction, group: GroupId, *, replies: bool = False) -> str:
    return f"{direction.name}/{token(group)}{'/replies' if replies else ''}"


def objects(group: ViewGroup, allow_same_group: bool) -> GroupObjects:
    """The chains and sets of one group. `allow_same_group` lets its members reach each other whatever the rules say."""
    faults: list[str] = []
    sets: dict[str, Set] = {}
    chains: dict[str, Chain] = {}
    peers: set[GroupId] = set()
    for direction, rules in ((INGRESS, group.ingress), (EGRESS, group.egress)):
        if rules is None:
            continue
        sound = [rule for rule in rules if not _fault(rule)]
        faults += [f"{direction.name}: {_fault(rule)}" for rule in rules if _fault(rule)]
        judge = _Judge(direction, group.id, sets)
        if allow_same_group and direction is INGRESS:
            peers.add(group.id)
            judge.whole_group(group.id)
        judge.networks([rule for rule in sound if isinstance(rule.peer, IPv4Network)])
        for peer in sorted({rule.peer for rule in sound if not isinstance(rule.peer, IPv4Network)}):
            peers.add(peer)
            judge.group(peer, [rule for rule in sound if rule.peer == peer])
        chains[chain_of(direction, group.id)] = Chain(tuple(judge.forward))
        chains[chain_of(direction, group.id, replies=True)] = Chain(tuple(judge.replies))
    return GroupObjects(sets, chains, frozenset(peers), tuple(faults))


class _Judge:
    """Writes a chain and its mirror, and their sets, side by side."""

    def __init__(self, direction: Direction, group: GroupId, sets: dict[str, Set]) -> None:
        self.forward: list[ChainRule] = []
        self.replies: list[ChainRule] = []
        self._direction = direction
        self._name = chain_of(direction, group)
        self._sets = sets

    def whole_group(self, peer: GroupId) -> None:
        self._pass((self._member(peer),), (self._member(peer, reply=True),))

    def networks(self, rules: list[Rule]) -> None:
        forward, reply = (self._direction.peer,), (self._direction.reply_peer,)
        self._ports(rules, self._name, forward, reply, ())
        self._icmp(rules, self._name, forward, reply, ())
        boxes = canonical(
            ((_addresses(rule), _protocols(rule)) for rule in rules if rule.protocol not in (TCP, UDP, ICMP)),
            prefixes=True,
        )
        if boxes:
            name = f"{self._name}/protocols"
            self._sets[name] = Set((KeyType.IPV4, KeyType.PROTOCOL), boxes, interval=True)
            self._pass((within(name, *forward, Field.L4PROTO),), (within(name, *reply, Field.L4PROTO),))

    def group(self, peer: GroupId, rules: list[Rule]) -> None:
        name = f"{self._name}/{self._direction.peer_word}/{token(peer)}"
        self._ports(rules, name, (), (), (peer,))
        self._icmp(rules, name, (), (), (peer,))
        protocols = sorted({rule.protocol for rule in rules} - {TCP, UDP, ICMP})
        if ALL in protocols:
            self.whole_group(peer)
        for protocol in protocols:
            # In the rule itself: a set of plain intervals is another kind of set to the kernel, with troubles of its own. One
            # rule each, also beside ALL: a protocol more then takes no rule away, so no session is judged again for it.
            if protocol != ALL:
                match = equals(Field.L4PROTO, protocol)
                self._pass((self._member(peer), match), (self._member(peer, reply=True), match))

    def _ports(
        self,
        rules: list[Rule],
        name: str,
        forward: tuple[Field, ...],
        reply: tuple[Field, ...],
        peer: tuple[GroupId, ...],
    ) -> None:
        boxes = [
            (_addresses(rule), _protocols(rule), Span(*rule.ports))
            for rule in rules
            if rule.protocol in (TCP, UDP) and rule.ports is not None
        ]
        kinds = (KeyType.PROTOCOL, KeyType.PORT)
        if self._add(f"{name}/ports", kinds, boxes, addresses=not peer):
            found = within(f"{name}/ports", *forward, Field.L4PROTO, Field.DPORT)
            mirrored = within(f"{name}/ports", *reply, Field.L4PROTO, Field.SPORT)
            self._pass_for(peer, found, mirrored)

    def _icmp(
        self,
        rules: list[Rule],
        name: str,
        forward: tuple[Field, ...],
        reply: tuple[Field, ...],
        peer: tuple[GroupId, ...],
    ) -> None:
        boxes = [(_addresses(rule), *_types(rule)) for rule in rules if rule.protocol == ICMP]
        answers = [
            (addresses, Span(answer, answer), codes)
            for addresses, types, codes in boxes
            for asked, answer in _ANSWERS.items()
            if types.low <= asked <= types.high
        ]
        kinds = (KeyType.ICMP_TYPE, KeyType.ICMP_CODE)
        if self._add(f"{name}/icmp", kinds, boxes, addresses=not peer):
            self._pass_for(peer, within(f"{name}/icmp", *forward, Field.ICMP_TYPE, Field.ICMP_CODE), None)
        if self._add(f"{name}/icmp-answers", kinds, answers, addresses=not peer):
            self._pass_for(peer, None, within(f"{name}/icmp-answers", *reply, Field.ICMP_TYPE, Field.ICMP_CODE))

    def _add(self, name: str, kinds: tuple[KeyType, ...], boxes: Iterable[Box], *, addresses: bool) -> bool:
        """The set of these boxes, if there are any; without their addresses, if those do not matter."""
        if addresses:
            elements = canonical(boxes, prefixes=True)
            kinds = (KeyType.IPV4, *kinds)
        else:
            elements = canonical((box[1:] for box in boxes), prefixes=False)
        if elements:
            self._sets[name] = Set(kinds, elements, interval=True)
        return bool(elements)

    def _member(self, peer: GroupId, *, reply: bool = False) -> In:
        return within(members_set(peer), self._direction.reply_peer if reply else self._direction.peer)

    def _pass_for(self, peer: tuple[GroupId, ...], found: Match | None, mirrored: Match | None) -> None:
        """For members of the peer group, if one is named; `found` in new flows, `mirrored` in replies."""
        members = tuple(self._member(one) for one in peer)
        mirrored_members = tuple(self._member(one, reply=True) for one in peer)
        self._pass((*members, found) if found else None, (*mirrored_members, mirrored) if mirrored else None)

    def _pass(self, found: tuple[Match, ...] | None, mirrored: tuple[Match, ...] | None) -> None:
        if found:
            self.forward.append(chain_rule(*found, self._direction.passing))
        if mirrored:
            self.replies.append(chain_rule(*mirrored, self._direction.reply_passing))


def _addresses(rule: Rule) -> Span:
    if isinstance(rule.peer, IPv4Network):
        return Span(int(rule.peer.network_address), int(rule.peer.broadcast_address))
    return _ANY_ADDRESS


def _protocols(rule: Rule) -> Span:
    return _ANY if rule.protocol == ALL else Span(rule.protocol, rule.protocol)


def _types(rule: Rule) -> tuple[Span, Span]:
    kind, code = rule.icmp_type, rule.icmp_code
    return _ANY if kind is None else Span(kind, kind), _ANY if code is None else Span(code, code)


def _fault(rule: Rule) -> str | None:
    """What is wrong with a rule that the view server would have refused."""
    if rule.protocol != ALL and not 0 <= rule.protocol <= 255:
        return f"{rule.protocol} is no protocol number"
    if rule.protocol in (TCP, UDP) and (rule.ports is None or not 0 <= rule.ports[0] <= rule.ports[1] <= 65535):
        return f"{rule.ports} is no range of ports"
    if any(value is not None and not 0 <= value <= 255 for value in (rule.icmp_type, rule.icmp_code)):
        return f"{rule.icmp_type}/{rule.icmp_code} is no ICMP type and code"
    return None
