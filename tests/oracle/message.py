"""What is sent: a protocol, and what the protocol calls its kind."""

from __future__ import annotations

from typing import NamedTuple

ICMP, TCP, UDP = 1, 6, 17
NAMES = {"icmp": ICMP, "tcp": TCP, "udp": UDP}
ECHO = 8


class Message(NamedTuple):
    """`first` is the destination port of TCP and UDP, or the type of ICMP; `second` is the code of ICMP."""

    protocol: int
    first: int = 0
    second: int = 0

    @classmethod
    def read(cls, text: str) -> Message:
        """From `tcp 80`, `icmp 3/4`, `icmp 8` (code 0), `ip 132`. Raises ValueError."""
        name, _, rest = text.partition(" ")
        if name == "ip":
            return cls(int(rest))
        first, _, second = rest.partition("/")
        return cls(NAMES[name], int(first), int(second or 0))

    def __str__(self) -> str:
        if self.protocol == ICMP:
            return f"icmp {self.first}/{self.second}"
        names = {number: name for name, number in NAMES.items()}
        return f"{names[self.protocol]} {self.first}" if self.protocol in names else f"ip {self.protocol}"
