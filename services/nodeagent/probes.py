"""What the packet self-test sends, and what the answers mean. Pure.

Packets from the first scratch port towards the second, which differ in one thing each:

    ahead         passes: what follows is sent by a way that works
    spoofed       with the source address of another      dropped at the port               bridge prerouting
    unallowed     to a port that no rule allows           dropped by the second's rules     the ip table, by br_netfilter
    misdirected   to an address that is not the second's  dropped before the second's port  bridge postrouting
    behind        passes, when the others have had their chance
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address
from typing import Final, Literal

from nodeagent.state.scratch import PORT, ScratchPort
from verge.contract.report import Failure
from verge.contract.rule import UDP

_TOKEN: Final = 16
AHEAD: Final = "ahead"
BEHIND: Final = "behind"
_KINDS: Final = (AHEAD, "spoofed", "unallowed", "misdirected", BEHIND)
"""In the order in which they are sent."""
_LEAKS: Final = {
    "spoofed": "a packet with another's source address passed an instance's port: the bridge table does not judge what comes in",
    "unallowed": "a packet that no rule allows reached a port: the ip table does not judge bridged packets"
    " (nf_call_iptables of {bridge}, or something ahead of it)",
    "misdirected": "a packet for another address reached a port: the bridge table does not judge what goes out",
}

State = Literal["passed", "leaks", "loses", "unable"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """passed   the kernel enforces
    leaks    something passed that must not: no view is in force here
    loses    what a rule allows did not pass: nothing is open, but not all that should be
    unable   the test could not be made, so nothing is known
    """

    state: State
    reason: str | None
    """None if it passed."""
    took_ms: float
    at: datetime
    object: str
    """What it is about, as failures name it."""

    @property
    def failures(self) -> tuple[Failure, ...]:
        return (Failure(self.object, "self-test", self.reason or ""),) if self.state in ("leaks", "loses") else ()


def frames(ports: tuple[ScratchPort, ScratchPort], token: bytes, sport: int) -> dict[str, bytes]:
    """By kind, in the order in which they are to be sent. `token` (of 15 bytes) tells this run's from all others; source
    ports begin with `sport`."""
    one, two = ports
    other = IPv4Address(int(two.address) + 1)
    from_to = {
        AHEAD: (one.address, two.address),
        "spoofed": (other, two.address),
        "unallowed": (one.address, two.address),
        "misdirected": (one.address, other),
        BEHIND: (one.address, two.address),
    }
    return {
        # each of a flow of its own, so that none is judged by the stamp of another
        kind: _frame(one, two, from_to[kind], (sport + n, PORT + (kind == "unallowed")), token, n)
        for n, kind in enumerate(_KINDS)
    }


def kind_of(frame: bytes, token: bytes) -> str | None:
    """Of a frame that arrived; None: not one of this run. Whatever changed it on the way, its last bytes are ours."""
    end = frame[-_TOKEN:]
    return _KINDS[end[-1]] if end[:-1] == token and end[-1] < len(_KINDS) else None


def judged(arrived: Iterable[str], bridge: str) -> tuple[State, str | None]:
    came = set(arrived)
    leaks = [text.format(bridge=bridge) for kind, text in _LEAKS.items() if kind in came]
    if leaks:
        return "leaks", "; ".join(leaks)
    if not {AHEAD, BEHIND} <= came:
        return (
            "loses",
            "a packet that a rule allows did not pass: something on this host drops what comes by the bridge",
        )
    return "passed", None


def _frame(
    one: ScratchPort,
    two: ScratchPort,
    addresses: tuple[IPv4Address, IPv4Address],
    ports: tuple[int, int],
    token: bytes,
    kind: int,
) -> bytes:
    payload = token + bytes([kind])
    pseudo = addresses[0].packed + addresses[1].packed + struct.pack("!HH", UDP, 8 + len(payload))
    udp = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    udp = udp[:6] + struct.pack("!H", _checksum(pseudo + udp) or 0xFFFF) + udp[8:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, UDP, 0) + addresses[0].packed + addresses[1].packed
    ip = ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:]
    return _mac(two.mac) + _mac(one.mac) + b"\x08\x00" + ip + udp


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _checksum(data: bytes) -> int:
    """RFC 1071, of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


NAMES: Final[Mapping[State, str]] = {
    "passed": "self-test-passed",
    "leaks": "self-test-failed",
    "loses": "self-test-failed",
    "unable": "self-test-not-made",
}
"""Of the verdict in the log."""
