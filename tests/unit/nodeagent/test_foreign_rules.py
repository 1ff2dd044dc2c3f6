"""What others' chains do to packets of instances, as far as it is certain."""

from ipaddress import IPv4Network
from typing import Any

import pytest

from nodeagent.preflight.facts import Hook, Table
from nodeagent.preflight.packets import Packet, walk

SUBNET = IPv4Network("10.111.0.0/16")
FROM = Packet("br0", "br0", SUBNET, None)
ASKS = Packet("br0", None, None, None, "udp", 67)
ACCEPT, DROP = {"accept": None}, {"drop": None}


def match(left: dict[str, Any], right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def iif(name: Any, op: str = "==") -> dict[str, Any]:
    return match({"meta": {"key": "iifname"}}, name, op)


def oif(name: Any, op: str = "==") -> dict[str, Any]:
    return match({"meta": {"key": "oifname"}}, name, op)


def source(value: Any) -> dict[str, Any]:
    return match({"payload": {"protocol": "ip", "field": "saddr"}}, value)


def state(*names: str) -> dict[str, Any]:
    return match({"ct": {"key": "state"}}, list(names), "in")


def jump(chain: str) -> dict[str, Any]:
    return {"jump": {"target": chain}}


def table(*rules: list[Any], policy: str = "accept", sets: dict[str, Any] | None = None, **chains: list[Any]) -> Table:
    every = {"c": tuple(map(tuple, rules))} | {name: tuple(map(tuple, rules)) for name, rules in chains.items()}
    return Table("ip", "filter", (Hook("c", "forward", policy == "drop"),), every, sets or {})


def dropped(of: Table, packet: Packet = FROM) -> bool:
    return walk(of, of.hooks[0], packet) is not None


PASSED = {
    "nothing": table(),
    "policy drop behind a certain accept": table([iif("br0"), ACCEPT], policy="drop"),
    "an accept by one of several": table([iif({"set": ["virbr0", "br0"]}), ACCEPT], policy="drop"),
    "an accept by a set": table([iif("@mine"), ACCEPT], policy="drop", sets={"mine": ("br0",)}),
    "an accept by pattern": table([iif("br*"), ACCEPT], policy="drop"),
    "an accept of all others": table([iif("docker0", "!="), ACCEPT], policy="drop"),
    "an accept of what is new": table([state("new", "established"), ACCEPT], policy="drop"),
    "an accept in a chain": table([jump("DOCKER-USER")], policy="drop", **{"DOCKER-USER": [[oif("br0"), ACCEPT]]}),
    "an accept of the network": table([source({"prefix": {"addr": "10.0.0.0", "len": 8}}), ACCEPT], policy="drop"),
    "a drop on another bridge": table([iif("virbr0"), {"reject": None}]),
    "a drop of the invalid": table([state("invalid"), DROP]),
    "a drop of another network": table([source({"prefix": {"addr": "172.17.0.0", "len": 16}}), DROP]),
    "a drop of some": table([source("10.111.101.94"), DROP]),
    "a drop that an extension decides": table([{"xt": None}, DROP]),
    "a drop behind a limit": table([{"limit": {"rate": 1}}, DROP]),
    "a chain that returns before its drop": table([jump("x")], x=[[iif("br0"), {"return": None}], [DROP]]),
    "a chain for others": table([iif("docker0"), jump("x")], x=[[DROP]]),
}
DROPPED = {
    "policy drop": table(policy="drop"),
    "policy drop, others accepted": table([iif("docker0"), ACCEPT], policy="drop"),
    "policy drop, replies accepted": table([state("established", "related"), ACCEPT], policy="drop"),
    "policy drop, an accept that may be meant for others": table([{"xt": None}, ACCEPT], policy="drop"),
    "policy drop, a part of the network accepted": table([source("10.111.101.94"), ACCEPT], policy="drop"),
    "policy drop, an unknown set": table([iif("@theirs"), ACCEPT], policy="drop"),
    "a drop of everything": table([DROP]),
    "a reject in a chain": table([jump("x")], x=[[jump("y")]], y=[[{"reject": {"type": "icmp"}}]]),
    "a goto is not come back from": table([{"goto": {"target": "x"}}], [ACCEPT], policy="drop", x=[]),
    "a drop before the accept": table([oif("br0"), DROP], [iif("br0"), ACCEPT]),
    "a drop of the whole network": table([source({"prefix": {"addr": "10.0.0.0", "len": 8}}), DROP]),
    "a drop of a range": table([source({"range": ["10.0.0.0", "10.255.255.255"]}), DROP]),
    "a chain that jumps to itself": table([jump("c")], policy="drop"),
}


@pytest.mark.parametrize("what", PASSED)
def test_passes(what: str) -> None:
    assert not dropped(PASSED[what])


@pytest.mark.parametrize("what", DROPPED)
def test_is_dropped(what: str) -> None:
    assert dropped(DROPPED[what])


def test_a_port_that_is_let_in() -> None:
    port = match({"payload": {"protocol": "udp", "field": "dport"}}, 67)
    ssh = match({"payload": {"protocol": "tcp", "field": "dport"}}, 22)
    assert dropped(table([ssh, ACCEPT], policy="drop"), ASKS)
    assert not dropped(table([ssh, ACCEPT], [port, ACCEPT], policy="drop"), ASKS)
    assert not dropped(table([iif("br0"), port, ACCEPT], policy="drop"), ASKS)
    assert dropped(table([iif("virbr0"), port, ACCEPT], policy="drop"), ASKS)


def test_the_culprit_is_named() -> None:
    of = table([jump("DOCKER-FORWARD")], **{"DOCKER-FORWARD": [[DROP]]})
    found = walk(of, of.hooks[0], FROM)
    assert found is not None
    assert found.by == "a rule of chain DOCKER-FORWARD: drop"
