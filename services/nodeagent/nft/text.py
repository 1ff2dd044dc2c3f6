"""Rules, elements and declarations as nft text. Text is made last, here; nothing reads it back."""

from functools import lru_cache
from hashlib import sha256
from typing import Final, assert_never

from nodeagent.state import ownership
from nodeagent.state.rule import (
    Accept,
    Action,
    Bits,
    Dispatch,
    Drop,
    Faster,
    Flag,
    Goto,
    In,
    Is,
    Jump,
    KeyType,
    Match,
    More,
    Note,
    OneOf,
    Rule,
    Stamp,
    Translate,
    TranslateBy,
    Verdict,
    Write,
)
from nodeagent.state.ruleset import Element, Hook, Map, Part, Set, Span
from verge.contract.members import format_address

FILLED_SIZE: Final = 65535
"""Of sets that the packet path fills: as many ports or addresses as one host can have. The kernel asks for a bound."""
FORGOTTEN_S: Final = {"rate": 60, "notes": 3600}
"""A rate that nothing has come up to for so long starts anew; what was noted is kept so long."""


def part(kind: KeyType, value: Part) -> str:
    """One part of a set element or one value of a rule."""
    if isinstance(value, Span):
        return _span(kind, value)
    match kind:
        case KeyType.IPV4:
            assert isinstance(value, int)
            return format_address(value)
        case KeyType.IFNAME:
            return f'"{value}"'
        case KeyType.RAW:
            return f"{value:#x}"
        case _:
            return str(value)


def _span(kind: KeyType, span: Span) -> str:
    if span.low == span.high:
        return part(kind, span.low)
    if kind is KeyType.IPV4:
        size = span.high - span.low + 1
        if size & (size - 1) == 0 and span.low & (size - 1) == 0:
            return f"{format_address(span.low)}/{32 - size.bit_length() + 1}"
    return f"{part(kind, span.low)}-{part(kind, span.high)}"


def element(key: tuple[KeyType, ...], value: Element) -> str:
    return " . ".join(map(part, key, value))


def map_element(spec: Map, key: int, data: int | Verdict) -> str:
    return f"{part(spec.key, key)} : {_data(spec, data)}"


def _data(spec: Map, data: int | Verdict) -> str:
    if not isinstance(data, int):
        return action(data)
    return format_address(data) if spec.data == "ipv4_addr" else str(data)


def action(value: Action) -> str:
    match value:
        case Accept():
            return "accept"
        case Drop(counted):
            return "counter drop" if counted else "drop"
        case Jump(chain):
            return f"jump {chain}"
        case Goto(chain):
            return f"goto {chain}"
        case Dispatch(field, name):
            return f"{field.text} vmap @{name}"
        case Stamp(field, name):
            return f"ct mark set {field.text} map @{name}"
        case Note(field, name):
            return f"update @{name} {{ {field.text} }}"
        case Write(field, text):
            return f"{field.text} set {text}"
        case Translate(side, address, port):
            return f"{side} to {format_address(address)}{'' if port is None else f':{port}'}"
        case TranslateBy(side, field, name):
            return f"{side} to {field.text} map @{name}"
        case _:
            assert_never(value)


def _match(value: Match) -> str:
    match value:
        case Is(field, values, negate):
            texts = [part(field.type, one) for one in values]
            operand = texts[0] if len(texts) == 1 else "{ " + ", ".join(texts) + " }"
            return f"{field.text} {'!= ' if negate else ''}{operand}"
        case In(fields, name, negate):
            return f"{' . '.join(field.text for field in fields)} {'!= ' if negate else ''}@{name}"
        case Flag(field, name, negate):
            return f"{field.text} & {name} {'==' if negate else '!='} 0"
        case Faster(field, name, rate, burst):
            return f"update @{name} {{ {field.text} limit rate over {rate}/second burst {burst} packets }}"
        case Bits(field, mask, wanted):
            return f"{field.text} & {mask:#x} == {wanted:#x}"
        case OneOf(number):
            return f"numgen random mod {number} 0"
        case More(field, name, most, shares):
            key = field.text if shares is None else f"{field.text} . numgen random mod {shares}"
            return f"add @{name} {{ {key} ct count over {most // (shares or 1)} }}"
        case _:
            assert_never(value)


@lru_cache(maxsize=8192)
def rule(value: Rule) -> str:
    """The rule without its comment."""
    return " ".join([*map(_match, value.matches), action(value.action)])


@lru_cache(maxsize=8192)
def rule_hash(value: Rule) -> str:
    """12 hex digits that tell this rule's text from every other's."""
    return sha256(rule(value).encode()).hexdigest()[:12]


def commented(value: Rule) -> str:
    return f'{rule(value)} comment "{ownership.comment(rule_hash(value))}"'


def hook(value: Hook) -> str:
    return f"type {value.type} hook {value.hook} priority {value.priority}; policy accept;"


def set_declaration(value: Set) -> str:
    flags = " flags interval;" if value.interval else _FILLED.get(value.fills, "")
    return f"type {' . '.join(kind.value for kind in value.key)};{flags}{_room(value.room)}"


_FILLED: Final = {
    **{
        fills: f" size {FILLED_SIZE}; flags dynamic,timeout; timeout {seconds}s;"
        for fills, seconds in FORGOTTEN_S.items()
    },
    "flows": f" size {FILLED_SIZE}; flags dynamic;",
}


def map_declaration(value: Map) -> str:
    return f"type {value.key.value} : {value.data};{_room(value.room)}"


def _room(room: int | None) -> str:
    return "" if room is None else f" size {room};"
