"""What our ruleset is made of, each kind tried alone: the kernel looks at the transaction and keeps nothing of it."""

import os
from typing import Final

from nodeagent.kernel import KernelRefused
from nodeagent.kernel.libnftables import Libnftables
from nodeagent.preflight.facts import Features

_IP: Final = "type filter hook prerouting priority -150; policy accept;"
_NAT: Final = "type nat hook {} priority {}; policy accept;"


def _rule(family: str, rule: str, *, chain: str = _IP, before: str = "") -> str:
    return f"""
        add table {family} verge_trial
        {before}
        add chain {family} verge_trial c {{ {chain} }}
        add rule {family} verge_trial c {rule}
    """


FEATURES: Final = {
    "tables of the bridge family": _rule("bridge", 'iifname "vn_*" ether type != ip drop'),
    "tables of the arp family": _rule(
        "arp", "arp operation request arp daddr ip 192.0.2.1 drop", chain="type filter hook input priority 0;"
    ),
    "sets of concatenated keys": _rule(
        "bridge",
        "iifname . ether saddr . ip saddr @s accept",
        before="add set bridge verge_trial s { type ifname . ether_addr . ipv4_addr; }",
    ),
    "sets of concatenated intervals": _rule(
        "ip",
        "ip saddr . meta l4proto . th dport @s accept",
        before="""add set ip verge_trial s { type ipv4_addr . inet_proto . inet_service; flags interval; }
        add element ip verge_trial s { 192.0.2.0/24 . tcp . 80-90 }""",
    ),
    "verdict maps": _rule("ip", "ip saddr vmap @m", before="add map ip verge_trial m { type ipv4_addr : verdict; }"),
    "payload of ARP": _rule(
        "bridge",
        "arp saddr ether . arp saddr ip @s accept",
        before=("add set bridge verge_trial s { type ether_addr . ipv4_addr; }"),
    ),
    "rewriting MAC addresses": _rule("bridge", "ether daddr set 02:76:65:72:67:65 meta pkttype set host"),
    "raw payload": _rule("bridge", "@nh,48,64 0x3d00d00000001 accept"),
    "connection states and marks": _rule("ip", "ct state established,related ct mark set 1 accept"),
    "connection marks from maps": _rule(
        "ip", "ct mark set ip saddr map @m", before="add map ip verge_trial m { type ipv4_addr : mark; }"
    ),
    "connection direction, status and first addresses": _rule(
        "ip", "ct direction reply ct status dnat ct original ip daddr 192.0.2.1 drop"
    ),
    "fib": _rule("ip", "fib daddr type local accept"),
    "destination NAT from maps": _rule(
        "ip",
        "dnat to ip daddr map @m",
        chain=_NAT.format("prerouting", -100),
        before="add map ip verge_trial m { type ipv4_addr : ipv4_addr; }",
    ),
    "limits by port": _rule(
        "bridge",
        "update @s { iifname limit rate over 50/second burst 100 packets } drop",
        before="add set bridge verge_trial s { type ifname; size 65535; flags dynamic,timeout; timeout 60s; }",
    ),
    "limits by address": _rule(
        "ip",
        "update @s { ip saddr limit rate over 50/second burst 100 packets } drop",
        before="add set ip verge_trial s { type ipv4_addr; size 65535; flags dynamic,timeout; timeout 60s; }",
    ),
    "counted flows": _rule(
        "ip",
        "add @s { ip saddr ct count over 4096 } drop",
        before="add set ip verge_trial s { type ipv4_addr; size 65535; flags dynamic; }",
    ),
    "source NAT": _rule("ip", "snat to 192.0.2.1", chain=_NAT.format("postrouting", 100)),
}


def features() -> Features:
    """All at once first, since that is what is to be expected: some 10 ms, which the kernel takes to forget it. Raises
    OSError."""
    nft = Libnftables()
    try:
        together = "".join(text.replace("verge_trial", f"verge_trial{n}") for n, text in enumerate(FEATURES.values()))
        refused = {}
        try:
            nft.check(together)
        except KernelRefused:
            refused = _one_by_one(nft)
    finally:
        nft.close()
    return Features(os.uname().release, refused)


def _one_by_one(nft: Libnftables) -> dict[str, str]:
    found = {}
    for name, text in FEATURES.items():
        try:
            nft.check(text)
        except KernelRefused as why:
            found[name] = str(why)
    return found
