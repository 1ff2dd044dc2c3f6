"""What a setting of the host was before the agent changed it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["sysctl", "nf_call_iptables", "hairpin"]


class Setting(NamedTuple):
    kind: Kind
    name: str
    """Of a sysctl the path below /proc/sys, else the bridge or port."""

    @property
    def closes(self) -> bool:
        """Does the agent's value let less through? Then it is set back last."""
        return self.kind == "nf_call_iptables" or self.name.startswith("net/ipv6/")

    def command(self, value: str) -> str:
        """As an operator would set it."""
        match self.kind:
            case "sysctl":
                return f"sysctl {self.name}={value}"
            case "nf_call_iptables":
                return f"ip link set {self.name} type bridge nf_call_iptables {value}"
            case "hairpin":
                return f"bridge link set dev {self.name} hairpin {'on' if value == '1' else 'off'}"


@dataclass(frozen=True, slots=True)
class Former:
    was: str
    set: str
    """By the agent."""


Formers = Mapping[Setting, Former]


def noted(known: Formers, changed: Iterable[tuple[Setting, Former]]) -> Formers:
    """What was first is what was there before the agent: later changes are between it and others."""
    return {**dict(changed), **known}
