"""The text forms of the network's fields: what is accepted, what it is turned into, and what is said otherwise.

Each is a type for a pydantic dataclass field: it takes JSON's strings and integers only (no silent conversion of "22" or
true), gives a value of the core, and goes back to the one normal text.
"""

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, NetmaskValueError
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, StrictInt, StrictStr, WithJsonSchema

from verge.contract.view import Range, format_range

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_MAC_PREFIX = re.compile(r"[0-9a-f]{2}:[0-9a-f]{2}")
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_HOST = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
NO_IPV6 = "IPv6 is not modelled yet: Verge carries IPv4 only"


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value


def parse_ipv4(value: Any) -> IPv4Address:
    """Raises ValueError that tells an IPv6 address from nonsense."""
    if isinstance(value, IPv4Address):
        return value
    text = _string(value)
    try:
        return IPv4Address(text)
    except AddressValueError:
        raise ValueError(NO_IPV6 if _is_ipv6(text, IPv6Address) else f"{text!r} is not an IPv4 address") from None


def parse_cidr(value: Any) -> IPv4Network:
    """An address alone is its /32. Raises ValueError; host bits are a mistake to be told, not to be dropped."""
    if isinstance(value, IPv4Network):
        return value
    text = _string(value)
    address, _, length = text.partition("/")
    try:
        network = IPv4Network(text, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        message = NO_IPV6 if _is_ipv6(text, IPv6Network) else f"{text!r} is not an IPv4 network such as 10.0.0.0/16"
        raise ValueError(message) from None
    if length and not length.isdigit():
        raise ValueError(f"{text!r}: write the prefix length as a number: {network}")
    if IPv4Address(address) != network.network_address:
        raise ValueError(f"{text!r} has host bits set; the network is {network}")
    return network


def _is_ipv6(text: str, form: Callable[[str], object]) -> bool:
    try:
        form(text.partition("-")[0] if form is IPv6Address else text.partition("%")[0])
    except ValueError:
        return ":" in text and re.fullmatch(r"[0-9a-fA-F:.%/-]+", text) is not None and "::" in text
    return True


def parse_range(value: Any) -> Range:
    """`"10.0.0.5"` or `"10.0.0.5-10.0.0.9"`, inclusive. Raises ValueError."""
    if isinstance(value, tuple):
        return value
    low, dash, high = _string(value).partition("-")
    first = parse_ipv4(low.strip())
    last = parse_ipv4(high.strip()) if dash else first
    if first > last:
        raise ValueError(f"{value!r} ends before it begins")
    return first, last


def _parse_mac(value: Any) -> str:
    mac = _string(value).lower()
    if not _MAC.fullmatch(mac):
        raise ValueError(f"{value!r} is not a MAC address such as d0:0d:1a:2b:3c:4d")
    if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        raise ValueError(f"{value!r} is not a unicast MAC address")
    return mac


def _matching(pattern: re.Pattern[str], what: str, fold: Callable[[str], str] = str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        text = fold(_string(value))
        if not pattern.fullmatch(text):
            raise ValueError(f"{value!r} is not {what}")
        return text

    return check


def _as_text(form: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "format": form})


def _printable(text: str) -> str:
    """Postgres's JSON takes no NUL, and nobody's name has a newline in it."""
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    return text


IPv4 = Annotated[IPv4Address, BeforeValidator(parse_ipv4), PlainSerializer(str), _as_text("ipv4")]
Cidr = Annotated[IPv4Network, BeforeValidator(parse_cidr), PlainSerializer(str), _as_text("ipv4-network")]
IPv4Range = Annotated[
    Range,
    BeforeValidator(parse_range),
    PlainSerializer(format_range),
    WithJsonSchema({"type": "string", "examples": ["10.0.0.5", "10.0.0.5-10.0.0.9"]}),
]
MacAddress = Annotated[str, BeforeValidator(_parse_mac), _as_text("mac")]
MacPrefix = Annotated[
    str, BeforeValidator(_matching(_MAC_PREFIX, "two octets such as d0:0d", str.lower)), _as_text("mac-prefix")
]
InterfaceName = Annotated[
    str,
    BeforeValidator(_matching(_INTERFACE, "an interface name: 1 to 15 of A-Z a-z 0-9 _ . -")),
    _as_text("interface"),
]
Id = Annotated[
    str,
    BeforeValidator(_matching(_NAME, "an id: a letter or digit, then up to 62 of A-Z a-z 0-9 _ . -")),
    WithJsonSchema({"type": "string", "pattern": _NAME.pattern}),
]
HostName = Annotated[
    str,
    BeforeValidator(_matching(_HOST, "a DNS name or IPv4 address")),
    WithJsonSchema({"type": "string", "examples": ["nc-1", "10.111.0.101"]}),
]
Text = Annotated[StrictStr, Field(max_length=255), AfterValidator(_printable)]
Account = Annotated[StrictStr, Field(min_length=1, max_length=64), AfterValidator(_printable)]
Domain = Annotated[
    str, BeforeValidator(_matching(_HOST, "a domain name without a leading dot", str.lower)), _as_text("hostname")
]
Port = Annotated[StrictInt, Field(ge=1, le=65535)]
