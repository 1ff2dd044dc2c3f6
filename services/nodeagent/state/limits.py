"""What one instance may use of what all instances of a host share; 0 is no limit.

Beyond a limit packets are dropped and counted: the instance feels it, its neighbours do not. Rates are a second's worth, and
two seconds' worth may come at once, of new flows as much as may be tracked.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    flows: int = 4096
    """Tracked at a time, in each direction: as many that it began, as many that others elsewhere began with it. From 1,024 on
    it is the least that an instance may have, and twice that about the most: `desired.limits` says why."""
    new_flows: int = 1000
    """A second, in each direction; if it is a tenth of `flows` or more, of instances that have had so many flows within the
    hour."""
    arp: int = 100
    dhcp: int = 10
    """All instances of a host have one DHCP server, a process with a queue."""
    broadcasts: int = 200
    """Broadcast and multicast other than ARP: every port and every other host gets a copy."""


WHAT = ("flows", "new_flows", "arp", "dhcp", "broadcasts")
"""Kinds of packets dropped, by the limit that they were beyond."""
DEFAULTS: Final = Limits()
