"""A table of iptables-legacy, from the bytes that the kernel gives for it: linux/netfilter_ipv4/ip_tables.h.

    entry    112 octets: addresses and masks, names of interfaces and masks, protocol, flags; where its target begins,
             where the next entry begins; then matches, then the target
    target   a size, a name of 29 octets, a revision; the empty name is a verdict: below zero its own number, else the
             offset of the chain it jumps to. ERROR is the head of a chain, and carries its name

The entries of a hook run from its first to its underflow, which is its policy.
"""

import struct
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final

from nodeagent.preflight.facts import Hook, Table

_ENTRY = struct.Struct("=4s4s4s4s16s16s16s16sHBB")
_OFFSETS = struct.Struct("=HH")
_ENTRY_SIZE: Final = 112
_TARGET_SIZE: Final = 32
_PROTOCOLS: Final = {1: "icmp", 6: "tcp", 17: "udp"}
_NOT_IN, _NOT_OUT, _NOT_SOURCE, _NOT_DESTINATION, _NOT_PROTOCOL = 0x01, 0x02, 0x08, 0x10, 0x40
_GOTO: Final = 0x02
_VERDICTS: Final = {-1: "drop", -2: "accept", -5: "return"}
HOOKS: Final = {"input": 1, "forward": 2}
"""NF_INET_LOCAL_IN, NF_INET_FORWARD"""


def table(name: str, firsts: tuple[int, ...], underflows: tuple[int, ...], entries: bytes) -> Table:
    """`firsts` and `underflows` are offsets by the number of the hook."""
    heads = _heads(entries)
    chains: dict[str, list[tuple[Any, ...]]] = {}
    begins = {firsts[number]: hook.upper() for hook, number in HOOKS.items()} | heads
    ends = {underflows[number] for number in HOOKS.values()}
    drops = {}
    at, current = 0, ""
    while at + _ENTRY_SIZE <= len(entries):
        target, following = _OFFSETS.unpack_from(entries, at + 88)
        current = begins.get(at, current)
        if at in ends:
            drops[current] = _verdict(entries, at, target, begins) == {"drop": None}
            chains.setdefault(current, [])
            current = ""
        elif current and _name(entries, at + target) != "ERROR":
            chains.setdefault(current, []).append(_rule(entries, at, target, begins))
        at += following or len(entries)
    hooks = tuple(Hook(hook.upper(), hook, drops.get(hook.upper(), False)) for hook in HOOKS)
    return Table("ip", name, hooks, {chain: tuple(rules) for chain, rules in chains.items()}, is_legacy=True)


def _heads(entries: bytes) -> dict[int, str]:
    """Where the rules of each chain of its users begin."""
    found, at = {}, 0
    while at + _ENTRY_SIZE <= len(entries):
        target, following = _OFFSETS.unpack_from(entries, at + 88)
        if _name(entries, at + target) == "ERROR":
            found[at + following] = _text(entries[at + target + _TARGET_SIZE :][:30])
        at += following or len(entries)
    return found


def _rule(entries: bytes, at: int, target: int, chains: dict[int, str]) -> tuple[Any, ...]:
    source, destination, source_mask, destination_mask, iif, oif, iif_mask, oif_mask, protocol, flags, inverted = (
        _ENTRY.unpack_from(entries, at)
    )
    rule: list[Any] = []
    for key, name, mask, flag in (("iifname", iif, iif_mask, _NOT_IN), ("oifname", oif, oif_mask, _NOT_OUT)):
        if any(mask):
            rule.append(_match({"meta": {"key": key}}, _interface(name, mask), inverted & flag))
    for field, address, mask, flag in (
        ("saddr", source, source_mask, _NOT_SOURCE),
        ("daddr", destination, destination_mask, _NOT_DESTINATION),
    ):
        if any(mask):
            network = IPv4Network(f"{IPv4Address(address)}/{IPv4Address(mask)}", strict=False)
            value = {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}
            rule.append(_match({"payload": {"protocol": "ip", "field": field}}, value, inverted & flag))
    if protocol:
        value = _PROTOCOLS.get(protocol, protocol)
        rule.append(_match({"meta": {"key": "l4proto"}}, value, inverted & _NOT_PROTOCOL))
    if target > _ENTRY_SIZE:
        rule.append({"xt": None})  # matches of extensions
    verdict = _verdict(entries, at, target, chains)
    if verdict and flags & _GOTO and "jump" in verdict:
        verdict = {"goto": verdict["jump"]}
    return (*rule, verdict) if verdict else tuple(rule)


def _match(left: dict[str, Any], right: Any, inverted: int) -> dict[str, Any]:
    return {"match": {"op": "!=" if inverted else "==", "left": left, "right": right}}


def _verdict(entries: bytes, at: int, target: int, chains: dict[int, str]) -> dict[str, Any] | None:
    name = _name(entries, at + target)
    if name:
        return {"reject": None} if name == "REJECT" else None
    number = struct.unpack_from("=i", entries, at + target + _TARGET_SIZE)[0]
    if number in _VERDICTS:
        return {_VERDICTS[number]: None}
    return {"jump": {"target": chains[number]}} if number in chains else None


def _interface(name: bytes, mask: bytes) -> str:
    """The mask covers the zero behind a whole name, and not behind the beginning of one."""
    text = _text(name)
    return text if mask.rstrip(b"\0") > b"\xff" * len(text) else f"{text}*"


def _name(entries: bytes, at: int) -> str:
    return _text(entries[at + 2 : at + 31])


def _text(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode(errors="replace")
