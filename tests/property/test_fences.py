"""No address is ever in force on two nodes, whatever moves and whoever reports when.

Nodes fetch the view at the head whenever they like, apply it later, report later still; the server grants what was given
up. A node keeps what it has applied until it applies another view, also while it is silent and after it was removed.
"""

from hypothesis import given
from hypothesis import strategies as st

from tests.property.random_network import FIRST, INSTANCES, NODES, PUBLIC, operations, rebuilt
from tests.unit.viewserver.clouds import put
from viewserver.compile import view
from viewserver.compile.derived import Derived
from viewserver.errors import Malformed
from viewserver.model.fences import given_up
from viewserver.model.invariants import check_all
from viewserver.model.updates import parse
from viewserver.update import Lift, evaluate


@st.composite
def moves(draw):
    """An address on its way between two nodes of a zone."""
    if draw(st.booleans()):
        return put(
            "elastic_ip", draw(st.sampled_from(PUBLIC[:2])), instance=draw(st.sampled_from([None, *INSTANCES[:3]]))
        )
    number = draw(st.integers(0, 1))
    node = draw(st.sampled_from(["nc-1", "nc-2", None]))
    value = {
        "mac": f"d0:0d:00:00:00:{number + 1:02x}",
        "private_ip": f"10.1.0.{10 + number}",
        "groups": [],
        "account": "a",
    }
    if node is not None and draw(st.booleans()):
        value["migrating_to"] = {"nc-1": "nc-2", "nc-2": "nc-1"}[node]
    return put("instance", INSTANCES[number], node=node, zone=None if node else "zone-a", **value)


PARTS = st.sampled_from(["fetch", "enforce", "report", "apply", "apply"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("update"), st.lists(moves(), min_size=1, max_size=2)),
        st.tuples(st.just("update"), st.lists(operations, min_size=1, max_size=3)),
        st.tuples(PARTS, st.sampled_from(["nc-1", "nc-2"])),
        st.tuples(PARTS, st.sampled_from(sorted(NODES))),
        st.tuples(st.just("grant"), st.none()),
    ),
    max_size=40,
)


class World:
    """The server's side (network, versions, what it was told) and what really is in force on each node."""

    def __init__(self):
        self.derived, self.revision, self.versions = Derived.empty(), 0, {}
        self.told, self.in_force = {}, {node: frozenset() for node in NODES}
        self.fetched, self.enforced = {}, {}

    def applied(self, node):
        return self.told.get(node, 0)

    def commit(self, asked):
        try:
            outcome = evaluate(self.derived, asked, self.revision + 1, self.applied)
        except Malformed:
            return
        if not outcome.changed:
            return
        self.revision += 1
        self.derived = outcome.derived
        self.versions |= dict.fromkeys(outcome.affected, self.revision)
        for item in outcome.changed:
            if item.kind == "node" and item.after is None:
                self.told.pop(item.id, None)
                self.versions.pop(item.id, None)

    def step(self, kind, value):
        match kind:
            case "update":
                self.commit(parse(value))
            case "grant":
                self.grant()
            case "apply":
                self.apply(value)
            case "fetch" if self.derived.network.node(value) is not None:
                self.fetched[value] = (self.versions[value], self.holds(value))
            case "enforce" if value in self.fetched:
                self.enforced[value], self.in_force[value] = self.fetched[value]
            case "report" if value in self.enforced and self.derived.network.node(value) is not None:
                self.told[value] = self.enforced[value]

    def apply(self, node):
        for kind in ("fetch", "enforce", "report"):
            self.step(kind, node)

    def grant(self):
        network = self.derived.network
        ready = [address for address, one in network.fenced.items() if given_up(one, self.applied)]
        if ready:
            self.commit(Lift(tuple(sorted(ready))))
        return ready

    def holds(self, node):
        """The addresses that answer on a node which applies its view of now."""
        network = self.derived.network
        found = set()
        for key in view.sight(network, node).instances:
            wire = view.instance_wire(network, key)
            if wire["node"] == node:  # elsewhere its port is closed
                found |= {wire[name] for name in ("private_ip", "elastic_ip") if wire[name] is not None}
        return frozenset(found)


@given(STEPS)
def test_no_address_is_in_force_on_two_nodes(steps):
    world = World()
    world.commit(parse(FIRST))
    for node in sorted(NODES):
        world.apply(node)
    for kind, value in steps:
        world.step(kind, value)
        taken = {}
        for node, addresses in world.in_force.items():
            for address in addresses:
                assert address not in taken, f"{address} is in force on {taken[address]} and on {node}"
                taken[address] = node
        assert check_all(world.derived.network) == []
        assert world.derived.network == rebuilt(world.derived.network)
        assert world.derived.digests == Derived.of(world.derived.network).digests


@given(STEPS)
def test_when_every_node_has_applied_nothing_is_held_back_for_long(steps):
    """Of nodes that are there; those that were removed keep their addresses until an operator knows better."""
    world = World()
    world.commit(parse(FIRST))
    for kind, value in steps:
        world.step(kind, value)
    for _ in range(3):
        for node in sorted(NODES):
            world.apply(node)
        world.grant()
    network = world.derived.network
    for withdrawal in network.fenced.values():
        assert network.node(withdrawal.node) is None or world.versions[withdrawal.node] < withdrawal.revision
    for node, _ in network.of_kind("node"):
        world.apply(node)
        mine = {
            str(one.private_ip) for key in network.instances_at(node) if (one := network.instance(key)).node == node
        }
        assert world.in_force[node] >= mine - set(network.fenced)
