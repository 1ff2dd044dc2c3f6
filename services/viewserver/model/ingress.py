"""Which instances an update takes ingress from: exactly what could reach them before and cannot afterwards. Pure.

An instance is reached by what its groups' rules admit, and under `same_group_traffic: allow` by the members of its groups. A
rule that names a group admits the addresses of its placed instances. What is compared is meant to be, not held back by fences:
an address on its way to another node is as good as there.

An address that is nobody's any more, or somebody else's, is no source that was lost: who was there is gone, and is named as
removed itself.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, summarize_address_range
from typing import Any, Final

from verge.contract.rule import ALL, ICMP, PORTS, PROTOCOL_NAMES, TCP, UDP, Rule
from viewserver.model.network import Network
from viewserver.model.objects import Instance, Key
from viewserver.model.ranges import Range, Ranges, merged, segments, without

SOURCES_SAID: Final = 32
"""Of one loss, in an answer; the rest is counted."""
OTHERS: Final = -2
"""Every protocol but some."""


@dataclass(frozen=True, slots=True)
class Lost:
    """From these sources, by this protocol, to these ports (ICMP: type and code), the instance can no longer be reached."""

    protocol: int
    """0..255; ALL for every one, OTHERS for every one but those `named`."""
    kinds: Range | None
    """Ports, or ICMP type * 256 + code; None: any, or there are none."""
    sources: Ranges
    named: tuple[int, ...] = ()
    """With OTHERS: the protocols that are not meant, since the rules in question name them."""

    def to_wire(self) -> dict[str, Any]:
        wire: dict[str, Any] = {"protocol": _name(self.protocol)}
        if self.protocol == OTHERS:
            wire["except"] = [_name(protocol) for protocol in self.named]
        if self.kinds is not None and self.protocol == ICMP:
            wire["icmp"] = _icmp(*self.kinds)
        elif self.protocol in (TCP, UDP):
            wire["from_port"], wire["to_port"] = self.kinds or PORTS
        texts = [_text(net) for low, high in self.sources for net in summarize_address_range(*_addresses(low, high))]
        wire["sources"] = texts[:SOURCES_SAID]
        if len(texts) > SOURCES_SAID:
            wire["more_sources"] = len(texts) - SOURCES_SAID
        return wire


@dataclass(frozen=True, slots=True)
class Loss:
    instance: str
    node: str | None
    """Where it is or was."""
    why: str
    lost: tuple[Lost, ...] = ()
    addresses: tuple[str, ...] = ()
    """At which it could be reached and cannot any more."""

    def to_wire(self) -> dict[str, Any]:
        return {
            "instance": self.instance,
            "node": self.node,
            "why": self.why,
            "lost": [one.to_wire() for one in self.lost],
            "addresses": list(self.addresses),
        }


def losses(before: Network, after: Network, changed: Iterable[Key]) -> list[Loss]:
    """By instance, ascending; those removed or no longer placed among them. Costs what the change touches."""
    keys = list(changed)
    then, now = _Admitted(before, after), _Admitted(after, after)
    found = []
    for key in sorted(_touched(before, after, keys)):
        was = before.instance(key)
        if was is None or was.node is None:
            continue
        loss = _loss(key, was, then, now)
        if loss is not None:
            found.append(loss)
    return found


def _loss(key: str, was: Instance, then: "_Admitted", now: "_Admitted") -> Loss | None:
    entries = then.entries(was.groups)
    instance = now.network.instance(key)
    if instance is None:
        return Loss(key, was.node, "it is removed", _lost(entries, ()), _at(then.network, key))
    if instance.node is None:
        return Loss(key, was.node, "no node has it any more", _lost(entries, ()), _at(then.network, key))
    lost = then.lost(was.groups, instance.groups, now)
    gone = (
        tuple(address for address in _at(then.network, key) if address not in _at(now.network, key)) if entries else ()
    )
    if not lost and not gone:
        return None
    return Loss(key, instance.node, "what reaches it is less" if lost else "it leaves an address", lost, gone)


def _at(network: Network, key: str) -> tuple[str, ...]:
    """The addresses that an instance is meant to be reached at."""
    instance = network.instance(key)
    assert instance is not None
    elastic = network.elastic_ip_of.get(key)
    return (str(instance.private_ip), *((elastic,) if elastic is not None else ()))


def _touched(before: Network, after: Network, keys: Collection[Key]) -> set[str]:
    """The instances that what was changed may matter to."""
    if any(kind == "network" for kind, _ in keys) and _same_group(before) != _same_group(after):
        return {key for key, _ in before.of_kind("instance")}
    instances: set[str] = set()
    groups: set[str] = set()
    for network in (before, after):
        moved = {key for kind, key in keys if kind == "instance"}
        moved |= {holder for kind, key in keys if kind == "elastic_ip" and (holder := network.holder(key))}
        instances |= moved
        sources = {group for key in moved if (one := network.instance(key)) for group in one.groups}
        groups |= {key for kind, key in keys if kind == "group"}
        groups |= {namer for group in sources for namer in network.namers.get(group, ())}
        if _same_group(network):
            groups |= sources
    return instances | {key for group in groups for key in before.in_group.get(group, ())}


def _same_group(network: Network) -> bool:
    return network.settings is not None and network.settings.same_group_traffic == "allow"


@dataclass(frozen=True, slots=True)
class _Entry:
    """Sources that are admitted by a protocol to a range of ports."""

    protocol: int
    kinds: Range
    sources: Ranges


@dataclass(slots=True)
class _Admitted:
    """What a network's groups admit; only sources that are still the same instance's in `later`."""

    network: Network
    later: Network
    _entries: dict[tuple[str, ...], tuple[_Entry, ...]] = field(default_factory=dict)
    _members: dict[str, Ranges] = field(default_factory=dict)
    _lost: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[Lost, ...]] = field(default_factory=dict)

    def lost(self, was: tuple[str, ...], groups: tuple[str, ...], now: "_Admitted") -> tuple[Lost, ...]:
        """The same for all instances that come from the same groups into the same."""
        if (was, groups) not in self._lost:
            self._lost[was, groups] = _lost(self.entries(was), now.entries(groups))
        return self._lost[was, groups]

    def entries(self, groups: tuple[str, ...]) -> tuple[_Entry, ...]:
        if groups not in self._entries:
            self._entries[groups] = tuple(self._read(groups))
        return self._entries[groups]

    def _read(self, groups: tuple[str, ...]) -> Iterator[_Entry]:
        for key in groups:
            group = self.network.group(key)
            for rule in group.ingress if group else ():
                sources = _of_net(rule.peer) if isinstance(rule.peer, IPv4Network) else self._of_group(rule.peer)
                if sources:
                    yield _Entry(rule.protocol, _kinds(rule), sources)
            if _same_group(self.network) and (sources := self._of_group(key)):
                yield _Entry(ALL, PORTS, sources)

    def _of_group(self, key: str) -> Ranges:
        if key not in self._members:
            addresses = [int(IPv4Address(one)) for one in self._held(self.network.in_group.get(key, ()))]
            self._members[key] = merged((one, one) for one in addresses)
        return self._members[key]

    def _held(self, instances: Iterable[str]) -> Iterator[str]:
        for key in instances:
            one, later = self.network.instance(key), self.later.instance(key)
            if one is not None and one.node is not None and later is not None and later.node is not None:
                yield from (address for address in _at(self.network, key) if address in _at(self.later, key))


def _of_net(net: IPv4Network) -> Ranges:
    return ((int(net.network_address), int(net.broadcast_address)),)


def _kinds(rule: Rule) -> Range:
    if rule.ports is not None:
        return rule.ports
    if rule.icmp_type is None:
        return PORTS
    if rule.icmp_code is None:
        return (rule.icmp_type * 256, rule.icmp_type * 256 + 255)
    return (rule.icmp_type * 256 + rule.icmp_code, rule.icmp_type * 256 + rule.icmp_code)


def _lost(before: tuple[_Entry, ...], after: tuple[_Entry, ...]) -> tuple[Lost, ...]:
    """What the first admit and the second do not; said once where it is the same for every protocol."""
    named = sorted({entry.protocol for entry in (*before, *after)} - {ALL})
    each = [_lost_by(protocol, before, after) for protocol in (*named, OTHERS)]
    every = [[replace(one, protocol=ALL) for one in found] for found in each]
    if all(found == every[-1] for found in every):
        return tuple(every[-1])
    return tuple(replace(one, named=tuple(named)) if one.protocol == OTHERS else one for found in each for one in found)


def _lost_by(protocol: int, before: tuple[_Entry, ...], after: tuple[_Entry, ...]) -> list[Lost]:
    """Piece by piece of the ports; neighbouring pieces that lost the same are one."""
    before, after = (tuple(one for one in found if one.protocol in (protocol, ALL)) for found in (before, after))
    found: list[tuple[Range, Ranges]] = []
    for low, high in segments([one.kinds for one in (*before, *after)]):
        lost = without(_sources(before, low), _sources(after, low))
        if lost and found and found[-1][1] == lost and found[-1][0][1] + 1 == low:
            found[-1] = ((found[-1][0][0], high), lost)
        elif lost:
            found.append(((low, high), lost))
    return [Lost(protocol, None if kinds == PORTS else kinds, sources) for kinds, sources in found]


def _sources(entries: Iterable[_Entry], at: int) -> Ranges:
    return merged(one for entry in entries if entry.kinds[0] <= at <= entry.kinds[1] for one in entry.sources)


def _name(protocol: int) -> str | int:
    return "others" if protocol == OTHERS else PROTOCOL_NAMES.get(protocol, protocol)


def _icmp(low: int, high: int) -> str:
    """8 is a type, 8/0 a type with a code, 3/0-5/255 from and to."""
    if low == high:
        return f"{low // 256}/{low % 256}"
    if (low % 256, high) == (0, low + 255):
        return str(low // 256)
    return f"{low // 256}/{low % 256}-{high // 256}/{high % 256}"


def _addresses(low: int, high: int) -> tuple[IPv4Address, IPv4Address]:
    return IPv4Address(low), IPv4Address(high)


def _text(net: IPv4Network) -> str:
    return str(net.network_address) if net.prefixlen == 32 else str(net)
