"""The networks that a document's addresses tell of, as a topology of the lab.

A document names addresses and, of the private networks, masks; it draws no picture. The picture here:

    outside, and peers for the rules' CIDRs
       │ internet
    router ─── public: hypervisors and CLC, where their addresses lie in no private subnet; elastic IPs
       │  │
       │  └── private-1: a zone's subnet; the hypervisors themselves and the CLC, where their addresses lie in it
       └───── private-2 …                  (zones with the same subnet share the segment)
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, collapse_addresses, summarize_address_range

from demo.document.choice import Choice
from demo.document.model import Model
from lab.topology import Attachment, Machine, Topology, Zone

_INTERNETS = tuple(map(IPv4Network, ("203.0.113.0/24", "198.18.0.0/24", "198.19.255.0/24", "192.88.99.0/24")))
_PUBLIC = "public"
_WIDEST = 12
"""The shortest prefix at which all components are taken to share one network."""
_MOST_PEERS = 4
_RESERVED = {"router", "outside", "clc", "internet", _PUBLIC}
_LONGEST_NAME = 15


class NotBuildable(Exception):
    """The document's addresses contradict each other, or the picture above."""


@dataclass(frozen=True, slots=True)
class Site:
    """`hosts`: the lab's name of each built node. `outsiders`: hosts of the internet and their addresses."""

    topology: Topology
    hosts: Mapping[str, str]
    public_interfaces: Mapping[str, str]
    outsiders: Mapping[str, IPv4Address]
    clc: IPv4Address
    pictures: tuple[str, ...]


def of(model: Model, choice: Choice) -> Site:
    """Raises NotBuildable."""
    return _Draft(model, choice).site()


class _Draft:
    def __init__(self, model: Model, choice: Choice) -> None:
        if not choice.vms:
            raise NotBuildable("the document gives no instance a node")
        self.model = model
        self.nodes = [model.nodes[name] for name in choice.nodes]
        self.vms = choice.vms
        self.subnets = list(dict.fromkeys(model.subnet_of(name) for name in choice.nodes))
        self.gateways = {zone.subnet: zone.gateway for zone in reversed(list(model.zones.values()))}
        self.taken = {node.address for node in model.nodes.values()} | {vm.ip for vm in model.vms.values()}
        self.taken |= {zone.gateway for zone in model.zones.values()} | ({model.clc} if model.clc else set())
        self.pools = [*model.public, *(each for zone in model.zones.values() for each in zone.pool)]
        components = [node.address for node in self.nodes] + ([model.clc] if model.clc else [])
        outer = [address for address in components if not any(address in subnet for subnet in self.subnets)]
        self.shared = _networks(outer, [zone.subnet for zone in model.zones.values()])
        self.router = self._spare(_hosts(self.shared[0])) if self.shared else None
        self.clc = model.clc or self._spare(_hosts((self.shared or self.subnets)[0]))
        if self.clc in (*self.gateways.values(), *(node.address for node in model.nodes.values())):
            raise NotBuildable(
                f"the CLC's address, {self.clc}, is a gateway's or a node's too: the lab has hosts of their own"
            )

    def site(self) -> Site:
        self._require_reachable()
        internet = self._internet()
        first = internet.network_address
        outsiders = {"outside": first + 10, **self._peers(internet)}
        hosts = self._names()
        public = {node.name: "br0" if self.model.is_flat(node.name) else "pub0" for node in self.nodes}
        topology = Topology(
            name="document",
            segments=(*map(self._segment, self.subnets), *([_PUBLIC] if self.shared else []), "internet"),
            machines=(
                self._router(IPv4Interface((first + 1, internet.prefixlen)), outsiders),
                *(self._outsider(name, address, first + 1, internet) for name, address in outsiders.items()),
                self._component("clc", "eth0", self.clc),
                *(self._node(hosts[node.name], node.name) for node in self.nodes),
            ),
        )
        return Site(topology, hosts, public, outsiders, self.clc, tuple(self._pictures(outsiders)))

    # -- machines

    def _router(self, internet: IPv4Interface, outsiders: Mapping[str, IPv4Address]) -> Machine:
        attachments = [
            Attachment(self._segment(subnet), f"lan{n}", IPv4Interface((self.gateways[subnet], subnet.prefixlen)))
            for n, subnet in enumerate(self.subnets)
        ]
        on_link = [(IPv4Network(peer), "wan0") for peer in outsiders.values() if peer not in internet.network]
        if self.router:
            attachments.append(Attachment(_PUBLIC, "dmz0", IPv4Interface((self.router, self.shared[0].prefixlen))))
            on_link += [(network, "dmz0") for network in self.shared[1:]]
        attached = [*self.subnets, *self.shared]
        on_link += [
            (network, self._towards_elastic_ips())
            for network in self._public_networks()
            if not any(network.subnet_of(each) for each in attached)
        ]
        attachments.append(Attachment("internet", "wan0", internet))
        return Machine("router", tuple(attachments), forwards=True, on_link=tuple(on_link))

    def _towards_elastic_ips(self) -> str:
        """Those that lie in no network of the site: the router's interface behind which the hypervisors answer for them."""
        found = {self._behind(node.address) for node in self.nodes}
        if len(found) > 1:
            raise NotBuildable(
                "elastic IPs of no network here, and hypervisors on several: where are they to be routed?"
            )
        return found.pop()

    def _require_reachable(self) -> None:
        """An elastic IP in a network of the site is resolved there, so its holder's node must answer for it there."""
        apart = []
        for vm in self.vms:
            address = self.model.elastic_of(vm.id)
            if address and any(address in network for network in (*self.subnets, *self.shared)):
                node = self.model.nodes[vm.node]
                if self._behind(address) != self._behind(node.address):
                    apart.append(f"{address} of {vm.id} on {node.name}, {node.address}")
        if apart:
            raise NotBuildable(
                f"elastic IPs lie in a network on which their hypervisor has no address: {', '.join(apart[:3])}"
            )

    def _behind(self, address: IPv4Address) -> str:
        return next((f"lan{n}" for n, subnet in enumerate(self.subnets) if address in subnet), "dmz0")

    def _outsider(self, name: str, address: IPv4Address, gateway: IPv4Address, internet: IPv4Network) -> Machine:
        inside = address in internet
        attachment = Attachment("internet", "eth0", IPv4Interface((address, internet.prefixlen if inside else 32)))
        return Machine(name, (attachment,), gateway, on_link=() if inside else ((IPv4Network(gateway), "eth0"),))

    def _component(self, name: str, interface: str, address: IPv4Address) -> Machine:
        """A host with one address, wherever that lies."""
        for subnet in self.subnets:
            if address in subnet:
                attachment = Attachment(self._segment(subnet), interface, IPv4Interface((address, subnet.prefixlen)))
                return Machine(name, (attachment,), self.gateways[subnet])
        network = next(each for each in self.shared if address in each)
        assert self.router is not None
        attachment = Attachment(_PUBLIC, interface, IPv4Interface((address, network.prefixlen)))
        far = () if self.router in network else ((IPv4Network(self.router), interface),)
        return Machine(name, (attachment,), self.router, on_link=far)

    def _node(self, host: str, name: str) -> Machine:
        address, subnet = self.model.nodes[name].address, self.model.subnet_of(name)
        zone = Zone("br0", subnet, self.model.zones[self.model.nodes[name].zone].gateway)
        if address in subnet:
            uplink = Attachment(self._segment(subnet), "up0", IPv4Interface((address, subnet.prefixlen)), "br0")
            return Machine(host, (uplink,), zone.gateway, zone=zone)
        own = self._spare(_hosts(subnet, from_end=True))
        uplink = Attachment(self._segment(subnet), "up0", IPv4Interface((own, subnet.prefixlen)), "br0")
        public = self._component(host, "pub0", address)
        return Machine(host, (uplink, *public.attachments), public.gateway, zone=zone, on_link=public.on_link)

    def _names(self) -> dict[str, str]:
        """A namespace's and a switch port's name is short; most nodes are named by their address, which fits."""
        used = _RESERVED | {self._segment(subnet) for subnet in self.subnets} | {vm.interface for vm in self.vms}
        found = {}
        for number, node in enumerate(self.nodes, 1):
            fits = len(node.name) <= _LONGEST_NAME and node.name not in used and not node.name.startswith("peer-")
            found[node.name] = node.name if fits else f"node-{number}"
        return found

    # -- addresses

    def _segment(self, subnet: IPv4Network) -> str:
        return f"private-{self.subnets.index(subnet) + 1}"

    def _spare(self, candidates: Iterable[IPv4Address]) -> IPv4Address:
        for address in candidates:
            if address not in self.taken and not any(address in pool for pool in self.pools):
                self.taken.add(address)
                return address
        raise NotBuildable("a network of the document has no address left for what the document does not name")

    def _public_networks(self) -> Iterator[IPv4Network]:
        return collapse_addresses(
            network for each in self.model.public for network in summarize_address_range(each.first, each.last)
        )

    def _is_inside(self, network: IPv4Network) -> bool:
        """Some of it is the site's own."""
        zones = [zone.subnet for zone in self.model.zones.values()]
        own = any(network.overlaps(each) for each in (*zones, *self.shared, *self.model.others))
        return own or any(pool.overlaps(network) for pool in self.model.public)

    def _internet(self) -> IPv4Network:
        for network in _INTERNETS:
            if not self._is_inside(network):
                return network
        raise NotBuildable("the document uses every network that could be the outside")

    def _peers(self, internet: IPv4Network) -> dict[str, IPv4Address]:
        """An address in some of the CIDRs that rules name, those of VMs with an elastic IP: whom they let in from outside."""
        holders = [vm for vm in self.vms if self.model.elastic_of(vm.id)]
        found: dict[IPv4Address, None] = {}
        for vm in holders:
            for group in sorted(vm.groups):
                for rule in self.model.ingress[group]:
                    network = IPv4Network(rule.get("cidr", "0.0.0.0/0"))
                    address = network[1] if network.num_addresses > 1 else network[0]
                    if address.is_multicast or address.is_loopback or address.is_reserved or address.packed[0] == 0:
                        continue
                    if network.overlaps(internet) or self._is_inside(network):
                        continue
                    found[address] = None
                    break
        return {f"peer-{number}": address for number, address in enumerate(list(found)[:_MOST_PEERS], 1)}

    # -- telling

    def _pictures(self, outsiders: Mapping[str, IPv4Address]) -> Iterator[str]:
        for subnet in self.subnets:
            nodes = [node.name for node in self.nodes if self.model.subnet_of(node.name) == subnet]
            flat = any(self.model.is_flat(name) for name in nodes)
            whose = "of the VMs and of the hypervisors" if flat else "of the VMs"
            yield f"{subnet} {whose}, gateway {self.gateways[subnet]}: {', '.join(nodes)}"
        if self.shared:
            apart = any(self._behind(node.address) == "dmz0" for node in self.nodes)
            whose = "of the hypervisors and the components" if apart else "of the components"
            yield f"{', '.join(map(str, self.shared))} {whose}, router {self.router}"
        yield f"CLC and view server {self.clc}; outside: {', '.join(map(str, outsiders.values()))}"


def _networks(addresses: list[IPv4Address], private: list[IPv4Network]) -> list[IPv4Network]:
    """Networks for the components: one if that can be, else each its /24. Raises NotBuildable."""
    if not addresses:
        return []
    whole = IPv4Network((min(addresses), 24), strict=False)
    while max(addresses) not in whole and whole.prefixlen > _WIDEST:
        whole = whole.supernet()
    each = list(dict.fromkeys(IPv4Network((address, 24), strict=False) for address in addresses))
    for networks in ([whole] if max(addresses) in whole else each, each):
        if not any(network.overlaps(subnet) for network in networks for subnet in private):
            return networks
    raise NotBuildable(
        "components have addresses next to a private subnet, and the document does not say where it ends"
    )


def _hosts(network: IPv4Network, *, from_end: bool = False) -> Iterator[IPv4Address]:
    return (network[-1 - n if from_end else n] for n in range(1, network.num_addresses - 1))
