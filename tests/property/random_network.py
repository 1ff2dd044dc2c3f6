"""Random updates of a small cloud.

Ids, addresses and ports come from small sets, so that objects meet: they share groups, lean on each other, take what
another has just given up. Most updates are valid; the others must be refused.
"""

from hypothesis import strategies as st

from tests.unit.viewserver.clouds import delete, put
from viewserver.model.network import Network
from viewserver.model.objects import to_wire
from viewserver.model.updates import Applied, apply, parse

ZONES = {"zone-a": "10.1.0", "zone-b": "10.2.0"}
NODES = {"nc-1": "zone-a", "nc-2": "zone-a", "nc-3": "zone-b", "nc-4": "zone-b"}
GROUPS = [f"sg-{number}" for number in range(4)]
INSTANCES = [f"i-{number}" for number in range(6)]
PUBLIC = [f"203.0.113.{number}" for number in range(1, 5)]
POOL = range(10, 18)

ACCOUNTS = st.sampled_from(["alice", "bob"])


def maybe(strategy):
    return st.none() | strategy


@st.composite
def networks(draw):
    return put(
        "network",
        "network",
        dns_servers=["10.0.0.2"],
        public_ips=[draw(st.sampled_from(["203.0.113.1-203.0.113.4", "203.0.113.1-203.0.113.3"]))],
        same_group_traffic=draw(st.sampled_from(["rules", "allow"])),
        gateway_mode=draw(st.sampled_from(["impersonate", "router"])),
        subnets=draw(st.sampled_from([[], ["10.9.0.0/24"], ["10.1.0.128/25"]])),
        mtu=draw(st.sampled_from([None, 1400])),
    )


@st.composite
def zones(draw):
    name = draw(st.sampled_from(sorted(ZONES)))
    net = ZONES[name]
    return put(
        "zone",
        name,
        subnet=f"{net}.0/24",
        gateway=f"{net}.1",
        private_ips=[draw(st.sampled_from([f"{net}.10-{net}.17", f"{net}.10-{net}.16"]))],
    )


@st.composite
def nodes(draw):
    name = draw(st.sampled_from(sorted(NODES)))
    return put(
        "node",
        name,
        zone=draw(st.sampled_from([NODES[name]] * 9 + ["zone-a"])),
        address=f"192.0.2.{draw(st.integers(1, 6))}",
        gateway_mode=draw(maybe(st.just("node"))),
    )


@st.composite
def rules(draw):
    ports = draw(st.sampled_from([{}, {"from_port": 22, "to_port": 22}, {"from_port": 0, "to_port": 65535}]))
    peer = draw(st.sampled_from([{"cidr": "0.0.0.0/0"}, {"cidr": "10.0.0.0/8"}, *({"group": one} for one in GROUPS)]))
    protocol = draw(st.sampled_from(["tcp", 17, "all", "icmp", 132]))
    return {"protocol": protocol, **(ports if protocol in ("tcp", 17) else {}), **peer}


@st.composite
def groups(draw):
    return put(
        "group",
        draw(st.sampled_from(GROUPS)),
        name="g",
        account=draw(ACCOUNTS),
        ingress=draw(st.lists(rules(), max_size=3)),
        egress=draw(maybe(st.lists(rules(), max_size=2))),
    )


@st.composite
def instances(draw):
    key = draw(st.sampled_from(INSTANCES))
    node = draw(maybe(st.sampled_from(sorted(NODES))))
    zone = NODES[node] if node else draw(st.sampled_from(sorted(ZONES)))
    value = {
        "node": node,
        "zone": zone if node is None else draw(st.sampled_from([None, zone])),
        "mac": f"d0:0d:00:00:00:{draw(st.integers(1, 9)):02x}",
        "private_ip": f"{ZONES[zone]}.{draw(st.sampled_from(POOL))}",
        "groups": draw(st.lists(st.sampled_from(GROUPS), max_size=3)),
        "account": draw(ACCOUNTS),
    }
    if draw(st.integers(0, 4)) == 0:
        value["interface"] = draw(st.sampled_from(["eth7", "vn_i-0"]))
    if draw(st.integers(0, 2)) == 0:
        value["migrating_to"] = draw(st.sampled_from(sorted(NODES)))
    return put("instance", key, **value)


@st.composite
def elastic_ips(draw):
    return put("elastic_ip", draw(st.sampled_from(PUBLIC)), instance=draw(maybe(st.sampled_from(INSTANCES))))


def deletes():
    keys = [
        *(("zone", key) for key in ZONES),
        *(("node", key) for key in NODES),
        *(("group", key) for key in GROUPS) ,
        *(("instance", key) for key in INSTANCES * 2),
        *(("elastic_ip", key) for key in PUBLIC * 2),
    ]  # fmt: skip
    return st.sampled_from(keys).map(lambda key: delete(*key))


operations = st.one_of(
    instances(), instances(), elastic_ips(), groups(), deletes(), st.one_of(nodes(), zones(), networks())
)
updates = st.lists(operations, min_size=1, max_size=4)


def _first():
    yield put("network", "network", dns_servers=["10.0.0.2"], public_ips=["203.0.113.1-203.0.113.4"])
    for name, net in ZONES.items():
        yield put("zone", name, subnet=f"{net}.0/24", gateway=f"{net}.1", private_ips=[f"{net}.10-{net}.17"])
    for number, (name, zone) in enumerate(NODES.items(), 1):
        yield put("node", name, zone=zone, address=f"192.0.2.{number}")
    for number, key in enumerate(GROUPS):
        ingress = [{"protocol": "tcp", "group": GROUPS[number - 1]}]
        yield put("group", key, name="g", account="alice", ingress=ingress)
    for number, key in enumerate(INSTANCES):
        node = sorted(NODES)[number % 4]
        yield put(
            "instance",
            key,
            node=node,
            mac=f"d0:0d:00:00:00:{number + 1:02x}",
            private_ip=f"{ZONES[NODES[node]]}.{10 + number}",
            groups=[GROUPS[number % 4]],
            account="alice",
        )
    yield put("elastic_ip", PUBLIC[0], instance=INSTANCES[0])


FIRST = list(_first())
histories = st.lists(updates, min_size=1, max_size=10).map(lambda later: [FIRST, *later])


def walk(history, network=None):
    """(network before, the update as applied) for each update of the history that is valid."""
    network = Network() if network is None else network
    for operations_ in history:
        outcome = apply(network, parse(operations_))
        if isinstance(outcome, Applied):
            yield network, outcome
            network = outcome.network


def last_of(history):
    network = Network()
    for _, outcome in walk(history):
        network = outcome.network
    return network


def rebuilt(network, order=None):
    """The same objects put one by one into a network that never held others, in any order."""
    objects = [(key, to_wire(key[0], value)) for key, value in network.objects.items()]
    objects.sort(key=lambda one: one[0])
    if order is not None:
        order.shuffle(objects)
    return Network.from_objects(dict(objects))
