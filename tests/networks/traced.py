"""A packet on its way through the rulesets that a network's views mean, hook by hook, without a kernel.

    source's port ─▶ its node: bridge and ip prerouting, forward, ip and bridge postrouting ─▶ uplink
                     destination's node: the same ─▶ destination's port

On one node both ends are in one walk, also where it turns only behind translation. Whoever is no instance comes in or goes
out by the uplinks.
"""

from __future__ import annotations

from nodeagent.desired.node import desired
from nodeagent.state import ownership
from nodeagent.state.host import HostFacts
from nodeagent.state.rule import Field
from nodeagent.state.ruleset import Ruleset, TableId
from tests.networks.compiled import views
from tests.networks.words import ELASTIC, Network, Vm
from tests.oracle.message import Message
from tests.unit.nodeagent.policy import packet
from tests.unit.nodeagent.trace import Packet, base
from verge.contract.report import Failure

UPLINK = "up0"
ROUTER_MAC = "02:aa:0a:6f:00:01"
_HOOKS = (
    ("prerouting", ownership.BRIDGE),
    ("prerouting", ownership.IP),
    ("forward", ownership.BRIDGE),
    ("forward", ownership.IP),
    ("postrouting", ownership.IP),
    ("postrouting", ownership.BRIDGE),
)
"""The ip family's hooks as br_netfilter calls them, inside the bridge's."""


class Traced:
    """The network's views, compiled once; `passes` for each packet."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.facts = HostFacts("br0", network.topology.public_interface, uplinks=(UPLINK,))
        self.failures: list[Failure] = []
        self.rulesets: dict[str, Ruleset] = {}
        for node, view in views(network.operations).items():
            found = desired(view, self.facts)
            self.rulesets[node] = found.ruleset
            self.failures += found.failures
        self._chains = {node: _base_chains(ruleset) for node, ruleset in self.rulesets.items()}

    def passes(self, source: str, destination: str, message: Message) -> bool:
        """The first packet of a flow between two VMs, or one and a host that is no hypervisor. All by name."""
        src, dst = self.network.by_name(source), self.network.by_name(destination)
        nodes = dict.fromkeys(end.node for end in (src, dst) if end)
        datagram = packet(str(self.network.address(source)), str(self.network.address(destination)), message)
        comes_by = self.facts.public_interface if destination.startswith(ELASTIC) else self.facts.bridge
        return all(self._through(node, src, dst, datagram, comes_by) for node in nodes)

    def _through(self, node: str, src: Vm | None, dst: Vm | None, datagram: Packet, comes_by: str) -> bool:
        """As it leaves the node it goes on to the next, which knows nothing of the flow, and sees it come by that link."""
        frame = Packet(
            {
                **datagram.fields,
                Field.IIFNAME: src.interface if src and src.node == node else UPLINK,
                Field.OIFNAME: dst.interface if dst and dst.node == node else UPLINK,
                Field.ETHER_SADDR: src.mac if src else ROUTER_MAC,
                Field.ETHER_DADDR: dst.mac if dst else ROUTER_MAC,
                Field.ETHER_TYPE: "ip",
                Field.PACKET_TYPE: "host",
            }
        )
        datagram.fields |= {
            Field.IIFNAME: self.facts.bridge if src and src.node == node else comes_by,
            Field.OIFNAME: self.facts.bridge,
            Field.CT_STATUS: 0,
            Field.CT_MARK: 0,
        }
        ruleset = self.rulesets[node]
        for table, chain in self._chains[node]:
            if table == ownership.BRIDGE:
                frame.fields |= {end: datagram.fields[end] for end in (Field.IP_SADDR, Field.IP_DADDR)}
            if not base(ruleset[table], chain, frame if table == ownership.BRIDGE else datagram):
                return False
        return True


def _base_chains(ruleset: Ruleset) -> list[tuple[TableId, str]]:
    """In the order in which a bridged packet meets them."""
    found = []
    for hook, table in _HOOKS:
        hooked = [
            (chain.hook.priority, name)
            for name, chain in ruleset[table].chains.items()
            if chain.hook and chain.hook.hook == hook
        ]
        found += [(table, name) for _, name in sorted(hooked)]
    return found
