"""What breaks, and what is seen of it: an agent killed, an agent frozen, the view server killed."""

import os
import signal

from demo.network import ANYWHERE, put, rule
from demo.stage import Stage

_WEB = {"name": "web", "account": "000111222333"}
_APP = {"name": "app", "account": "000111222333"}


def an_agent_is_killed_and_comes_back(stage: Stage) -> None:
    agent = stage.cloud.agents["nc-2"]
    stage.screen.step(f"The agent of nc-2 is killed (kill -9 {agent.pid})")
    agent.kill()
    stage.screen.note("What it put into the kernel stays in force.")
    stage.expect(passes=[stage.tcp("app-1", "db", 5432)], blocked=[stage.tcp("guest", "db", 5432)])
    stage.screen.note(
        "A change for nc-2 meanwhile: web opens port 443. The barrier keeps its deadline, and names names."
    )
    rules = [rule("tcp", port, cidr=ANYWHERE) for port in (80, 443)]
    outcome = stage.cloud.post(
        [put("group", "sg-web", {**_WEB, "ingress": [*rules, rule("icmp", cidr=ANYWHERE)]})], wait=4.0
    )
    stage.told(outcome)
    stage.said("in force on every affected node", "no", "yes" if outcome["converged"] else "no")
    laggards = ", ".join(f"{late['node']} is {late['state']}" for late in outcome["laggards"])
    stage.said("who is missing", "nc-2 is silent", laggards)
    stage.expect(passes=[stage.tcp("app-1", "web-1", 443)], blocked=[stage.tcp("app-1", "web-2", 443)])
    stage.screen.step("The agent of nc-2 comes back")
    seconds = agent.start()
    barrier = stage.cloud.get("/v1/convergence", revision=outcome["revision"], wait=20)
    stage.screen.fact(f"ready after {seconds * 1000:.0f} ms")
    stage.said(f"revision {outcome['revision']} in force everywhere", "yes", "yes" if barrier["converged"] else "no")
    stage.expect(
        passes=[stage.tcp("app-1", "web-2", 443), stage.tcp("app-1", "db", 5432)],
        blocked=[stage.tcp("guest", "db", 5432)],
    )


def a_node_is_frozen(stage: Stage) -> None:
    agent = stage.cloud.agents["nc-3"]
    stage.screen.step("The agent of nc-3 is frozen (kill -STOP), and a change comes that affects it")
    os.kill(agent.pid, signal.SIGSTOP)
    try:
        ports = [rule("tcp", port, group="sg-web") for port in (8000, 9000)]
        outcome = stage.cloud.post([put("group", "sg-app", {**_APP, "ingress": ports})], wait=1.0)
        stage.told(outcome)
        stage.said("who is missing", "nc-3", ", ".join(late["node"] for late in outcome["laggards"]))
        said = stage.cloud.verge("status")
        stage.screen.note("$ verge status")
        for line in said.stdout.rstrip().splitlines():
            stage.screen.note(f"  {line}")
        stage.said("verge status", "names nc-3", "names nc-3" if "nc-3" in said.stdout else said.stderr or "does not")
    finally:
        os.kill(agent.pid, signal.SIGCONT)
    barrier = stage.cloud.get("/v1/convergence", revision=outcome["revision"], wait=20)
    stage.said("after kill -CONT, in force everywhere", "yes", "yes" if barrier["converged"] else "no")
    stage.expect(passes=[stage.tcp("web-1", "app-2", 9000)], blocked=[stage.tcp("guest", "app-2", 9000)])


def the_view_server_is_killed_and_comes_back(stage: Stage) -> None:
    before = stage.cloud.etags()
    revision = stage.cloud.get("/v1/convergence")["revision"]
    stage.screen.step(f"The view server is killed, its Postgres with it (kill -9 {stage.cloud.server.pid})")
    stage.cloud.server.kill()
    stage.screen.note("Hypervisors need no server to go on enforcing.")
    stage.expect(passes=[stage.tcp("app-1", "db", 5432)], blocked=[stage.tcp("guest", "db", 5432)])
    seconds = stage.cloud.restart_server()
    stage.screen.fact(f"ready again after {seconds * 1000:.0f} ms")
    now = stage.cloud.get("/v1/convergence")["revision"]
    stage.said("revision after recovery", str(revision), str(now))
    stage.said("every node's ETag is the one it was", "yes", "yes" if stage.cloud.etags() == before else "no")
    outcome = stage.cloud.post([put("group", "sg-app", {**_APP, "ingress": [rule("tcp", 9000, group="sg-web")]})])
    stage.told(outcome)
    stage.expect(passes=[stage.tcp("web-2", "app-2", 9000)], blocked=[stage.tcp("web-2", "app-2", 8000)])
