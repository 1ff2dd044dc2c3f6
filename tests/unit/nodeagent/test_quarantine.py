"""What is remembered of refusals, when it is tried again, and what leaving a part out means."""

from collections.abc import Collection

from nodeagent.desired.node import desired
from nodeagent.desired.parts import Part, parts, rules_of, without
from nodeagent.quarantine import Quarantine
from nodeagent.state import ownership
from nodeagent.state.host import HostFacts
from nodeagent.state.rule import ACCEPT, DROP, Goto
from tests.unit.nodeagent.wires import group, instance, rule, view
from verge.contract.members import parse_address
from verge.contract.report import Failure

FACTS = HostFacts("br0", "br0")
GROUP, INSTANCE, ELASTIC = Part("groups", "sg-a"), Part("instances", "i-1"), Part("elastic_ips", "10.111.200.1")
WHY = Failure("groups/sg-a", "ruleset", "No buffer space available")


def small(port: int = 22, **other: object) -> object:
    return view({"i-1": instance(1, ["sg-a"])}, {"sg-a": group(rule("tcp", port, cidr="10.0.0.0/8"))}, **other)


def test_it_is_tried_again_later_and_later_and_when_it_changes() -> None:
    quarantine, seen = Quarantine(), small()
    quarantine.keep(seen, {GROUP: WHY}, {GROUP}, 1000)
    assert quarantine.due(seen, 1029) == {GROUP: WHY}
    assert quarantine.due(seen, 1030) == {}
    quarantine.keep(seen, {GROUP: WHY}, {GROUP}, 1030)
    assert quarantine.due(seen, 1089) == {GROUP: WHY}
    assert quarantine.due(seen, 1090) == {}
    assert quarantine.due(seen, 999) == {}, "a clock that jumped back keeps nobody waiting"
    assert quarantine.known(seen) == {GROUP: WHY}, "until it has gone in, it is known"
    assert quarantine.known(small(23)) == {}
    assert quarantine.known(small(members={"sg-a": ["10.0.0.9"]})) == {GROUP: WHY}, "others' changes are not its own"
    for now in range(2000, 200_000, 2000):
        quarantine.keep(seen, {GROUP: WHY}, {GROUP}, now)
    assert quarantine.due(seen, now + 1799) == {GROUP: WHY}
    assert quarantine.due(seen, now + 1800) == {}
    quarantine.keep(seen, {}, (), 300_000)
    assert quarantine.known(seen) == {}


def test_one_that_was_not_tried_waits_on() -> None:
    quarantine, seen = Quarantine(), small()
    quarantine.keep(seen, {GROUP: WHY}, {GROUP}, 1000)
    quarantine.keep(seen, {GROUP: WHY}, (), 1020)
    assert quarantine.due(seen, 1030) == {}


def test_a_search_goes_into_the_rules_of_a_group() -> None:
    bad = rule("tcp", 23, cidr="10.0.0.0/8")
    seen = view(
        {"i-1": instance(1, ["sg-a"])},
        {"sg-a": group(rule("tcp", 22, cidr="10.0.0.0/8"), bad, rule("udp", 1, group="sg-a"))},
    )

    def attempt(left_out: Collection[Part]) -> str | None:
        left = without(seen, left_out)
        poison = [one for found in left.groups.values() for one in found.ingress if one.ports == (23, 23)]
        return "no" if poison else None

    found = Quarantine().search(seen, attempt, "ruleset")
    assert found is not None
    ((part, failure),) = found.items()
    assert part in rules_of(seen, GROUP)
    assert failure == Failure(
        "groups/sg-a", "ruleset", "ingress rule protocol=tcp from_port=23 to_port=23 cidr=10.0.0.0/8: no"
    )


def test_where_no_part_is_to_blame_none_is_named() -> None:
    assert Quarantine().search(small(), lambda _: "Operation not permitted", "ruleset") is None
    assert Quarantine().search(small(), lambda _: None, "ruleset") is None, "it would go in now"


def test_what_is_left_out_is_closed() -> None:
    seen = view(
        {"i-1": instance(1, ["sg-a", "sg-b"], elastic_ip="10.111.200.1"), "i-2": instance(2, ["sg-b"])},
        {"sg-a": group(rule(cidr="0.0.0.0/0")), "sg-b": group(rule("tcp", 22, group="sg-a"), egress=[])},
        public_ips=["10.111.200.1"],
    )
    assert [part.object for part in parts(seen)] == [
        "groups/sg-a",
        "groups/sg-b",
        "members/sg-a",
        "members/sg-b",
        "instances/i-1",
        "instances/i-2",
        "elastic_ips/10.111.200.1",
    ]

    def leaving(*gone: Part) -> tuple[object, object]:
        found = desired(seen, FACTS, left_out=dict.fromkeys(gone, WHY))
        assert found.failures == (WHY,) * len(gone)
        return found, found.ruleset[ownership.IP]

    first = parse_address("10.111.101.1")
    whole = desired(seen, FACTS).ruleset[ownership.IP]
    assert whole.maps["vm_out"].elements[first] == ACCEPT, "of one group without egress rules"

    _, table = leaving(GROUP)
    assert table.maps["vm_out"].elements[first] == Goto("vm/i-1/out"), "whose limits nobody knows now"
    assert table.chains["vm/i-1/in"].rules == whole.chains["vm/i-2/in"].rules

    _, table = leaving(GROUP, Part("groups", "sg-b"))
    assert [one.action for one in table.chains["vm/i-1/in"].rules] == [DROP]

    _, table = leaving(Part("members", "sg-a"))
    assert not table.sets["members/sg-a"].elements

    found, table = leaving(ELASTIC)
    assert found.elastic == ()
    assert first in table.maps["vm_in"].elements

    found, table = leaving(INSTANCE)
    assert found.quarantined == {"i-1"}
    assert list(found.interfaces) == ["i-2"]
    assert first not in table.maps["vm_in"].elements
    assert first in table.sets["local4"].elements, "so that what is sent there finds no rule, and not the open"
