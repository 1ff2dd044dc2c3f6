"""Which of several view servers a node asks first, second and so on."""

from collections.abc import Iterable
from hashlib import sha256


def in_order(servers: Iterable[str], node: str) -> tuple[str, ...]:
    """The same for this node every time, and another for others (rendezvous hashing): the nodes are spread over the servers,
    those of one that fails are spread over the rest, and one more or less moves no node that it does not concern."""
    return tuple(sorted(servers, key=lambda server: sha256(f"{server} {node}".encode()).digest()))
