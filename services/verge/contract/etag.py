"""The validator of a view: `"<epoch>.<version>-<digest>"`.

Epoch and version order views in time; the digest says what is in them. Two replicas give the same ETag for the same
epoch and revision, before and after a restart. Validators compare weakly (RFC 9110, 8.8.3.2), since a proxy that
compresses an answer marks its validator weak.
"""

import re
from dataclasses import dataclass
from typing import Self

_FORM = re.compile(r'(?:W/)?"(\d{1,9})\.(\d{1,18})-([0-9a-f]{32})"', re.ASCII)
_REVISION = re.compile(r"(\d{1,9})\.(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class ETag:
    epoch: int
    version: int
    digest: str
    """The first 128 bits of the root digest, as 32 lower-case hex digits."""

    def __str__(self) -> str:
        return f'"{self.epoch}.{self.version}-{self.digest}"'

    @classmethod
    def parse(cls, text: str) -> Self:
        """From header text, strong or weak, quoted. Raises ValueError."""
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise ValueError(f'{text!r} is not a view\'s ETag, which reads "<epoch>.<version>-<32 hex digits>"')
        return cls(int(found[1]), int(found[2]), found[3])

    @classmethod
    def list_of(cls, header: str) -> "list[Self]":
        """Every view's ETag in an If-None-Match header; others' validators match nothing of ours and are left out."""
        return [cls(int(epoch), int(version), digest) for epoch, version, digest in _FORM.findall(header)]


@dataclass(frozen=True, slots=True, order=True)
class At:
    """A point in the network's history: `Verge-Revision: <epoch>.<revision>`."""

    epoch: int
    revision: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.revision}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        found = _REVISION.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r} is not <epoch>.<revision>")
        return cls(int(found[1]), int(found[2]))
