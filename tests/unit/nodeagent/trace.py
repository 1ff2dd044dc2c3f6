"""Walks a packet through the typed ruleset, as nf_tables would: no kernel, and no text."""

from dataclasses import dataclass, field
from typing import Literal, assert_never

from nodeagent.state.rule import (
    Accept,
    Bits,
    Dispatch,
    Drop,
    Faster,
    Field,
    Flag,
    Goto,
    In,
    Is,
    Jump,
    KeyType,
    Match,
    More,
    OneOf,
    Stamp,
    Translate,
    TranslateBy,
    Verdict,
    Write,
)
from nodeagent.state.ruleset import Part, Set, Span, Table
from verge.contract.members import Members
from verge.contract.rule import UDP

STATUS = {"confirmed": 0x8, "snat": 0x10, "dnat": 0x20, "syn": 0x02, "0x80000000": 0x80000000}
"""IPS_CONFIRMED, IPS_SRC_NAT, IPS_DST_NAT; TH_SYN; the mark's bit of reversed flows."""

Fate = Literal["accept", "drop", "end"]
"""`end`: the chain ended without a verdict."""


@dataclass
class Packet:
    """What a packet has of the fields that rules look at; a field that is not here, the packet does not have."""

    fields: dict[Field, Part] = field(default_factory=dict)
    stamped: bool = False

    def __post_init__(self) -> None:
        """A port of UDP is one of the transport header's, too."""
        for named, plain in ((Field.UDP_SPORT, Field.SPORT), (Field.UDP_DPORT, Field.DPORT)):
            if named in self.fields:
                self.fields |= {plain: self.fields[named], Field.L4PROTO: UDP}


def walk(table: Table, chain: str, packet: Packet) -> Fate:
    for rule in table.chains[chain].rules:
        if not all(_matches(table, match, packet) for match in rule.matches):
            continue
        action = rule.action
        if isinstance(action, Write):
            packet.fields[action.field] = action.value
            continue
        if isinstance(action, Translate):
            _translate(packet, action.side, action.address)
            return "accept"
        if isinstance(action, Stamp | Dispatch | TranslateBy):
            found = table.maps[action.map].elements.get(packet.fields.get(action.field))  # type: ignore[arg-type]
            if found is None:
                continue
            if isinstance(action, TranslateBy):
                assert isinstance(found, int)
                _translate(packet, action.side, found)
                return "accept"
            if isinstance(action, Stamp):
                packet.stamped = True
                packet.fields[Field.CT_MARK] = found  # type: ignore[assignment]
                continue
            action = found  # type: ignore[assignment]
        assert isinstance(action, Accept | Drop | Jump | Goto), "nothing is beyond a limit, and nothing noted"
        fate = _act(table, action, packet)
        if fate != "end" or isinstance(action, Goto):
            return fate
    return "end"


def _translate(packet: Packet, side: str, address: int) -> None:
    status = packet.fields.get(Field.CT_STATUS, 0)
    assert isinstance(status, int)
    packet.fields[Field.CT_STATUS] = status | STATUS[side]
    if side == "dnat":
        packet.fields[Field.CT_FIRST_DADDR] = packet.fields[Field.IP_DADDR]
        packet.fields[Field.IP_DADDR] = address
    else:
        packet.fields[Field.IP_SADDR] = packet.fields[Field.CT_REPLY_DADDR] = address


def base(table: Table, chain: str, packet: Packet) -> bool:
    """Does the packet get past a base chain? All of ours have the policy accept."""
    assert table.chains[chain].hook
    return walk(table, chain, packet) != "drop"


def _act(table: Table, verdict: Verdict, packet: Packet) -> Fate:
    match verdict:
        case Accept():
            return "accept"
        case Drop():
            return "drop"
        case Jump(chain) | Goto(chain):
            return walk(table, chain, packet)
        case _:
            assert_never(verdict)


def _matches(table: Table, match: Match, packet: Packet) -> bool:
    match match:
        case Is(wanted, values, negate):
            if wanted not in packet.fields:
                return False  # the load fails, which ends the rule, negated or not
            return any(_equal(wanted, value, packet.fields[wanted]) for value in values) != negate
        case In(fields, name, negate):
            if any(one not in packet.fields for one in fields):
                return False
            return _contains(table.sets[name], tuple(packet.fields[one] for one in fields)) != negate
        case Flag(Field.TCP_FLAGS) if Field.TCP_FLAGS not in packet.fields:
            return False  # of another protocol, or the first of its flow, which is what most tests walk
        case Flag(wanted, name, negate):
            status = packet.fields.get(wanted, 0)
            assert isinstance(status, int)
            return bool(status & STATUS[name]) != negate
        case Bits(wanted, mask, value):
            bits = packet.fields.get(wanted, 0)
            assert isinstance(bits, int)
            return bits & mask == value
        case Faster() | More() | OneOf():
            return False  # a packet by itself is beyond no limit
        case _:
            assert_never(match)


def _equal(wanted: Field, value: Part, found: Part) -> bool:
    if wanted.type is KeyType.IFNAME and isinstance(value, str) and value.endswith("*"):
        return str(found).startswith(value[:-1])
    return value == found


def _contains(held: Set, key: tuple[Part, ...]) -> bool:
    if isinstance(held.elements, Members):
        return key[0] in held.elements
    if not held.interval:
        return key in held.elements
    return any(
        all(isinstance(span, Span) and span.low <= part <= span.high for span, part in zip(box, key, strict=True))  # type: ignore[operator]
        for box in held.elements
    )
