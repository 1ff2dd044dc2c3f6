"""The member addresses of a security group: an immutable set of IPv4 addresses with an incremental digest.

Addresses are kept in blocks of 256 (a /24 each). A block carries its own digest and the set's digest folds the blocks',
so adding one address to 20,000 hashes one block and one short list, and two versions of a set are compared block by
block: those with equal digests are skipped.

Addresses are plain integers here (see RFC 791 for the order of octets): a set of 30,000 `IPv4Address` objects would cost
65 ms to build and several MB to keep, on every node.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from verge.contract.digest import Digest, fold, raw_leaf


def parse_address(text: str) -> int:
    """Dotted quad to integer. Raises ValueError for anything that is not exactly four decimal octets."""
    octets = text.split(".")
    value = 0
    if len(octets) != 4:
        raise ValueError(f"{text!r} is not an IPv4 address")
    for octet in octets:
        if not (octet.isascii() and octet.isdigit()) or (octet[0] == "0" and len(octet) > 1) or int(octet) > 255:
            raise ValueError(f"{text!r} is not an IPv4 address")
        value = value << 8 | int(octet)
    return value


def format_address(value: int) -> str:
    """Integer to dotted quad."""
    return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"


@dataclass(frozen=True, slots=True)
class Block:
    """Up to 256 addresses that share their first 24 bits: the last octets, ascending, and the digest of all of it."""

    octets: bytes
    digest: Digest

    @staticmethod
    def of(prefix: int, octets: Iterable[int]) -> "Block":
        packed = bytes(sorted(octets))
        return Block(packed, raw_leaf(prefix.to_bytes(3, "big") + packed))


@lru_cache(maxsize=16384)
def _block_json(prefix: int, octets: bytes) -> bytes:
    begin = f'"{prefix >> 16}.{prefix >> 8 & 255}.{prefix & 255}.'
    return ",".join(f'{begin}{octet}"' for octet in octets).encode()


class Members:
    """An immutable set of addresses. Equal sets have equal digests, however they came about."""

    def __init__(self, blocks: dict[int, Block]) -> None:
        self._blocks = blocks

    @classmethod
    def of(cls, addresses: Iterable[int]) -> "Members":
        octets: dict[int, set[int]] = {}
        for address in addresses:
            octets.setdefault(address >> 8, set()).add(address & 255)
        return cls({prefix: Block.of(prefix, low) for prefix, low in octets.items()})

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Members":
        """From dotted quads. Raises ValueError naming the first that is none."""
        return cls.of(parse_address(text) for text in texts)

    @cached_property
    def digest(self) -> Digest:
        return fold((f"{prefix:06x}", block.digest) for prefix, block in self._blocks.items())

    def changed(self, add: Iterable[int] = (), remove: Iterable[int] = ()) -> "Members":
        """This set without `remove` and with `add` (an address in both is a member)."""
        edits: dict[int, set[int]] = {}
        for address in remove:
            self._edit(edits, address >> 8).discard(address & 255)
        for address in add:
            self._edit(edits, address >> 8).add(address & 255)
        if not edits:
            return self
        blocks = dict(self._blocks)
        for prefix, low in edits.items():
            if low:
                blocks[prefix] = Block.of(prefix, low)
            else:
                blocks.pop(prefix, None)
        return Members(blocks)

    def _edit(self, edits: dict[int, set[int]], prefix: int) -> set[int]:
        if prefix not in edits:
            block = self._blocks.get(prefix)
            edits[prefix] = set(block.octets) if block else set()
        return edits[prefix]

    def difference(self, older: "Members") -> tuple[list[int], list[int]]:
        """What leads from `older` to this set: (added, removed), each ascending. Costs what changed, by blocks."""
        if self is older:
            return [], []
        added: list[int] = []
        removed: list[int] = []
        for prefix in sorted(self._blocks.keys() | older._blocks.keys()):
            now, then = self._blocks.get(prefix), older._blocks.get(prefix)
            if now is then or (now and then and now.digest == then.digest):
                continue
            new, old = set(now.octets if now else b""), set(then.octets if then else b"")
            added += sorted(prefix << 8 | low for low in new - old)
            removed += sorted(prefix << 8 | low for low in old - new)
        return added, removed

    def __iter__(self) -> Iterator[int]:
        """Ascending."""
        for prefix in sorted(self._blocks):
            for low in self._blocks[prefix].octets:
                yield prefix << 8 | low

    def __len__(self) -> int:
        return sum(len(block.octets) for block in self._blocks.values())

    def __contains__(self, address: object) -> bool:
        if not isinstance(address, int):
            return False
        block = self._blocks.get(address >> 8)
        return block is not None and address & 255 in block.octets

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Members) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def json(self) -> bytes:
        """The set as a view carries it: a JSON array of dotted quads in numerical order. Rendered once for all nodes that
        see it, and after a change only the blocks that differ."""
        return (
            b"[" + b",".join(_block_json(prefix, self._blocks[prefix].octets) for prefix in sorted(self._blocks)) + b"]"
        )

    def texts(self) -> list[str]:
        """Dotted quads, in numerical order: the form a view carries."""
        return [format_address(address) for address in self]
