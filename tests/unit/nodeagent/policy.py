"""Random policies over a small world, and an independent reading of them: rule by rule, as the contract says."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

from hypothesis import strategies as st

from nodeagent.desired.node import desired
from nodeagent.state import ownership
from nodeagent.state.host import HostFacts
from nodeagent.state.rule import Field
from nodeagent.state.ruleset import Table
from tests.unit.nodeagent.trace import Packet
from tests.unit.nodeagent.wires import group, instance, rule, view

FACTS = HostFacts("br0", "br0")
LOCAL = (1, 2, 3)
ELASTIC = ("10.111.200.1", "10.111.200.2")
GROUPS = ("sg-a", "sg-b", "sg-c")
PEERS = ("10.111.101.1", "10.111.101.2", "10.111.101.200", "192.0.2.5", "192.0.2.133", "0.0.0.0", "255.255.255.255")
CIDRS = ("0.0.0.0/0", "192.0.2.0/24", "192.0.2.128/25", "192.0.2.5/32", "10.0.0.0/8", "10.111.101.2/32")
PORTS = (0, 1, 22, 79, 80, 81, 65534, 65535)
SEEN = 0xA
"""IPS_SEEN_REPLY and IPS_CONFIRMED."""
ANSWERS = {8: 0, 13: 14, 15: 16, 17: 18}

peers = st.one_of(
    st.sampled_from(CIDRS).map(lambda cidr: {"cidr": cidr}), st.sampled_from(GROUPS).map(lambda g: {"group": g})
)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    peer = draw(peers)
    protocol = draw(st.sampled_from(["tcp", "udp", "icmp", "all", 132, 47]))
    if protocol in ("tcp", "udp"):
        low, high = sorted((draw(st.sampled_from(PORTS)), draw(st.sampled_from(PORTS))))
        return rule(protocol, (low, high), **peer)
    if protocol == "icmp":
        kind = draw(st.sampled_from([None, 0, 3, 8, 13]))
        code = None if kind is None else draw(st.sampled_from([None, 0, 4]))
        given_ = {"icmp_type": kind, "icmp_code": code}
        return rule("icmp", **peer, **{key: value for key, value in given_.items() if value is not None})
    return rule(protocol, **peer)


@st.composite
def wires(draw: st.DrawFn) -> dict[str, Any]:
    elastic = draw(st.permutations([None, None, *ELASTIC]))
    member_sets = {name: draw(st.lists(st.sampled_from(PEERS), unique=True)) for name in GROUPS}
    return {
        "instances": {
            f"i-{n}": instance(n, draw(st.lists(st.sampled_from(GROUPS), unique=True)), elastic_ip=elastic[n])
            for n in LOCAL
        },
        "public_ips": [f"{ELASTIC[0]}-{ELASTIC[-1]}"],
        "groups": {
            name: group(*draw(st.lists(rules(), max_size=4)), egress=draw(st.none() | st.lists(rules(), max_size=3)))
            for name in GROUPS
        },
        "members": member_sets,
        "same_group_traffic": draw(st.sampled_from(["rules", "allow"])),
    }


@st.composite
def messages(draw: st.DrawFn) -> tuple[int, int, int]:
    """Protocol, and port or ICMP type and code."""
    protocol = draw(st.sampled_from([6, 17, 1, 132, 47, 50]))
    if protocol == 1:
        return protocol, draw(st.sampled_from([0, 3, 5, 8, 13])), draw(st.sampled_from([0, 1, 4]))
    return protocol, draw(st.sampled_from(PORTS)), 0


def allowed(wire: dict[str, Any], vm: dict[str, Any], peer: str, message: tuple[int, int, int], direction: str) -> bool:
    """The rules, read one by one."""
    groups = [wire["groups"][name] for name in vm["groups"]]
    if direction == "egress" and (not groups or any(one["egress"] is None for one in groups)):
        return True
    same = direction == "ingress" and wire["same_group_traffic"] == "allow"
    if same and any(peer in wire["members"][name] for name in vm["groups"]):
        return True
    return any(_names(wire, one, peer) and _means(one, message) for single in groups for one in single[direction])


def _names(wire: dict[str, Any], one: dict[str, Any], peer: str) -> bool:
    return IPv4Address(peer) in IPv4Network(one["cidr"]) if "cidr" in one else peer in wire["members"][one["group"]]


def _means(one: dict[str, Any], message: tuple[int, int, int]) -> bool:
    protocol, first, second = message
    match one["protocol"]:
        case "all":
            return True
        case "tcp" | "udp":
            return protocol == {"tcp": 6, "udp": 17}[one["protocol"]] and one["from_port"] <= first <= one["to_port"]
        case "icmp":
            return protocol == 1 and one.get("icmp_type", first) == first and one.get("icmp_code", second) == second
        case number:
            return number == protocol


def packet(
    source: str, destination: str, message: tuple[int, int, int], *, reply: bool = False, mark: int = 0
) -> Packet:
    protocol, first, second = message
    fields: dict[Field, Any] = {
        Field.IP_SADDR: int(IPv4Address(source)),
        Field.IP_DADDR: int(IPv4Address(destination)),
        Field.L4PROTO: protocol,
        Field.CT_DIRECTION: "reply" if reply else "original",
        Field.CT_STATE: "established" if reply or mark else "new",
        Field.CT_MARK: mark,
        Field.CT_STATUS: SEEN if reply or mark else 0,
        Field.DADDR_TYPE: "unicast",
    }
    if protocol == 1:
        fields |= {Field.ICMP_TYPE: ANSWERS.get(first, first) if reply else first, Field.ICMP_CODE: second}
    else:
        there, back = (first, 40000) if not reply else (40000, first)
        fields |= {Field.DPORT: there, Field.SPORT: back}
        if protocol == 17:
            fields |= {Field.UDP_DPORT: there, Field.UDP_SPORT: back}
    return Packet(fields)


def table_of(wire: dict[str, Any]) -> Table:
    return desired(view(**wire), FACTS).ruleset[ownership.IP]
