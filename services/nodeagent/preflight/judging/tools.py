"""The versions of what Verge works with, beside what the kernel was seen to take."""

from collections.abc import Iterator
from typing import Final

from nodeagent.preflight.facts import Tools
from verge.contract.report import Check

_OLDEST_NFT: Final = (1, 0, 2)
"""Ubuntu 22.04's; tested with 1.0.6."""
_OLDEST_DNSMASQ: Final = (2, 81)
"""The first with shared-network, by which the server has one identifier on all nodes."""


def checks(found: Tools) -> Iterator[Check]:
    """None of it keeps a view out: what our rules need is tried, and rules are enforced without DHCP."""
    if found.nft:  # the command itself is not needed, but of one age with the library
        yield Check(
            "nft-version",
            ok=_version(found.nft) >= _OLDEST_NFT,
            severity="warning",
            found=f"nftables {found.nft}",
            needed=f"nftables {_dotted(_OLDEST_NFT)} or newer",
            remedy="apt-get install -y nftables libnftables1",
        )
    yield Check(
        "dnsmasq",
        ok=_version(found.dnsmasq or "") >= _OLDEST_DNSMASQ,
        severity="warning",
        found=f"dnsmasq {found.dnsmasq}"
        if found.dnsmasq
        else "dnsmasq is not installed, so no instance gets an address",
        needed=f"dnsmasq {_dotted(_OLDEST_DNSMASQ)} or newer",
        remedy="apt-get install -y dnsmasq-base",
    )


def _version(text: str) -> tuple[int, ...]:
    """`2.90-4~deb12u1` is 2.90: what is behind the numbers is the distribution's."""
    numbers = text.partition("-")[0].split(".")
    return tuple(int(part) for part in numbers if part.isdigit())


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
