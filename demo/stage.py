"""What every step uses: the lab, the cloud, flows by the VMs' names, and how outcomes are told."""

from collections.abc import Iterable
from typing import Any

from demo.cloud import Cloud
from demo.network import VMS, Vm, placed
from demo.screen import Screen
from demo.setting import Setting
from lab.build import Lab
from lab.flows import Flow
from lab.host import Host
from lab.probes import probe

NAMES = {vm.interface: vm.name for vm in VMS}
BY_NAME = {vm.name: vm for vm in VMS}


class Stage:
    def __init__(self, lab: Lab, cloud: Cloud, screen: Screen, setting: Setting) -> None:
        self.lab = lab
        self.cloud = cloud
        self.screen = screen
        self.setting = setting
        self.vms = {vm.name: vm for vm in placed(setting)}

    # -- telling

    def told(self, outcome: dict[str, Any]) -> None:
        """Who was affected, and how long it took until the change was in force there."""
        affected = outcome["affected"]
        text = f"revision {outcome['revision']}: affects {', '.join(affected) or 'no node'}"
        if not outcome["converged"]:
            self.screen.fact(f"{text}; after {outcome['waited_ms']:.0f} ms still not in force everywhere")
            return
        change = self.cloud.get(f"/v1/updates/{outcome['revision']}")
        took = [f"{node} {found['ms']:.0f} ms" for node, found in change["nodes"].items() if found]
        stages = f" ({', '.join(took)})" if took else ""
        self.screen.fact(f"{text}; POST to in force everywhere: {outcome['waited_ms']:.0f} ms{stages}")

    def explained(self, src: str, dst: str, port: int, expected: str) -> None:
        """What the view server says of it, from what is meant and what the nodes have reported; and by what."""
        found = self.cloud.get("/v1/explain", **{"from": self.vms[src].id, "to": self.vms[dst].id, "port": port})
        said = f"{found['verdict']}, {'in force' if found['in_force'] else 'not in force'}"
        self.screen.outcome(f"explain {src} → {dst}  tcp {port}", expected, said)
        self.screen.note(found["reason"])

    def said(self, what: str, expected: str, found: str) -> None:
        self.screen.outcome(what, expected, found)

    def expect(self, passes: Iterable[Flow], blocked: Iterable[Flow] = ()) -> None:
        passes, blocked = list(passes), list(blocked)
        outcomes = probe(blocked, awaited=passes)
        for flow, expected in [*((flow, "passes") for flow in passes), *((flow, "blocked") for flow in blocked)]:
            self.screen.outcome(self._described(flow), expected, "passes" if outcomes[flow].passed else "blocked")

    # -- hosts and flows by name

    def vm(self, name: str) -> Vm:
        return self.vms[name]

    def host(self, name: str) -> Host:
        return self.lab[self.vms[name].interface]

    def tcp(self, src: str, dst: str, port: int) -> Flow:
        return Flow.tcp(self.host(src), self.host(dst), self.vms[dst].ip, port)

    def ping(self, src: str, dst: str) -> Flow:
        return Flow.icmp(self.host(src), self.host(dst), self.vms[dst].ip)

    def from_outside(self, dst: str, port: int, address: str | None = None) -> Flow:
        return Flow.tcp(self.lab["outside"], self.host(dst), address or self.vms[dst].ip, port)

    def _described(self, flow: Flow) -> str:
        src, dst = (NAMES.get(host.name, host.name) for host in (flow.src, flow.dst))
        what = "ping" if flow.protocol == 1 else f"tcp {flow.port}"
        places = [f" on {self.vms[name].node}" for name in (src, dst) if name in self.vms]
        where = f"  ({src}{places[0]}, {dst}{places[1]})" if len(places) == 2 else ""
        own = self.vms[dst].ip if dst in self.vms else None
        address = f" by {flow.address}" if own not in (None, str(flow.address)) else ""
        return f"{src} → {dst}{address}  {what}{where}"
