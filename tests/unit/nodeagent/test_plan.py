"""From any view to any other: the plan leads there, changes only what differs, and judges again exactly what it must."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nodeagent.desired.memo import Memo
from nodeagent.desired.node import desired
from nodeagent.nft.changes import AddElements, DeleteElements, Remove
from nodeagent.plan.difference import HandlesUnknown
from nodeagent.plan.host import FilterBridge, SilencePort
from nodeagent.plan.plan import Plan, plan
from nodeagent.state import generations, ownership
from nodeagent.state.host import Identity, Links, Port
from nodeagent.state.ruleset import Observed, SeenChain, SeenRule, SeenTable
from tests.unit.nodeagent.fake_nft import FakeNft
from tests.unit.nodeagent.policy import FACTS, LOCAL, PEERS, allowed, messages, wires
from tests.unit.nodeagent.wires import group, instance, rule, view
from verge.contract.members import format_address, parse_address
from verge.contract.view import View

SETTLED = Links(bridge_filtered=True)


class Node:
    """Views in, plans carried out on the fake."""

    def __init__(self, identity: Identity = Identity()) -> None:  # noqa: B008 - frozen
        self.kernel = FakeNft()
        self.identity = identity
        self.believed: Observed = {}
        self.memo = Memo()
        self.clock = 0
        self.used: set[tuple[int, int]] = set()

    def become(self, wanted: View | None, *, forgetful: bool = False) -> Plan:
        if forgetful:
            self.believed, self.memo = self.kernel.observed(), Memo()
        self.clock += 1
        target = desired(wanted, FACTS, self.memo, identity=self.identity)
        try:
            made = plan(self.believed, SETTLED, target, self.clock)
        except HandlesUnknown:
            self.believed = self.kernel.observed()
            made = plan(self.believed, SETTLED, target, self.clock)
        self.kernel.commit(made.changes)
        self.believed = made.after
        return made

    @property
    def generation_of(self) -> dict[int, Any]:
        return dict(self.kernel.observed()[ownership.IP].maps[generations.CURRENT].elements)


def without_handles(observed: Observed) -> Observed:
    return {
        name: SeenTable(
            table.sets,
            table.maps,
            {
                chain: SeenChain(tuple(SeenRule(one.hash, None) for one in seen.rules), seen.hook)
                for chain, seen in table.chains.items()
            },
        )
        for name, table in observed.items()
    }


paths = st.lists(st.tuples(wires(), st.booleans()), min_size=1, max_size=4)


@settings(max_examples=120, deadline=None)
@given(paths)
def test_every_plan_leads_where_it_says_and_changes_nothing_twice(path: list[tuple[dict[str, Any], bool]]) -> None:
    node = Node()
    node.become(None)
    for wire, forgetful in path:
        made = node.become(view(**wire), forgetful=forgetful)
        assert without_handles(node.kernel.observed()) == without_handles(made.after)
        assert not node.become(view(**wire)).changes, "a view that is in force changes nothing"
        assert not node.become(view(**wire), forgetful=True).changes, "nor to an agent that remembers nothing"
        added = [
            (change.name, one) for change in made.changes if isinstance(change, AddElements) for one in change.elements
        ]
        gone = [
            (change.name, one)
            for change in made.changes
            if isinstance(change, DeleteElements)
            for one in change.elements
        ]
        assert not set(added) & set(gone), "an element that stays is not touched"
    assert not node.kernel.redundant


@settings(max_examples=80, deadline=None)
@given(paths)
def test_the_path_does_not_matter(path: list[tuple[dict[str, Any], bool]]) -> None:
    memo = Memo()
    for wire, _ in path:
        assert desired(view(**wire), FACTS, memo) == desired(view(**wire), FACTS)
    travelled, direct = Node(), Node()
    for wire, forgetful in path:
        travelled.become(view(**wire), forgetful=forgetful)
    direct.become(view(**path[-1][0]))
    assert _policy(travelled) == _policy(direct)


def _policy(node: Node) -> Observed:
    found = without_handles(node.kernel.observed())
    table = found[ownership.IP]
    sets = {
        name: one for name, one in table.sets.items() if name not in (generations.VALID, generations.VALID_REVERSED)
    }
    maps = {name: one for name, one in table.maps.items() if name != generations.CURRENT}
    return {**found, ownership.IP: SeenTable(sets, maps, table.chains)}


@settings(max_examples=120, deadline=None)
@given(wires(), wires(), st.booleans(), st.lists(messages(), min_size=1, max_size=6))
def test_whatever_is_withdrawn_is_judged_again(
    before: dict[str, Any], after: dict[str, Any], forgetful: bool, sent: list[tuple[int, int, int]]
) -> None:
    node = Node()
    node.become(view(**before))
    old = node.generation_of
    node.become(view(**after), forgetful=forgetful)
    new = node.generation_of
    for number in LOCAL:
        was, is_ = before["instances"][f"i-{number}"], after["instances"][f"i-{number}"]
        lost = [
            (peer, message)
            for peer in PEERS
            for message in sent
            if allowed(before, was, peer, message, "ingress") and not allowed(after, is_, peer, message, "ingress")
        ]
        address = parse_address(was["private_ip"])
        assert not lost or new[address] > old[address]
        held = node.kernel.observed()[ownership.IP].sets
        for name, bit in ((generations.VALID, 0), (generations.VALID_REVERSED, generations.REVERSED)):
            marks = {one[1] for one in held[name].elements if one[0] == address}
            assert marks == {new[address] | bit}, "one valid generation each"


@settings(max_examples=60, deadline=None)
@given(wires(), st.data())
def test_what_is_only_added_judges_nothing_again(before: dict[str, Any], data: st.DataObject) -> None:
    after = {**before, "groups": dict(before["groups"]), "members": dict(before["members"])}
    more = data.draw(wires())
    for name in before["groups"]:
        was = before["groups"][name]
        after["groups"][name] = was | {"ingress": was["ingress"] + more["groups"][name]["ingress"]}
        after["members"][name] = sorted({*before["members"][name], *more["members"][name]})
    node = Node()
    node.become(view(**before))
    old = node.generation_of
    node.become(view(**after))
    assert node.generation_of == old


def test_draining_judges_nothing_again_but_a_new_owner_is_new() -> None:
    def wire(name: str, *rules: dict[str, Any]) -> View:
        return view({name: instance(1, ["sg-a"])}, {"sg-a": group(*rules)}, revoke="drain")

    node = Node()
    node.become(wire("i-1", rule("tcp", 22, cidr="0.0.0.0/0")))
    old = node.generation_of
    node.become(wire("i-1"))
    assert node.generation_of == old
    node.become(wire("i-2"))
    assert node.generation_of != old


def test_neighbours_keep_their_generation() -> None:
    def wire(*rules: dict[str, Any]) -> View:
        vms = {"i-1": instance(1, ["sg-a"]), "i-2": instance(2, ["sg-b"]), "i-3": instance(3, ["sg-a", "sg-b"])}
        return view(vms, {"sg-a": group(*rules), "sg-b": group(rule("tcp", 80, cidr="0.0.0.0/0"))})

    node = Node()
    node.become(wire(rule("tcp", 22, cidr="0.0.0.0/0")))
    made = node.become(wire())
    assert made.judged_again == 2
    assert node.generation_of == {
        parse_address("10.111.101.1"): 2,
        parse_address("10.111.101.2"): 1,
        parse_address("10.111.101.3"): 2,
    }


def test_a_generation_that_an_address_had_never_comes_back() -> None:
    with_vm, without = view({"i-1": instance(1)}), view({"i-2": instance(2)})
    node = Node()
    seen = []
    for _ in range(3):
        node.become(with_vm)
        seen.append(node.generation_of[parse_address("10.111.101.1")])
        node.become(without)
    assert len(set(seen)) == 3
    assert 0 not in seen


def test_one_member_of_twenty_thousand_is_one_element() -> None:
    addresses = [format_address(parse_address("10.200.0.0") + n) for n in range(20_000)]

    def wire(members: list[str]) -> View:
        groups = {"sg-a": group(rule("tcp", 22, group="sg-b")), "sg-b": group()}
        return view({"i-1": instance(1, ["sg-a"])}, groups, {"sg-a": ["10.111.101.1"], "sg-b": members})

    node = Node()
    node.become(wire(addresses))
    made = node.become(wire([*addresses, "10.201.0.1"]))
    (change,) = made.changes
    assert isinstance(change, AddElements)
    assert change.elements == ((parse_address("10.201.0.1"),),)


def test_a_set_that_mostly_changes_is_made_anew_beside_the_old() -> None:
    def wire(*ports: int) -> View:
        rules = [rule("tcp", port, cidr="0.0.0.0/0") for port in ports]
        return view({"i-1": instance(1, ["sg-a"])}, {"sg-a": group(*rules)})

    def deleted(made: Plan) -> int:
        boxes = [change for change in made.changes if isinstance(change, DeleteElements) if "/ports" in change.name]
        return sum(len(change.elements) for change in boxes)

    even, odd = range(0, 400, 2), range(1001, 1401, 2)
    node = Node()
    node.become(wire(*even))
    for step, wanted in enumerate((odd, even, odd)):
        made = node.become(wire(*wanted), forgetful=step == 1)
        assert deleted(made) == 0
        assert made.judged_again == 1
        name = "in/sg-a/ports" + ("/b" if step % 2 == 0 else "")
        assert [one for one in node.kernel.observed()[ownership.IP].sets if "/ports" in one] == [name]
        assert not node.become(wire(*wanted), forgetful=True).changes
        few = node.become(wire(*wanted[1:], 9999))
        assert deleted(few) == 1
        assert not [change for change in few.changes if isinstance(change, Remove)]
        node.become(wire(*wanted))


def test_what_others_put_into_our_tables_goes() -> None:
    node = Node()
    wanted = view({"i-1": instance(1)})
    node.become(wanted)
    seen = node.kernel.observed()
    table = seen[ownership.IP]
    chains = dict(table.chains)
    to_vm = chains["to_vm"]
    chains["to_vm"] = SeenChain((SeenRule("", 900), *to_vm.rules, SeenRule("", 901)), to_vm.hook)
    chains["theirs"] = SeenChain((SeenRule("", 902),))
    tampered = {**seen, ownership.IP: SeenTable(table.sets, table.maps, chains, frozenset({"counter x"}))}
    made = plan(tampered, SETTLED, desired(wanted, FACTS), 99)
    assert {change.handle for change in made.changes if hasattr(change, "handle")} == {900, 901}
    assert {change.what for change in made.changes if isinstance(change, Remove)} == {"chain theirs", "counter x"}
    assert made.judged_again == 1, "what a foreign rule let through is judged again"


def test_a_table_of_another_shape_is_replaced() -> None:
    node = Node()
    wanted = view({"i-1": instance(1)})
    node.become(wanted)
    seen = node.kernel.observed()
    table = seen[ownership.IP]
    base = table.chains["to_vm"]
    chains = {**table.chains, "postrouting": SeenChain(table.chains["postrouting"].rules, base.hook)}
    made = plan({**seen, ownership.IP: SeenTable(table.sets, table.maps, chains)}, SETTLED, desired(wanted, FACTS), 99)
    node.kernel.commit(made.changes)
    assert without_handles(node.kernel.observed()) == without_handles(made.after)


def test_what_closes_outside_nftables_comes_first() -> None:
    links = Links(
        bridge_filtered=False,
        ports={"vn_i-1": Port("br0", ipv6_disabled=False), "vn_i-2": Port("br0", ipv6_disabled=True)},
    )
    made = plan({}, links, desired(None, FACTS), 1)
    assert made.links == (FilterBridge(), SilencePort("vn_i-1"))
    assert not plan({}, SETTLED, desired(None, FACTS), 1).links
