"""Canonical JSON and Merkle digests.

Every object of a view is digested once, as canonical JSON; sections fold the digests of their objects, and the view's
root folds its sections (see `view.root_digest`). A change to one object therefore costs one object's hashing plus a few
short folds, whatever the size of the view, and the server can share an object's digest between all nodes that see it.

Digests are SHA-256. Leaves and folds are hashed with different prefixes, so that no leaf can pass for a fold.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, NewType

import orjson

Digest = NewType("Digest", bytes)
"""32 bytes of SHA-256."""

_LEAF = b"\x00"
_FOLD = b"\x01"


def canonical(value: Any) -> bytes:
    """JSON as UTF-8, keys sorted, no white space: equal values give equal bytes.

    Views hold objects, arrays, strings, integers, booleans and null; no floating point, so number text is unambiguous.
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def leaf(value: Any) -> Digest:
    """The digest of one JSON value."""
    return Digest(sha256(_LEAF + canonical(value)).digest())


def raw_leaf(content: bytes) -> Digest:
    """The digest of bytes that are canonical already (a block of packed addresses, rendered JSON)."""
    return Digest(sha256(_LEAF + content).digest())


def fold(named: Iterable[tuple[str, Digest]]) -> Digest:
    """The digest of a set of named digests, in any order: each name is length-prefixed, so names cannot run together."""
    parts = [_FOLD]
    for name, digest in sorted(named):
        text = name.encode()
        parts.append(len(text).to_bytes(4, "big") + text + digest)
    return Digest(sha256(b"".join(parts)).digest())
