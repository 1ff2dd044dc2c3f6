"""An address moves between nodes by withdrawal, acknowledgement and grant, so that two nodes never answer for it.

    move:     r   withdraw   the old node's view loses the address; the new node's does not have it yet
                             … the old node reports that it has applied r …
              r′  grant      the new node's view has it; caused_by r

    release first, assign later: the release leaves a withdrawal, and the assignment waits only if the old node has not
    reported by then.

Addresses are elastic IPs and private IPs; an instance that changes its node takes both along. At the cut-over of a migration
the new node has everything but the opening of the port in force already, and what the instance is known by stays: the
withdrawal says so, and the two loops that it takes are all that its sessions notice. A node that is silent, or was
removed, keeps its addresses: nobody knows what it does, and only an operator who does may break the fence. Who has applied
what is an argument; that the outcome is committed with the change is what makes all replicas agree.
"""

from collections.abc import Callable, Iterable

from viewserver.model.change import Recorded
from viewserver.model.network import Network
from viewserver.model.objects import Withdrawal, to_wire

Applied = Callable[[str], int]
"""Node → the version it has applied, in this epoch; 0 for none."""


def consequences(
    before: Network, after: Network, changed: Iterable[Recorded], revision: int, applied: Applied
) -> Network:
    """`after` with the withdrawals that this change, at `revision`, makes necessary or obsolete."""
    for address in sorted(moved(before, after, changed)):
        wanted = _withdrawal(before, after, address, revision, applied)
        if wanted is None:
            after = after.without("withdrawal", address)
        elif wanted != after.withdrawal(address):
            after = after.put("withdrawal", address, wanted)
    return after


def _withdrawal(before: Network, after: Network, address: str, revision: int, applied: Applied) -> Withdrawal | None:
    old, new = _node(before, address), _node(after, address)
    known = before.withdrawal(address)
    if old is not None and address not in before.fenced:
        if new == old:
            return None
        return Withdrawal(
            old, revision, fence=None if new is None else revision, cut_over=_cut_over(before, after, address)
        )
    if known is None or new == known.node:
        return None
    if new is None:
        return Withdrawal(known.node, known.revision)
    if given_up(known, applied):
        return None
    stays = known.cut_over and old == new and before.holder(address) == after.holder(address)
    cut_over = stays or _cut_over(before, after, address)
    return Withdrawal(known.node, known.revision, fence=known.fence or revision, cut_over=cut_over)


def _cut_over(before: Network, after: Network, address: str) -> bool:
    """Does its instance arrive where it was migrating to, and keep it?"""
    key = after.holder(address)
    if key is None or before.holder(address) != key:
        return False
    was, now = before.instance(key), after.instance(key)
    return was is not None and now is not None and was.migrating_to is not None and was.migrating_to == now.node


def given_up(withdrawal: Withdrawal, applied: Applied) -> bool:
    """The old node has reported a view without the address."""
    return applied(withdrawal.node) >= withdrawal.revision


def granted(network: Network, addresses: Iterable[str]) -> Network:
    """The network with these fences lifted."""
    for address in addresses:
        if address in network.fenced:
            network = network.without("withdrawal", address)
    return network


def differences(before: Network, after: Network, addresses: Iterable[str]) -> list[Recorded]:
    """Change records of the withdrawals."""
    found = []
    for address in sorted(addresses):
        old, new = before.withdrawal(address), after.withdrawal(address)
        if old != new:
            wires = [None if one is None else to_wire("withdrawal", one) for one in (old, new)]
            found.append(Recorded("withdrawal", address, wires[0], wires[1]))
    return found


def moved(before: Network, after: Network, changed: Iterable[Recorded]) -> set[str]:
    """Every address whose node may differ between the two networks."""
    found = set()
    for item in changed:
        if item.kind == "elastic_ip":
            found.add(item.id)
        elif item.kind == "instance":
            for network in (before, after):
                instance = network.instance(item.id)
                if instance is not None:
                    found.add(str(instance.private_ip))
                elastic = network.elastic_ip_of.get(item.id)
                if elastic is not None:
                    found.add(elastic)
    return found


def _node(network: Network, address: str) -> str | None:
    holder = network.holder(address)
    instance = network.instance(holder) if holder is not None else None
    return None if instance is None else instance.node
