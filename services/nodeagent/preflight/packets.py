"""What a foreign chain does to a new packet of an instance: a walk through its rules, as far as they can be told.

A rule that asks for something this packet is known to have or to lack is decided; any other may match or not (an address
within the instances' subnet, a limit, an extension of iptables). A drop counts when it is certain for any packet of the
instances, so: behind no accept that is certain. Accepts that let only some through do not save the others.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import Any, Final, Literal

from nodeagent.preflight.facts import Hook, Table

Answer = Literal["yes", "no", "maybe"]
_MOST_JUMPS: Final = 16
"""As many as the kernel allows."""


@dataclass(frozen=True, slots=True)
class Packet:
    """The first of a flow. None: any."""

    iif: str
    oif: str | None
    """An interface, or the pattern of some that end in a star."""
    source: IPv4Network | None = None
    destination: IPv4Network | None = None
    protocol: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    by: str
    """The rule's chain, or the policy, in words."""


def walk(table: Table, hook: Hook, packet: Packet) -> Dropped | None:
    """None: nothing drops it for certain."""
    ended = _chain(table, hook.chain, packet, 0)
    if isinstance(ended, Dropped):
        return ended
    if ended == "accept" or not hook.drops:
        return None
    return Dropped(f"policy drop of chain {hook.chain}")


def _chain(table: Table, name: str, packet: Packet, depth: int) -> Dropped | Literal["accept"] | None:
    """None: the end of the chain."""
    if depth > _MOST_JUMPS:
        return None
    for rule in table.chains.get(name, ()):
        if any(_matches(one, packet, table) != "yes" for one in rule if _is_match(one)):
            continue
        for verdict, target in _verdicts(rule):
            match verdict:
                case "accept":
                    return "accept"
                case "drop" | "reject":
                    return Dropped(f"a rule of chain {name}: {verdict}")
                case "return":
                    return None
                case "jump" | "goto":
                    ended = _chain(table, target, packet, depth + 1)
                    if ended or verdict == "goto":
                        return ended
    return None


def _verdicts(rule: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for statement in rule:
        for name, body in statement.items():
            if name in ("accept", "drop", "return", "reject"):
                yield name, ""
            elif name in ("jump", "goto"):
                yield name, body["target"]


def _is_match(statement: dict[str, Any]) -> bool:
    """Anything that may end a rule before its verdict."""
    return bool(statement.keys() & {"match", "xt", "limit", "quota", "ct count", "vmap", "connlimit", "set", "meter"})


def _matches(statement: dict[str, Any], packet: Packet, table: Table) -> Answer:
    match = statement.get("match")
    if match is None:
        return "maybe"
    answer = _asked(match["left"], _values(match["right"], table), packet)
    if match["op"] == "!=":
        return {"yes": "no", "no": "yes", "maybe": "maybe"}[answer]  # type: ignore[return-value]
    return answer if match["op"] in ("==", "in") else "maybe"


def _values(right: Any, table: Table) -> list[Any] | None:
    """None: nobody knows them."""
    if isinstance(right, str) and right.startswith("@"):
        known = table.sets.get(right[1:])
        return None if known is None else list(known)
    if isinstance(right, dict) and "set" in right:
        inner = right["set"]
        return list(inner) if isinstance(inner, list) else [inner]
    return list(right) if isinstance(right, list) else [right]


def _asked(left: Any, values: list[Any] | None, packet: Packet) -> Answer:
    if not isinstance(left, dict) or values is None:
        return "maybe"
    if "meta" in left:
        key = left["meta"].get("key")
        if key in ("iifname", "iif"):
            return _any(_named(value, packet.iif) for value in values)
        if key in ("oifname", "oif"):
            return "no" if packet.oif is None else _any(_named(value, str(packet.oif)) for value in values)
        if key == "nfproto":
            return _any(_known(value, "ipv4") for value in values)
        if key == "protocol":
            return _any(_known(value, "ip") for value in values)
        if key == "l4proto":
            return _any(_known(value, packet.protocol) for value in values)
    if "payload" in left:
        protocol, name = left["payload"].get("protocol"), left["payload"].get("field")
        if (protocol, name) == ("ip", "saddr"):
            return _any(_covers(value, packet.source) for value in values)
        if (protocol, name) == ("ip", "daddr"):
            return _any(_covers(value, packet.destination) for value in values)
        if protocol in ("ip6", "icmpv6"):
            return "no"
        if name == "protocol":
            return _any(_known(value, packet.protocol) for value in values)
        if name == "dport":
            of_its_own = protocol in (packet.protocol, "th")
            return _any(_known(value, packet.port) for value in values) if of_its_own or not packet.protocol else "no"
    if "ct" in left and left["ct"].get("key") == "state":
        return _any(_known(value, "new") for value in values)
    return "maybe"


def _any(answers: Iterable[Answer]) -> Answer:
    found = set(answers)
    return "yes" if "yes" in found else "maybe" if "maybe" in found else "no"


def _named(value: Any, name: str) -> Answer:
    if not isinstance(value, str):
        return "maybe"
    if value == name or (value.endswith("*") and name.startswith(value[:-1])):
        return "yes"
    return "maybe" if name.endswith("*") and value.startswith(name[:-1]) else "no"


def _known(value: Any, own: str | int | None) -> Answer:
    if own is None or isinstance(value, dict):
        return "maybe"
    return "yes" if value == own else "no"


def _covers(value: Any, network: IPv4Network | None) -> Answer:
    if network is None:
        return "maybe"
    try:
        if isinstance(value, str):
            other = ip_network(value)
        elif "prefix" in value:
            other = ip_network(f"{value['prefix']['addr']}/{value['prefix']['len']}", strict=False)
        else:
            low, high = (IPv4Address(end) for end in value["range"])
            if low <= network[0] and network[-1] <= high:
                return "yes"
            return "no" if high < network[0] or network[-1] < low else "maybe"
    except (ValueError, KeyError, TypeError):
        return "maybe"
    if not isinstance(other, IPv4Network):
        return "no"
    return "yes" if network.subnet_of(other) else "maybe" if network.overlaps(other) else "no"
