"""What one instance may use of what all instances of a host share; 0 is no limit.

Beyond a limit packets are dropped and counted: the instance feels it, its neighbours do not. Rates are a second's worth, and
two seconds' worth may come at once, of new flows as much as may be tracked.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    flows: int = 4096
    """Tracked at a time, in each direction: as many that it began, as many that others began with it. The kernel goes
    through the list of them for a new flow, at most once in a tick: some thousands are no trouble, some ten thousands are."""
    new_flows: int = 1000
    """A second, in each direction. In front of the count, which forgets some eight ended flows a tick and no more: without,
    a flood would make its list longer faster than it is made shorter."""
    arp: int = 100
    dhcp: int = 10
    """All instances of a host have one DHCP server, a process with a queue."""
    broadcasts: int = 200
    """Broadcast and multicast other than ARP: every port and every other host gets a copy."""


WHAT = ("flows", "new_flows", "arp", "dhcp", "broadcasts")
"""Kinds of packets dropped, by the limit that they were beyond."""
DEFAULTS: Final = Limits()
