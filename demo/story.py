"""The steps. After each one real packets are tried, and what came of it is told beside what was expected."""

from collections.abc import Iterable
from typing import Any

from demo.cloud import Cloud
from demo.network import ANYWHERE, DB_RULES, GUEST_MAY_ASK_DB, VMS, db_group, instances, nodes, put, rule
from demo.screen import Screen
from lab.build import Lab
from lab.flows import Flow
from lab.host import Host
from lab.probes import probe
from lab.session import Session, Side

NAMES = {vm.interface: vm.name for vm in VMS}
BY_NAME = {vm.name: vm for vm in VMS}


class Story:
    def __init__(self, lab: Lab, cloud: Cloud, screen: Screen) -> None:
        self.lab = lab
        self.cloud = cloud
        self.screen = screen

    def tell(self) -> None:
        self.closed_before_anything_is_known()
        self.instances_get_connectivity()
        self.a_rule_is_opened_and_revoked()
        self.an_agent_is_killed_and_comes_back()
        self.the_view_server_is_killed_and_comes_back()

    # -- the steps

    def closed_before_anything_is_known(self) -> None:
        self.screen.step("Six VMs are plugged in; the cloud has said nothing of them yet")
        outcome = self.cloud.post(nodes())
        self.told(outcome)
        self.screen.note("A port that no view names passes nothing. The hypervisor itself stays connected.")
        self.expect(
            passes=[Flow.icmp(self.lab["nc-1"], self.lab["router"], "10.111.0.1")],
            blocked=[self.tcp("web-1", "app-1", 8000), self.ping("app-1", "web-2"), self.from_outside("web-1", 80)],
        )

    def instances_get_connectivity(self) -> None:
        self.screen.step("One POST: four security groups and six instances")
        self.told(self.cloud.post(instances()))
        self.expect(
            passes=[
                self.from_outside("web-1", 80),
                self.ping("app-1", "web-2"),
                self.tcp("web-1", "app-1", 8000),
                self.tcp("web-1", "app-2", 8000),
                self.tcp("app-2", "db", 5432),
            ],
            blocked=[
                self.from_outside("app-1", 8000),
                self.tcp("web-1", "db", 5432),
                self.tcp("guest", "app-2", 8000),
                self.tcp("guest", "db", 5432),
                self.ping("web-1", "guest"),
            ],
        )

    def a_rule_is_opened_and_revoked(self) -> None:
        self.screen.step("A rule is opened: guest may ask db")
        self.told(self.cloud.post([put("group", "sg-db", db_group(*DB_RULES, GUEST_MAY_ASK_DB))]))
        self.expect(passes=[self.tcp("guest", "db", 5432)], blocked=[self.tcp("web-1", "db", 5432)])
        guest, app, db = (self.host(name) for name in ("guest", "app-1", "db"))
        with (
            Session.tcp(guest, db, BY_NAME["db"].ip, 5432) as doomed,
            Session.tcp(app, db, BY_NAME["db"].ip, 5432) as neighbour,
        ):
            self.screen.note("guest and app-1 now each hold an open session with db.")
            self.screen.step("The rule is revoked while both sessions run")
            self.told(self.cloud.post([put("group", "sg-db", db_group(*DB_RULES))]))
            for side in Side:
                who = "guest sends to db" if side is Side.CLIENT else "db sends to guest"
                self.said(f"open session: {who}", "dead", "alive" if doomed.passes(side) else "dead")
            for side in Side:
                who = "app-1 sends to db" if side is Side.CLIENT else "db sends to app-1"
                self.said(f"its neighbour: {who}", "alive", "alive" if neighbour.passes(side) else "dead")
        self.expect(passes=[self.tcp("app-1", "db", 5432)], blocked=[self.tcp("guest", "db", 5432)])

    def an_agent_is_killed_and_comes_back(self) -> None:
        agent = self.cloud.agents["nc-2"]
        self.screen.step(f"The agent of nc-2 is killed (kill -9 {agent.pid})")
        agent.kill()
        self.screen.note("What it put into the kernel stays in force.")
        self.expect(passes=[self.tcp("app-1", "db", 5432)], blocked=[self.tcp("guest", "db", 5432)])
        self.screen.note(
            "A change for nc-2 meanwhile: web-2 opens port 443. The barrier keeps its deadline, and names names."
        )
        web = {"name": "web", "account": "000111222333"}
        rules = [rule("tcp", 80, cidr=ANYWHERE), rule("tcp", 443, cidr=ANYWHERE), rule("icmp", cidr=ANYWHERE)]
        outcome = self.cloud.post([put("group", "sg-web", {**web, "ingress": rules})], wait=4.0)
        self.told(outcome)
        self.said("in force on every affected node", "no", "yes" if outcome["converged"] else "no")
        laggards = ", ".join(f"{late['node']} is {late['state']}" for late in outcome["laggards"])
        self.said("who is missing", "nc-2 is silent", laggards)
        self.expect(passes=[self.from_outside("web-1", 443)], blocked=[self.from_outside("web-2", 443)])
        self.screen.step("The agent of nc-2 comes back")
        seconds = agent.start()
        barrier = self.cloud.get("/v1/convergence", revision=outcome["revision"], wait=20)
        self.screen.fact(f"ready after {seconds * 1000:.0f} ms")
        self.said(f"revision {outcome['revision']} in force everywhere", "yes", "yes" if barrier["converged"] else "no")
        self.expect(
            passes=[self.from_outside("web-2", 443), self.tcp("app-1", "db", 5432)],
            blocked=[self.tcp("guest", "db", 5432)],
        )

    def the_view_server_is_killed_and_comes_back(self) -> None:
        before = self.cloud.etags()
        revision = self.cloud.get("/v1/convergence")["revision"]
        self.screen.step(f"The view server is killed, its Postgres with it (kill -9 {self.cloud.server.pid})")
        self.cloud.server.kill()
        self.screen.note("Hypervisors need no server to go on enforcing.")
        self.expect(passes=[self.tcp("app-1", "db", 5432)], blocked=[self.tcp("guest", "db", 5432)])
        seconds = self.cloud.restart_server()
        self.screen.fact(f"ready again after {seconds * 1000:.0f} ms")
        now = self.cloud.get("/v1/convergence")["revision"]
        self.said("revision after recovery", str(revision), str(now))
        self.said("every node's ETag is the one it was", "yes", "yes" if self.cloud.etags() == before else "no")
        outcome = self.cloud.post([put("group", "sg-app", {**_APP, "ingress": [rule("tcp", 9000, group="sg-web")]})])
        self.told(outcome)
        self.expect(passes=[self.tcp("web-2", "app-2", 9000)], blocked=[self.tcp("web-2", "app-2", 8000)])

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

    def said(self, what: str, expected: str, found: str) -> None:
        self.screen.outcome(what, expected, found)

    def expect(self, passes: Iterable[Flow], blocked: Iterable[Flow]) -> None:
        passes, blocked = list(passes), list(blocked)
        outcomes = probe(blocked, awaited=passes)
        for flow, expected in [*((flow, "passes") for flow in passes), *((flow, "blocked") for flow in blocked)]:
            self.screen.outcome(_described(flow), expected, "passes" if outcomes[flow].passed else "blocked")

    # -- flows by name

    def host(self, name: str) -> Host:
        return self.lab[BY_NAME[name].interface]

    def tcp(self, src: str, dst: str, port: int) -> Flow:
        return Flow.tcp(self.host(src), self.host(dst), BY_NAME[dst].ip, port)

    def ping(self, src: str, dst: str) -> Flow:
        return Flow.icmp(self.host(src), self.host(dst), BY_NAME[dst].ip)

    def from_outside(self, dst: str, port: int) -> Flow:
        return Flow.tcp(self.lab["outside"], self.host(dst), BY_NAME[dst].ip, port)


_APP = {"name": "app", "account": "000111222333"}


def _described(flow: Flow) -> str:
    src, dst = (NAMES.get(host.name, host.name) for host in (flow.src, flow.dst))
    what = "ping" if flow.protocol == 1 else f"tcp {flow.port}"
    places = [f" on {vm.node}" for name in (src, dst) for vm in VMS if vm.name == name]
    where = f"  ({src}{places[0]}, {dst}{places[1]})" if len(places) == 2 else ""
    return f"{src} → {dst}  {what}{where}"
