"""Who else hears what instances ask: a port that is taken is noticed at the start, one that is shared is not.

dnsmasq lets others share its port, as others let it: several servers on one host, each on its own link, are usual (libvirt's
on virbr0), and harm nobody. One that hears our bridge as well answers our instances, or takes renewals that were for us.
"""

from typing import Final

from nodeagent.desired.reserved import IDENTIFIER
from nodeagent.dnsmasq.process import PORT
from nodeagent.kernel import identifier, ports
from nodeagent.kernel.ports import Socket

_SHOWN: Final = 5


class Sharing:
    """What is known of the port. Every method may raise OSError."""

    def __init__(self, bridge: str) -> None:
        self._bridge = bridge
        self._ours: frozenset[int] = frozenset()
        self._seen: tuple[Socket, ...] | None = None
        """Strangers, or while we have none all. None: nothing is to be noticed."""

    def mind(self, pid: int) -> str | None:
        """Our process is this. Who else hears the bridge, and what to do about it."""
        held = ports.sockets(PORT)
        self._ours = ports.owned_by(pid, held)
        self._seen = self._strangers(held) if self._ours else None  # else ours cannot be told from theirs
        if not self._seen:
            return None
        culprits = list(dict.fromkeys(map(str, ports.whose(self._seen))))
        named = ", ".join(culprits[:_SHOWN]) + (f" and {len(culprits) - _SHOWN} more" * (len(culprits) > _SHOWN))
        return (
            f"UDP port {PORT} is shared with {named}, which hears {self._bridge}: it may answer instances, or take their "
            "renewals; end it, or bind it to another link"
        )

    def taken(self) -> None:
        """We have none, since others have it."""
        self._ours = frozenset()
        self._seen = ports.sockets(PORT)

    def forget(self) -> None:
        """We want none."""
        self._ours, self._seen = frozenset(), None

    def changed(self) -> bool:
        """Since one of these was said. Cheap: 0.2 ms."""
        if self._seen is None:
            return False
        held = ports.sockets(PORT)
        return (self._strangers(held) if self._ours else held) != self._seen

    def _strangers(self, held: tuple[Socket, ...]) -> tuple[Socket, ...]:
        index, _ = identifier.links(self._bridge)
        own = identifier.address(self._bridge)
        addresses = (IDENTIFIER, own) if own else (IDENTIFIER,)
        return tuple(one for one in held if one.inode not in self._ours and ports.hears(one, index, *addresses))
