"""Elements packed by hand are to the kernel what they are in nft's words, and all of a transaction goes in or nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.host import Host
from nodeagent.kernel import KernelRefused, elements
from nodeagent.kernel.libnftables import Libnftables
from nodeagent.kernel.netlink import Nftables
from nodeagent.kernel.ruleset import KernelRuleset
from nodeagent.nft.changes import (
    AddChain,
    AddElements,
    AddMap,
    AddMappings,
    AddSet,
    AddTable,
    Change,
    DeleteElements,
    DeleteMappings,
)
from nodeagent.nft.transaction import transaction
from nodeagent.state.ownership import BRIDGE, IP
from nodeagent.state.rule import ACCEPT, DROP, Goto, Jump, KeyType
from nodeagent.state.ruleset import ROOM, Element, Map, Observed, Set, Span, TableId
from verge.contract.members import Members

_PLAIN: dict[tuple[TableId, str], tuple[Set, tuple[Element, ...]]] = {
    (IP, "addresses"): (Set((KeyType.IPV4,), Members.of(())), ((0,), (0x0A6F0101,), (0xFFFFFFFF,))),
    (IP, "stamps"): (
        Set((KeyType.IPV4, KeyType.MARK), frozenset(), room=ROOM),
        ((1, 1), (1, 0x80000001), (2, 0x12345)),
    ),
    (IP, "ports"): (
        Set((KeyType.IPV4, KeyType.PROTOCOL, KeyType.PORT), frozenset(), interval=True),
        (
            (Span(0x0A000000, 0x0AFFFFFF), Span(6, 6), Span(22, 22)),
            (Span(0, 0xFFFFFFFF), Span(17, 17), Span(1000, 65535)),
        ),
    ),
    (IP, "messages"): (
        Set((KeyType.ICMP_TYPE, KeyType.ICMP_CODE), frozenset(), interval=True),
        ((Span(8, 8), Span(0, 255)), (Span(3, 3), Span(4, 4))),
    ),
    (BRIDGE, "senders"): (
        Set((KeyType.IFNAME, KeyType.ETHER, KeyType.IPV4), frozenset()),
        (("vn_i-1", "d0:0d:00:00:00:01", 5), ("vn_i-1234567890", "d0:0d:00:00:00:02", 6)),
    ),
    (BRIDGE, "links"): (Set((KeyType.IFNAME,), frozenset()), (("eth0",), ("vn_i-1",))),
    (BRIDGE, "macs"): (Set((KeyType.ETHER, KeyType.IPV4), frozenset()), (("d0:0d:00:00:00:01", 7),)),
}
_MAPS = {
    (IP, "addressed"): (Map(KeyType.IPV4, "ipv4_addr", {}, ROOM), {1: 2, 0x0A000001: 0x0B000001}),
    (IP, "marked"): (Map(KeyType.IPV4, "mark", {}, ROOM), {1: 0x12345, 2: 0x80000001}),
    (IP, "led"): (Map(KeyType.IPV4, "verdict", {}), {1: ACCEPT, 2: DROP, 3: Goto("vm/one"), 4: Jump("vm/one")}),
}
MADE: tuple[Change, ...] = (
    AddTable(IP),
    AddTable(BRIDGE),
    AddChain(IP, "vm/one", None),
    *(AddSet(table, name, value) for (table, name), (value, _) in _PLAIN.items()),
    *(AddMap(table, name, value) for (table, name), (value, _) in _MAPS.items()),
)
MORE: tuple[Change, ...] = (
    *(AddElements(table, name, value.key, held) for (table, name), (value, held) in _PLAIN.items()),
    *(AddMappings(table, name, value, held) for (table, name), (value, held) in _MAPS.items()),
)
LESS: tuple[Change, ...] = (
    *(DeleteElements(table, name, value.key, held) for (table, name), (value, held) in _PLAIN.items()),
    *(DeleteMappings(table, name, value, held) for (table, name), (value, held) in _MAPS.items()),
)
ADDRESSES = (KeyType.IPV4,)


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host.create("alone")
    yield host
    host.delete()


class Held:
    """What is in the kernel, and the two ways into it."""

    def __init__(self) -> None:
        self.ruleset, self._nft, self._packed = KernelRuleset(), Libnftables(), Nftables()
        self.in_words(MADE)

    def in_words(self, changes: tuple[Change, ...]) -> Observed:
        self._nft.commit(transaction(changes))
        return self.ruleset.read()[0]

    def packed(self, changes: tuple[Change, ...]) -> Observed:
        messages = elements.messages(changes)
        assert messages
        self._packed.commit(messages)
        return self.ruleset.read()[0]

    def close(self) -> None:
        self.ruleset.close()
        self._nft.close()
        self._packed.close()


@pytest.fixture
def held(host: Host) -> Iterator[Held]:
    with host.entered():
        held = Held()
        yield held
        held.close()


def test_packed_and_in_words_are_the_same_elements(held: Held) -> None:
    empty, _ = held.ruleset.read()
    full = held.in_words(MORE)
    assert full != empty
    assert held.packed(LESS) == empty
    assert held.packed(MORE) == full
    assert held.in_words(LESS) == empty


def test_as_many_as_several_messages_hold(held: Held) -> None:
    many = tuple((number,) for number in range(1000))
    seen = held.packed((AddElements(IP, "addresses", ADDRESSES, many),))
    assert seen[IP].sets["addresses"].elements == Members.of(range(1000))


def test_what_the_kernel_refuses_goes_in_not_even_in_part(held: Held) -> None:
    before, generation = held.ruleset.read()
    for absent in (DeleteElements(IP, "addresses", ADDRESSES, ((9,),)), AddElements(IP, "absent", ADDRESSES, ((9,),))):
        more = AddElements(IP, "addresses", ADDRESSES, ((1,),))
        for changes in ((absent, more), (more, absent)):
            with pytest.raises(KernelRefused):
                held.packed(changes)
            with pytest.raises(KernelRefused, match=r"Could not process rule|No such file"):
                held.ruleset.commit(changes)
    assert held.ruleset.read() == (before, generation)


def test_what_is_more_than_elements_is_not_packed() -> None:
    more = AddElements(IP, "addresses", ADDRESSES, ((1,),))
    assert elements.messages((more,))
    assert elements.messages((more, AddChain(IP, "vm/two", None))) is None
    assert elements.messages((AddElements(IP, "ranges", ADDRESSES, ((Span(1, 2),),)),)) is None
