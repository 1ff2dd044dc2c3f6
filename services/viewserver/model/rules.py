"""The door for security group rules: any of the forms clouds write, in; the normal form, out.

Accepted besides the normal form (`verge.contract.rule`): protocol names in any case, numbers as text, -1 for all; -1 for
any ICMP type or code. Refused, with the reason: ports where there are none, a range that ends before it begins, a code
without a type, no peer or two, host bits, IPv6.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from verge.contract.rule import ALL, ICMP, PORTS, PROTOCOL_NUMBERS, TCP, UDP, GroupId, Rule
from viewserver.model.text import parse_cidr

_FIELDS = {"protocol", "from_port", "to_port", "icmp_type", "icmp_code", "cidr", "group"}

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["protocol"],
    "description": "Exactly one of cidr and group; ports with tcp and udp, type and code with icmp. Absent means any.",
    "properties": {
        "protocol": {
            "anyOf": [{"enum": ["tcp", "udp", "icmp", "all"]}, {"type": "integer", "minimum": -1, "maximum": 255}]
        },
        "from_port": {"type": "integer", "minimum": 0, "maximum": 65535},
        "to_port": {"type": "integer", "minimum": 0, "maximum": 65535},
        "icmp_type": {"type": "integer", "minimum": -1, "maximum": 255},
        "icmp_code": {"type": "integer", "minimum": -1, "maximum": 255},
        "cidr": {"type": "string", "format": "ipv4-network"},
        "group": {"type": "string"},
    },
    "examples": [{"protocol": "tcp", "from_port": 22, "to_port": 22, "cidr": "0.0.0.0/0"}],
}


def parse(value: Any) -> Rule:
    """One rule from JSON. Raises pydantic's ValidationError with the location of every fault in it."""
    if isinstance(value, Rule):
        return value
    faults = _Faults()
    if not isinstance(value, dict):
        faults.add((), "must be an object")
        raise faults.error()
    for name in value.keys() - _FIELDS:
        faults.add((str(name),), "is not a field of a rule")
    protocol = faults.read("protocol", value, _protocol, required=True)
    ports = _ports(value, protocol, faults)
    icmp_type, icmp_code = _icmp(value, protocol, faults)
    peer = _peer(value, faults)
    if faults.found:
        raise faults.error()
    return Rule(protocol, peer, ports, icmp_type, icmp_code)


class _Faults:
    def __init__(self) -> None:
        self.found: list[InitErrorDetails] = []

    def add(self, location: tuple[str | int, ...], message: str) -> None:
        self.found.append(
            InitErrorDetails(
                type=PydanticCustomError("rule", "{message}", {"message": message}), loc=location, input=None
            )
        )

    def read(self, name: str, value: dict[str, Any], parse_field: Any, *, required: bool = False) -> Any:
        if value.get(name) is None:
            if required:
                self.add((name,), "is missing")
            return None
        try:
            return parse_field(value[name])
        except ValueError as wrong:
            self.add((name,), str(wrong))
            return None

    def error(self) -> ValidationError:
        return ValidationError.from_exception_data("rule", self.found)


def _protocol(value: Any) -> int:
    if isinstance(value, str):
        name = value.strip().lower()
        if name in PROTOCOL_NUMBERS:
            return PROTOCOL_NUMBERS[name]
        if not name.removeprefix("-").isascii() or not name.removeprefix("-").isdigit():
            raise ValueError(f"{value!r} is not a protocol: tcp, udp, icmp, all or 0..255")
        value = int(name)
    return _integer(value, ALL, 255)


def _integer(value: Any, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("must be an integer")
    if not low <= value <= high:
        raise ValueError(f"must be {low}..{high}, not {value}")
    return value


def _ports(value: dict[str, Any], protocol: int | None, faults: _Faults) -> tuple[int, int] | None:
    given = [name for name in ("from_port", "to_port") if value.get(name) is not None]
    low, high = (faults.read(name, value, lambda port: _integer(port, *PORTS)) for name in ("from_port", "to_port"))
    if protocol is None:
        return None
    if protocol not in (TCP, UDP):
        for name in given:
            faults.add((name,), "only tcp and udp have ports")
        return None
    if not given:
        return PORTS
    if len(given) == 1:
        absent = "to_port" if given == ["from_port"] else "from_port"
        faults.add((absent,), f"is missing beside {given[0]}")
        return None
    if low is None or high is None:
        return None
    if low > high:
        faults.add(("from_port",), f"{low} is above to_port {high}")
    return low, high


def _icmp(value: dict[str, Any], protocol: int | None, faults: _Faults) -> tuple[int | None, int | None]:
    numbers = [
        faults.read(name, value, lambda number: _integer(number, -1, 255)) for name in ("icmp_type", "icmp_code")
    ]
    if protocol is not None and protocol != ICMP:
        for name in ("icmp_type", "icmp_code"):
            if value.get(name) is not None:
                faults.add((name,), "only icmp has types and codes")
        return None, None
    kind, code = (None if number == -1 else number for number in numbers)
    if code is not None and kind is None and value.get("icmp_type") in (None, -1):
        faults.add(("icmp_code",), "means nothing without icmp_type")
    return kind, code


def _peer(value: dict[str, Any], faults: _Faults) -> Any:
    given = [name for name in ("cidr", "group") if value.get(name) is not None]
    if len(given) == 2:
        faults.add(("group",), "a rule has a cidr or a group, not both")
    if not given:
        faults.add((), "needs a cidr or a group")
    if "cidr" in given:
        return faults.read("cidr", value, parse_cidr)
    return faults.read("group", value, _text)


def _text(value: Any) -> GroupId:
    if not isinstance(value, str) or not value:
        raise ValueError("must be the id of a security group")
    return GroupId(value)


def _sorted_set(rules: Any) -> Any:
    return tuple(sorted(set(rules), key=lambda rule: rule.order)) if isinstance(rules, tuple) else rules


RuleIn = Annotated[Rule, BeforeValidator(parse), PlainSerializer(Rule.to_wire), WithJsonSchema(SCHEMA)]
Rules = Annotated[tuple[RuleIn, ...], AfterValidator(_sorted_set)]
"""Normal: ascending, no rule twice."""
