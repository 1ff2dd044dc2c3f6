"""Subnets as Eucalyptus writes them, an address and a netmask, and pools of addresses within them."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from verge.contract.view import Range, format_range
from viewserver.model.text import parse_ipv4, parse_range

MANY_RANGES: Final = 256
"""A pool of more is written with adjacent ones joined: each address is checked against each range."""


def subnet_of(address: str, netmask: str) -> IPv4Network:
    """Raises ValueError: an address that is not the network's, a mask that has a hole."""
    mask, first = int(parse_netmask(netmask)), parse_ipv4(address)
    if int(first) & ~mask & 0xFFFFFFFF:
        raise ValueError(
            f"{address} has host bits set under {netmask}; the network is {IPv4Address(int(first) & mask)}"
        )
    return IPv4Network((int(first), mask.bit_count()))


def parse_netmask(text: str) -> IPv4Address:
    """Ones, then zeros. Raises ValueError; 0.0.255.255, which `ipaddress` takes for a host mask, is none."""
    mask = parse_ipv4(text)
    host = ~int(mask) & 0xFFFFFFFF
    if host & (host + 1):
        raise ValueError(f"{text!r} is not a netmask of ones, then zeros")
    return mask


def whole(subnet: IPv4Network, gateway: IPv4Address) -> list[str]:
    """Every address of it but network, broadcast and gateway, as ranges: Eucalyptus' pool when none is given."""
    low, high = usable(subnet)
    parts = [(low, int(gateway) - 1), (int(gateway) + 1, high)] if low <= int(gateway) <= high else [(low, high)]
    return [spelled(first, last) for first, last in parts if first <= last]


def usable(subnet: IPv4Network) -> tuple[int, int]:
    """Its first and last address that are neither network nor broadcast; subnets of two addresses or one have neither."""
    edge = 0 if subnet.prefixlen >= 31 else 1
    return int(subnet.network_address) + edge, int(subnet.broadcast_address) - edge


class Pool:
    """A set of addresses made of ranges."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self.joined: list[tuple[int, int]] = []
        """Ascending, as integers; no two of them touch."""
        for low, high in sorted((int(low), int(high)) for low, high in ranges):
            if self.joined and low <= self.joined[-1][1] + 1:
                self.joined[-1] = (self.joined[-1][0], max(high, self.joined[-1][1]))
            else:
                self.joined.append((low, high))
        self._lows = [low for low, _ in self.joined]

    @classmethod
    def of_text(cls, texts: Iterable[object]) -> "Pool":
        """Of those that are ranges; the others are somebody else's to complain about."""
        ranges = []
        for text in texts:
            try:
                ranges.append(parse_range(text))
            except ValueError:
                continue
        return cls(ranges)

    def __contains__(self, address: IPv4Address) -> bool:
        index = bisect_right(self._lows, int(address)) - 1
        return index >= 0 and int(address) <= self.joined[index][1]

    def to_texts(self) -> list[str]:
        return [spelled(low, high) for low, high in self.joined]


def widened(texts: Sequence[str], extra: Iterable[IPv4Address], within: IPv4Network | None = None) -> list[str]:
    """The pool with these addresses, as it was written where that is short. One with a fault stays as it is, to be refused
    with its faults where they stand."""
    found = [*texts, *Pool((address, address) for address in extra).to_texts()]
    if len(found) <= MANY_RANGES:
        return found
    try:
        ranges = [parse_range(text) for text in found]
    except ValueError:
        return found
    if within is not None and not all(low in within and high in within for low, high in ranges):
        return found
    return Pool(ranges).to_texts()


def shared(pools: Mapping[str, Pool]) -> list[tuple[str, str, str]]:
    """Addresses that two pools have, and the names of the two; once for each two. One sweep over all ranges, ascending."""
    found: dict[frozenset[str], tuple[str, str, str]] = {}
    reach, holder = -1, ""
    for low, high, name in sorted((low, high, name) for name, pool in pools.items() for low, high in pool.joined):
        if low <= reach and name != holder:
            found.setdefault(frozenset((name, holder)), (spelled(low, min(high, reach)), holder, name))
        if high > reach:
            reach, holder = high, name
    return list(found.values())


def spelled(low: int, high: int) -> str:
    return format_range((IPv4Address(low), IPv4Address(high)))
