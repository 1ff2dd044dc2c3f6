"""The incremental check agrees with the check of everything, and every fault is named where it is."""

from copy import deepcopy

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.property.random_network import FIRST, histories, last_of, rebuilt, updates, walk
from tests.unit.viewserver.clouds import CLOUD, put
from viewserver.model.invariants import check_all
from viewserver.model.network import Network
from viewserver.model.objects import CLASSES
from viewserver.model.updates import Applied, apply, parse


@given(histories, updates)
def test_an_update_is_accepted_exactly_when_the_network_it_makes_is_whole(history, update):
    network = last_of(history)
    made = by_hand(network, update)
    outcome = apply(network, parse(update))
    faults = check_all(made)
    if isinstance(outcome, Applied):
        assert faults == []
        assert outcome.network == made
    else:
        assert faults, [fault.to_wire() for fault in outcome.faults]


def by_hand(network, update):
    """What the update says shall be so, without looking at anything it was before."""
    wire = network.to_wire()
    values = {("network", "network"): wire["network"]} if wire["network"] else {}
    values |= {(kind, key): one for kind in CLASSES if kind != "network" for key, one in wire[f"{kind}s"].items()}
    for operation in update:
        kind, key = operation["kind"], operation["id"]
        values.pop((kind, key), None)
        if operation["op"] == "put":
            values[kind, key] = operation["value"]
    network = Network()
    for (kind, key), one in values.items():
        parsed = parse([put(kind, key, **one)])
        assert not parsed.faults
        network = network.put(kind, key, parsed.operations[0].value)
    return network


@given(histories)
def test_no_sequence_of_updates_breaks_an_invariant(history):
    for _, outcome in walk(history):
        assert check_all(outcome.network) == []
        assert outcome.network == rebuilt(outcome.network)


@given(histories, updates)
def test_a_refusal_names_only_what_the_update_says(history, update):
    outcome = apply(last_of(history), parse(update))
    assume(not isinstance(outcome, Applied))
    for fault in outcome.faults:
        assert fault.pointer[0] == "operations"
        operation = update[fault.pointer[1]]
        assert fault.pointer[2] in operation
        assert fault.message


# Each spoils one operation of CLOUD at one place, by itself. None leans on what another spoils.
SPOILS = {
    ("zone-b", "gateway"): ("gateway", "10.9.9.9"),
    ("zone-b", "colour"): ("colour", "red"),
    ("nc-1", "gateway_mode"): ("gateway_mode", "bridge"),
    ("nc-2", "address"): ("address", "::1"),
    ("sg-web", "name"): ("name", 5),
    ("sg-app", "account"): ("account", ...),
    ("sg-idle", "ingress/0/cidr"): ("ingress", [{"protocol": "tcp", "cidr": "10.0.0.1/8"}]),
    ("sg-web", "egress/1"): ("egress", [{"protocol": "all", "cidr": "0.0.0.0/0"}, 7]),
    ("sg-app", "egress/0/group"): ("egress", [{"protocol": "all", "group": "sg-none"}]),
    ("i-web", "mac"): ("mac", "nonsense"),
    ("i-web", "groups/1"): ("groups", ["sg-web", "sg-none"]),
    ("i-app", "private_ip"): ("private_ip", "10.1.0.1"),
    ("i-app", "interface"): ("interface", "a/b"),
    ("i-db", "node"): ("node", "nc-9"),
    ("i-db", "zone"): ("zone", "zone-z"),
    ("i-far", "migrating_to"): ("migrating_to", "nc-3"),
    ("203.0.113.1", "instance"): ("instance", "i-none"),
    ("203.0.113.2", "instance"): ("instance", 7),
    ("network", "mtu"): ("mtu", 5),
    ("network", "dns_servers/0"): ("dns_servers", ["ns"]),
}


@given(st.sets(st.sampled_from(sorted(SPOILS)), min_size=1), st.randoms(), st.booleans())
def test_each_of_several_independent_faults_is_named_and_no_other(spoiled, order, fresh):
    """Whether the objects are new or there already, and wherever they stand in the update."""
    operations = deepcopy(CLOUD)
    order.shuffle(operations)
    places = {operation["id"]: index for index, operation in enumerate(operations)}
    expected = set()
    for key, pointer in spoiled:
        field, value = SPOILS[key, pointer]
        index = places[key]
        operations[index]["value"][field] = value
        if value is ...:
            del operations[index]["value"][field]
        expected.add(f"/operations/{index}/value/{pointer}")
    before = Network() if fresh else apply(Network(), parse(CLOUD)).network
    outcome = apply(before, parse(operations))
    assert not isinstance(outcome, Applied)
    assert {fault.to_wire()["pointer"] for fault in outcome.faults} == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def spoiled_anywhere(draw):
    """A good update with anything at all in some of its places."""
    operations = deepcopy(draw(st.sampled_from([CLOUD, FIRST])))
    for _ in range(draw(st.integers(1, 4))):
        place, steps = operations, []
        while isinstance(place, dict | list) and place and (not steps or draw(st.integers(0, 3))):
            steps.append(
                (place, draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place)))))
            )
            place = place[steps[-1][1]]
        if steps:
            into, step = steps[-1]
            into[step] = draw(JSON)
    return operations


@given(spoiled_anywhere())
def test_nothing_that_json_can_say_breaks_the_door(operations):
    outcome = apply(last_of([FIRST]), parse(operations))
    if isinstance(outcome, Applied):
        assert check_all(outcome.network) == []
        assert outcome.network == rebuilt(outcome.network)
    else:
        assert all(fault.pointer[0] == "operations" for fault in outcome.faults)


@given(JSON)
def test_nothing_at_all_breaks_the_door(wire):
    parse(wire)
    parse([wire])
    for kind in CLASSES:
        parse([{"op": "put", "kind": kind, "id": "network" if kind == "network" else "192.0.2.1", "value": wire}])
        parse([{"op": "put", "kind": kind, "id": wire, "value": {}}])
        parse([{"op": wire, "kind": kind, "id": "network", "value": {}}])
    parse([{"op": "delete", "kind": wire, "id": "network"}])
