"""What the chains of a view let through equals what its rules say, read one by one."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nodeagent.desired.node import desired
from nodeagent.state import generations, ownership
from nodeagent.state.rule import Field
from tests.unit.nodeagent.policy import ANSWERS, FACTS, LOCAL, PEERS, allowed, messages, packet, table_of, wires
from tests.unit.nodeagent.trace import base
from tests.unit.nodeagent.wires import group, instance, rule, view


@settings(max_examples=150, deadline=None)
@given(wires(), st.sampled_from(LOCAL), st.sampled_from(PEERS), messages())
def test_a_new_flow_to_an_instance_passes_as_its_rules_say(
    wire: dict[str, Any], number: int, peer: str, message: tuple[int, int, int]
) -> None:
    vm = wire["instances"][f"i-{number}"]
    passed = base(table_of(wire), "postrouting", packet(peer, vm["private_ip"], message))
    assert passed == allowed(wire, vm, peer, message, "ingress")


@settings(max_examples=150, deadline=None)
@given(wires(), st.sampled_from(LOCAL), st.sampled_from(PEERS), messages())
def test_a_reply_whose_stamp_is_stale_passes_as_its_flow_would(
    wire: dict[str, Any], number: int, peer: str, message: tuple[int, int, int]
) -> None:
    if message[0] == 1 and message[1] not in ANSWERS:
        return  # nothing answers it
    vm = wire["instances"][f"i-{number}"]
    passed = base(table_of(wire), "prerouting", packet(vm["private_ip"], peer, message, reply=True, mark=4711))
    assert passed == allowed(wire, vm, peer, message, "ingress")


@settings(max_examples=150, deadline=None)
@given(wires(), st.sampled_from(LOCAL), st.sampled_from(PEERS), messages())
def test_what_an_instance_sends_and_its_answers_pass_as_its_egress_says(
    wire: dict[str, Any], number: int, peer: str, message: tuple[int, int, int]
) -> None:
    vm = wire["instances"][f"i-{number}"]
    table, may = table_of(wire), allowed(wire, vm, peer, message, "egress")
    if peer != vm["private_ip"]:
        assert base(table, "prerouting", packet(vm["private_ip"], peer, message)) == may
    if message[0] != 1 or message[1] in ANSWERS:
        assert base(table, "postrouting", packet(peer, vm["private_ip"], message, reply=True)) == may


def test_what_a_view_does_not_allow_to_the_host_is_dropped() -> None:
    table = table_of({"instances": {"i-1": instance(1)}})
    ssh = (6, 22, 0)
    assert not base(table, "input", packet("10.111.101.1", "10.111.0.101", ssh))
    assert not base(table, "input", packet("10.111.101.77", "10.111.0.101", ssh)), "an instance of another node"
    assert base(table, "input", packet("10.111.101.1", "10.111.0.101", ssh, reply=True)), "answers to the host"
    assert base(table, "input", packet("10.111.1.1", "10.111.0.101", ssh)), "not an instance"
    open_table = table_of({"instances": {"i-1": instance(1)}, "vm_to_host": "allow"})
    assert base(open_table, "input", packet("10.111.101.1", "10.111.0.101", ssh))


def test_the_host_reaches_instances_if_it_may() -> None:
    from_host, forged = (packet("10.111.0.101", "10.111.101.1", (6, 22, 0)) for _ in range(2))
    table = table_of({"instances": {"i-1": instance(1)}})
    # the plan fills the generations in
    held = dict(table.maps), dict(table.sets)
    held[0][generations.CURRENT] = replace(
        table.maps[generations.CURRENT], elements={from_host.fields[Field.IP_DADDR]: 7}
    )
    pairs = frozenset({(from_host.fields[Field.IP_DADDR], 7)})
    held[1][generations.VALID] = replace(table.sets[generations.VALID], elements=pairs)
    table = replace(table, maps=held[0], sets=held[1])
    assert base(table, "output", from_host)
    assert base(table, "postrouting", from_host)
    assert not base(table, "postrouting", forged), "from the network it does not pass the output chain"
    denied = packet("10.111.0.101", "10.111.101.1", (6, 22, 0))
    closed = table_of({"instances": {"i-1": instance(1)}, "host_to_vm": "deny"})
    assert not (base(closed, "output", denied) and base(closed, "postrouting", denied))


def test_a_range_that_is_a_whole_subnet_does_not_cut_the_host_off() -> None:
    table = table_of({"instances": {"i-1": instance(1)}, "private_ranges": ["10.111.0.0-10.111.255.255"]})
    assert base(table, "input", packet("10.111.1.1", "10.111.0.101", (6, 22, 0)))
    assert base(table, "input", packet("10.111.7.7", "10.111.0.101", (6, 22, 0)))


def test_nonsense_in_a_rule_closes_that_rule_alone() -> None:
    bad = [
        rule(300, cidr="0.0.0.0/0"),
        rule("tcp", (5, 4), cidr="0.0.0.0/0"),
        rule("icmp", icmp_type=999, cidr="0.0.0.0/0"),
    ]
    found = desired(
        view({"i-1": instance(1, ["sg-a"])}, {"sg-a": group(*bad, rule("tcp", 22, cidr="0.0.0.0/0"))}), FACTS
    )
    assert [failure.object for failure in found.failures] == ["groups/sg-a"] * 3
    table = found.ruleset[ownership.IP]
    assert base(table, "postrouting", packet("192.0.2.5", "10.111.101.1", (6, 22, 0)))
    assert not base(table, "postrouting", packet("192.0.2.5", "10.111.101.1", (6, 4, 0)))


def test_a_group_that_the_view_lacks_lets_nothing_through() -> None:
    found = desired(view({"i-1": instance(1, ["sg-gone"])}), FACTS)
    assert [failure.object for failure in found.failures] == ["instances/i-1"]
    table = found.ruleset[ownership.IP]
    assert not base(table, "postrouting", packet("192.0.2.5", "10.111.101.1", (6, 22, 0)))
    assert not base(table, "prerouting", packet("10.111.101.1", "192.0.2.5", (6, 22, 0)))
