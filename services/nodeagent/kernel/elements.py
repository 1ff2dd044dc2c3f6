"""Elements of sets and maps, in and out, packed for the kernel by hand (linux/netfilter/nf_tables.h).

Most changes are a few elements, and before each of them libnftables reads all sets and chains there are: 3.5 ms of processor
time, where the kernel takes a fiftieth of it. All else that a transaction can hold is libnftables' to say.

    AddElements, DeleteElements          key; of boxes their lowest and their highest corner (nft_set_pipapo)
    AddMappings, DeleteMappings          key, and what it leads to

A set of plain intervals is another kind of set, whose elements are where spans begin and where they end: not packed.
"""

import struct
from collections.abc import Collection, Iterator
from typing import Final

from nodeagent.kernel.netlink import attribute
from nodeagent.nft.changes import AddElements, AddMappings, Change, DeleteElements, DeleteMappings
from nodeagent.state.rule import Accept, Drop, Goto, Jump, KeyType, Verdict
from nodeagent.state.ruleset import Element, Family, Part, Span, TableId

_NEW: Final = (10 << 8 | 12, 0x400)  # NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWSETELEM; NLM_F_CREATE
_DELETE: Final = (10 << 8 | 14, 0)  # NFT_MSG_DELSETELEM
FAMILIES: Final[dict[Family, int]] = {"ip": 2, "arp": 3, "bridge": 7}  # NFPROTO_*
_MOST: Final = 400
"""Elements of one message: the length of their list is in 16 bits."""
_NESTED: Final = 0x8000
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_ELEMENT, _KEY, _DATA, _KEY_END = 1, 1, 2, 10
_VALUE, _VERDICT, _CODE, _CHAIN = 1, 2, 1, 2
_DROP, _ACCEPT, _JUMP, _GOTO = 0, 1, -3, -4

Message = tuple[int, int, bytes]
"""Its type, its flags and its body."""
ElementChange = AddElements | DeleteElements | AddMappings | DeleteMappings


def messages(changes: Collection[Change]) -> list[Message] | None:
    """One behind the other, in this order. None: it takes more than elements, or others than can be packed."""
    if not all(isinstance(change, ElementChange) for change in changes):
        return None
    packed: list[Message] = []
    for change in changes:
        match change:
            case AddElements(table, name, key, elements) | DeleteElements(table, name, key, elements):
                if len(key) == 1 and any(isinstance(one[0], Span) for one in elements):
                    return None
                bodies = [_key(key, one) for one in elements]
            case AddMappings(table, name, spec, pairs):
                bodies = [_key((spec.key,), (key,)) + _data(spec.data, data) for key, data in pairs.items()]
            case DeleteMappings(table, name, spec, pairs):
                bodies = [_key((spec.key,), (key,)) for key in pairs]
            case _:
                return None
        how = _NEW if isinstance(change, AddElements | AddMappings) else _DELETE
        packed += ((*how, body) for body in _lists(table, name, bodies))
    return packed


def _lists(table: TableId, name: str, elements: list[bytes]) -> Iterator[bytes]:
    head = bytes([FAMILIES[table.family], 0, 0, 0])
    head += attribute(_LIST_TABLE, table.name.encode() + b"\0") + attribute(_LIST_SET, name.encode() + b"\0")
    for start in range(0, len(elements), _MOST):
        items = b"".join(attribute(_ELEMENT | _NESTED, one) for one in elements[start : start + _MOST])
        yield head + attribute(_LIST_ELEMENTS | _NESTED, items)


def _key(kinds: tuple[KeyType, ...], element: Element) -> bytes:
    packed = _named(_KEY, _corner(kinds, element, 0))
    if isinstance(element[0], Span):
        packed += _named(_KEY_END, _corner(kinds, element, 1))
    return packed


def _corner(kinds: tuple[KeyType, ...], element: Element, end: int) -> bytes:
    parts = [
        _part(kind, value[end] if isinstance(value, Span) else value)
        for kind, value in zip(kinds, element, strict=True)
    ]
    if len(parts) == 1:
        return parts[0]
    return b"".join(part + b"\0" * (-len(part) % 4) for part in parts)


def _part(kind: KeyType, value: Part) -> bytes:
    match kind, value:
        case KeyType.IPV4, int():
            return value.to_bytes(4, "big")
        case KeyType.PORT, int():
            return value.to_bytes(2, "big")
        case ((KeyType.PROTOCOL | KeyType.ICMP_TYPE | KeyType.ICMP_CODE), int()):
            return value.to_bytes(1, "big")
        case KeyType.MARK, int():
            return struct.pack("=I", value)
        case KeyType.ETHER, str():
            return bytes.fromhex(value.replace(":", ""))
        case KeyType.IFNAME, str():
            return struct.pack("16s", value.encode())
    raise ValueError(f"{value!r} is no {kind.value} of a set")


def _data(kind: str, data: int | Verdict) -> bytes:
    match data:
        case int():
            return _named(_DATA, _part(KeyType.IPV4 if kind == "ipv4_addr" else KeyType.MARK, data))
        case Accept():
            return _leading_to(_ACCEPT)
        case Drop():
            return _leading_to(_DROP)
        case Jump(chain):
            return _leading_to(_JUMP, chain)
        case Goto(chain):
            return _leading_to(_GOTO, chain)


def _named(what: int, value: bytes) -> bytes:
    return attribute(what | _NESTED, attribute(_VALUE, value))


def _leading_to(code: int, chain: str = "") -> bytes:
    verdict = attribute(_CODE, struct.pack("!i", code))
    if chain:
        verdict += attribute(_CHAIN, chain.encode() + b"\0")
    return attribute(_DATA | _NESTED, attribute(_VERDICT | _NESTED, verdict))
