"""The parts that a view can be realised without: what is closed when the host refuses it, while the rest goes in.

    groups/sg-1              its rules: it lets nothing through, in either direction
      └─ one rule of it
    members/sg-1             rules that name the group as their peer match nobody
    instances/i-1            its port passes nothing
    elastic_ips/203.0.113.7  nobody answers for it

Leaving a part out only ever closes: a group that is left out limits what its instances send, also where it had no egress
rules of its own.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from verge.contract.digest import Digest
from verge.contract.report import Failure
from verge.contract.rule import GroupId, Rule
from verge.contract.view import InstanceId, View, ViewGroup, ViewInstance


@dataclass(frozen=True, slots=True)
class Part:
    section: str
    id: str
    rule: tuple[str, Rule] | None = None
    """Of a group: the direction (`ingress`, `egress`) and one of its rules."""

    @property
    def object(self) -> str:
        """As reports name it."""
        return f"{self.section}/{self.id}"

    @property
    def described(self) -> str:
        """Which part of the object it is; empty for the whole."""
        if self.rule is None:
            return ""
        direction, rule = self.rule
        return f"{direction} rule {' '.join(f'{name}={value}' for name, value in rule.to_wire().items())}"


LeftOut = Mapping[Part, Failure]
"""With what is reported of each."""
NOTHING: Final[LeftOut] = MappingProxyType({})


def parts(view: View) -> tuple[Part, ...]:
    """All but single rules, each behind what it refers to."""
    return (
        *(Part("groups", name) for name in sorted(view.groups)),
        *(Part("members", name) for name in sorted(view.members)),
        *(Part("instances", name) for name in sorted(view.instances)),
        *(Part("elastic_ips", str(vm.elastic_ip)) for _, vm in sorted(view.instances.items()) if vm.elastic_ip),
    )


def rules_of(view: View, group: Part) -> tuple[Part, ...]:
    found = view.groups[GroupId(group.id)]
    named = (("ingress", found.ingress), ("egress", found.egress or ()))
    return tuple(replace(group, rule=(direction, rule)) for direction, rules in named for rule in rules)


def digest(view: View, part: Part) -> Digest | None:
    """Of what the view says about it: another digest is another chance. None: the view has no such part."""
    wire = view.wire
    match part.section:
        case "members":
            members = view.members.get(GroupId(part.id))
            return members.digest if members else None
        case "elastic_ips":
            having = (name for name, vm in view.instances.items() if str(vm.elastic_ip) == part.id)
            return next((wire.leaves["instances"][name] for name in having), None)
        case section:
            return wire.leaves[section].get(part.id)


def without(view: View, left_out: Collection[Part]) -> View:
    """The view as it is realised. Instances that are left out stay: whoever is closed must be known (`instances.sort`)."""
    if not left_out:
        return view
    named: dict[str, set[str]] = {"groups": set(), "members": set(), "instances": set(), "elastic_ips": set()}
    rules: dict[str, list[tuple[str, Rule]]] = {}
    for part in left_out:
        if part.rule is None:
            named[part.section].add(part.id)
        else:
            rules.setdefault(part.id, []).append(part.rule)
    return replace(
        view,
        groups={
            name: _without_rules(one, rules[name]) if name in rules else one
            for name, one in view.groups.items()
            if name not in named["groups"]
        },
        members={name: one for name, one in view.members.items() if name not in named["members"]},
        instances=_without_elastic(view.instances, named["elastic_ips"]),
    )


def closed_instances(left_out: Iterable[Part]) -> frozenset[InstanceId]:
    return frozenset(InstanceId(part.id) for part in left_out if part.section == "instances")


def _without_rules(group: ViewGroup, rules: Iterable[tuple[str, Rule]]) -> ViewGroup:
    gone = set(rules)
    egress = group.egress
    return replace(
        group,
        ingress=tuple(rule for rule in group.ingress if ("ingress", rule) not in gone),
        egress=None if egress is None else tuple(rule for rule in egress if ("egress", rule) not in gone),
    )


def _without_elastic(
    instances: Mapping[InstanceId, ViewInstance], elastic: Collection[str]
) -> Mapping[InstanceId, ViewInstance]:
    if not elastic:
        return instances
    return {
        name: replace(vm, elastic_ip=None) if str(vm.elastic_ip) in elastic else vm for name, vm in instances.items()
    }
