"""The whole: view → what this node should hold, and what of the view it refuses."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface
from typing import Literal

from nodeagent.desired import antispoof, elastic, groups, judgement, limits, parts, resolution, settings, translation
from nodeagent.desired import instances as sorting
from nodeagent.desired.boxes import canonical
from nodeagent.desired.elastic import Bindings, Pair
from nodeagent.desired.judgement import Manners
from nodeagent.desired.memo import Memo
from nodeagent.desired.parts import NOTHING, LeftOut
from nodeagent.desired.translation import Translations
from nodeagent.state import ownership, scratch
from nodeagent.state.host import HostFacts, Identity, Sysctl
from nodeagent.state.metered import NOBODY, Metered
from nodeagent.state.rule import KeyType
from nodeagent.state.ruleset import Chain, Ruleset, Set, Span, Table
from verge.contract.members import Members
from verge.contract.report import Failure
from verge.contract.rule import GroupId
from verge.contract.view import InstanceId, Interface, Range, View, ViewGroup, ViewInstance

_NOBODY = Members({})
_NO_IDENTITY = Identity()


@dataclass(frozen=True, slots=True)
class Desired:
    """What a view means on this host. Two equal views give equal ones, whatever came before either."""

    ruleset: Ruleset
    """Without policy generations (`state.generations`)."""
    failures: tuple[Failure, ...] = ()
    interfaces: Mapping[InstanceId, Interface] = field(default_factory=dict)
    """Of the instances that are enforced."""
    prepared: frozenset[InstanceId] = frozenset()
    """Everything of them that does not open their ports is in the ruleset."""
    quarantined: frozenset[InstanceId] = frozenset()
    revoke: Literal["cut", "drain"] = "cut"
    elastic: tuple[Pair, ...] = ()
    """Elastic IPs in force."""
    elastic_ranges: tuple[Span, ...] = ()
    metered: Metered = NOBODY
    speaks_for: frozenset[int] = frozenset()
    """Private addresses that neighbours find by this host's MAC address."""
    sysctls: tuple[Sysctl, ...] = ()
    """Set behind the ruleset, in this order."""
    addresses: frozenset[IPv4Interface] = frozenset()
    """That the bridge is to have."""


@dataclass(frozen=True, slots=True)
class _Groups:
    """What all groups together put into the ip table."""

    sets: Mapping[str, Set]
    chains: Mapping[str, Chain]
    peers: tuple[tuple[GroupId, str], ...]
    """Groups whose members they look up, each with the name of its set."""
    failures: tuple[Failure, ...]


def desired(
    view: View | None,
    facts: HostFacts,
    memo: Memo | None = None,
    *,
    identity: Identity = _NO_IDENTITY,
    left_out: LeftOut = NOTHING,
) -> Desired:
    """None gives the closed skeleton: every port that matches the pattern is shut, the host itself is untouched. What is
    left out is closed."""
    if view is None:
        return Desired(_skeleton(facts))
    memo = memo or Memo()
    view, fault = _possible(view, facts, identity)
    result = _desired(view, facts, _without_ours(identity, view), memo, left_out)
    memo.forget_unused()
    return replace(result, failures=(*fault, *result.failures))


def _possible(view: View, facts: HostFacts, identity: Identity) -> tuple[View, tuple[Failure, ...]]:
    """A host that had the address of its own router would be cut off by it. It can still stand in for that router."""
    gateway = view.zone.gateway
    if view.host.gateway_mode != "node" or gateway not in identity.next_hops:
        return view, ()
    why = f"gateway_mode node: {gateway} is a router that this host itself uses, so it is enforced as impersonate"
    return (
        replace(view, host=replace(view.host, gateway_mode="impersonate")),
        (Failure(f"host/{facts.bridge}", "links", why),),
    )


def _skeleton(facts: HostFacts) -> Ruleset:
    manners = Manners(
        vm_to_host=False, host_to_vm=False, public_interface=None, transit=facts.transit, limits=facts.limits
    )
    nobody = Bindings()
    return {
        ownership.ARP: resolution.arp_table(facts, _NO_IDENTITY, resolution.NOTHING, _NOBODY),
        ownership.BRIDGE: antispoof.table(facts, _NO_IDENTITY, resolution.NOTHING, (), ()),
        ownership.IP: Table(
            {**judgement.sets(_NOBODY, (), _NOBODY), **elastic.sets(nobody, ()), **limits.flow_sets(facts.limits)},
            {**judgement.maps(()), **elastic.maps(nobody)},
            judgement.base_chains(manners),
        ),
    }


def _without_ours(identity: Identity, view: View) -> Identity:
    """What the host was before it was given the gateway's address: so that being given it changes nothing here."""
    shared: frozenset[IPv4Address] = frozenset(address.ip for address in settings.addresses(view))
    return replace(identity, addresses=identity.addresses - shared, bridge_addresses=identity.bridge_addresses - shared)


def _desired(whole: View, facts: HostFacts, identity: Identity, memo: Memo, left_out: LeftOut) -> Desired:
    view = parts.without(whole, left_out)
    network = view.network
    refused = parts.closed_instances(left_out)
    without_rules = replace(view, groups={}, members={}, digest="")
    sorted_ = memo.of(sorting.sort, (), without_rules, facts, refused)
    failures = [
        *left_out.values(),
        *(
            Failure(f"instances/{name}", "ruleset", why)
            for name, why in sorted_.quarantined.items()
            if name not in refused
        ),
    ]

    tested = scratch.instances(facts.ports) if facts.self_test else ()
    between = scratch.group(facts.ports) if tested else ()
    made = memo.within(_groups, view.groups, network.same_group_traffic == "allow", between)
    failures += made.failures

    bound = memo.of(elastic.bindings, (), without_rules, sorted_.enforced, identity)
    failures += [Failure(f"elastic_ips/{address}", "ruleset", why) for address, why in bound.faults]
    # who has which elastic IP concerns `elastic` alone: the rest need not be made again for it
    enforced = memo.within(_plain, sorted_.enforced)
    ranges = elastic.pool(view, identity)
    hop = resolution.resolution(view, ranges)

    sets: dict[str, Set] = {
        **memo.of(_address_sets, (), (*enforced, *tested), sorted_.closed, _instance_ranges(view), hop.gateway),
        **memo.of(elastic.sets, (), bound, ranges),
        **memo.of(limits.flow_sets, (), facts.limits),
    }
    chains: dict[str, Chain] = {
        **memo.of(judgement.base_chains, (), _manners(view, facts)),
        **memo.of(translation.chains, (), _translations(view, facts)),
    }
    sets |= made.sets
    chains |= made.chains
    sets |= memo.within(_members_sets, made.peers, view.members)

    placed: list[tuple[ViewInstance, bool]] = []
    for vm in (*enforced, *sorted_.prepared):
        known = tuple(sorted({group for group in vm.groups if group in view.groups}))
        egress = _egress(vm, view)
        failures += [
            Failure(f"instances/{vm.id}", "ruleset", f"the view lacks its group {group}, which lets nothing through")
            for group in sorted(set(vm.groups) - whole.groups.keys())
        ]
        chains.update(memo.of(judgement.instance_chains, (vm.id,), vm, known, egress))
        # no map leads to the chains of one that is prepared: the cut-over is a few elements, whatever its groups
        if vm.node == view.node:
            placed.append((vm, egress is not None))

    for port in tested:
        chains.update(memo.of(judgement.instance_chains, (port.id,), port, port.groups, None))
        placed.append((port, False))

    maps = {**memo.of(judgement.maps, (), tuple(placed)), **memo.of(elastic.maps, (), bound)}
    closed, here = tuple(sorted(sorted_.closed)), bound.here
    ports: Table = memo.of(antispoof.table, (), facts, identity, hop, (*enforced, *tested), closed)
    return Desired(
        ruleset={
            ownership.ARP: memo.of(resolution.arp_table, (), facts, identity, hop, here),
            ownership.BRIDGE: replace(ports, sets={**ports.sets, **memo.of(resolution.here, (), facts, here)}),
            ownership.IP: Table(sets, maps, chains),
        },
        failures=tuple(failures),
        interfaces={vm.id: vm.interface for vm in enforced},
        prepared=frozenset(vm.id for vm in sorted_.prepared),
        quarantined=frozenset(sorted_.quarantined),
        revoke=network.revoke,
        elastic=bound.pairs,
        elastic_ranges=ranges,
        metered=memo.of(_metered, (), enforced, view.network.private_ranges, view.network.public_ips),
        speaks_for=resolution.speaks_for(hop, enforced),
        sysctls=settings.sysctls(facts, view),
        addresses=settings.addresses(view),
    )


def _manners(view: View, facts: HostFacts) -> Manners:
    return Manners(
        vm_to_host=view.network.vm_to_host == "allow",
        host_to_vm=view.network.host_to_vm == "allow",
        public_interface=facts.public_interface if facts.is_separate else None,
        transit=facts.transit,
        limits=facts.limits,
    )


def _translations(view: View, facts: HostFacts) -> Translations:
    return Translations(
        node=int(view.host.address),
        metadata=view.network.metadata,
        masquerade=view.network.private_nat == "masquerade",
        is_separate=facts.is_separate,
    )


def _egress(vm: ViewInstance, view: View) -> tuple[GroupId, ...] | None:
    """The union of its groups' egress rules; one group without any lets all out, and so does having no group."""
    known = [view.groups[group] for group in sorted(set(vm.groups)) if group in view.groups]
    if not vm.groups or any(group.egress is None for group in known):
        return None
    return tuple(group.id for group in known)


def _address_sets(
    enforced: tuple[ViewInstance, ...], closed: frozenset[int], instance_ranges: tuple[Span, ...], gateway: int
) -> dict[str, Set]:
    local = Members.of([*(int(vm.private_ip) for vm in enforced), *closed])
    return judgement.sets(local, instance_ranges, Members.of([gateway]))


def _groups(
    memo: Memo, view_groups: Mapping[GroupId, ViewGroup], allow_same: bool, between: tuple[ViewGroup, ...]
) -> _Groups:
    """`between` are the groups of the self-test, whose ports may reach each other by rules alone."""
    made = {name: memo.of(groups.objects, (name,), group, allow_same) for name, group in sorted(view_groups.items())}
    rules_only = False
    made |= {one.id: memo.of(groups.objects, (one.id,), one, rules_only) for one in between}
    sets: dict[str, Set] = {}
    chains: dict[str, Chain] = {}
    for one in made.values():
        sets.update(one.sets)
        chains.update(one.chains)
    peers = sorted({peer for one in made.values() for peer in one.peers})
    failures = [Failure(f"groups/{name}", "ruleset", fault) for name, one in made.items() for fault in one.faults]
    return _Groups(sets, chains, tuple((peer, groups.members_set(peer)) for peer in peers), tuple(failures))


def _members_sets(
    memo: Memo, peers: tuple[tuple[GroupId, str], ...], members: Mapping[GroupId, Members]
) -> Mapping[str, Set]:
    return {name: memo.of(_members_set, (peer,), members.get(peer, _NOBODY)) for peer, name in peers}


def _members_set(members: Members) -> Set:
    return Set((KeyType.IPV4,), members)


def _plain(memo: Memo, enforced: tuple[ViewInstance, ...]) -> tuple[ViewInstance, ...]:
    return tuple(memo.of(_without_elastic, (vm.id,), vm) for vm in enforced)


def _without_elastic(vm: ViewInstance) -> ViewInstance:
    return replace(vm, elastic_ip=None) if vm.elastic_ip else vm


def _metered(enforced: tuple[ViewInstance, ...], *ranges: tuple[Range, ...]) -> Metered:
    spans = (Span(int(low), int(high)) for one in ranges for low, high in one)
    return Metered({int(vm.private_ip): vm.id for vm in enforced}, frozenset(elastic.joined(spans)))


def _instance_ranges(view: View) -> tuple[Span, ...]:
    """Addresses of instances on any node. A range that holds the host itself, the gateway or a server of the cloud is a
    whole subnet and no pool: denying it the host would cut the host off from its own network."""
    network = view.network
    others = {view.host.address, view.zone.gateway, *network.dns_servers}
    if network.metadata is not None:
        others.add(network.metadata.host)

    def is_pool(pair: Range) -> bool:
        return not any(pair[0] <= address <= pair[1] for address in others)

    spans = [(Span(int(low), int(high)),) for low, high in filter(is_pool, network.private_ranges)]
    return tuple(sorted(span for (span,) in canonical(spans, prefixes=False)))
