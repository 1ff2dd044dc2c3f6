"""The order: the view server, the document, the lab that it asks for, the agents, and real packets."""

import time
from pathlib import Path

from demo.cloud import Controller, agent_process
from demo.document import choice, site
from demo.document.changes import a_rule_is_revoked, an_elastic_ip_moves
from demo.document.model import Model, read
from demo.document.sample import sample
from demo.document.stage import Stage
from demo.screen import Screen


class NotImported(Exception):
    """The view server refused the document; the text says why."""


def take_over(screen: Screen, controller: Controller, document: Path) -> tuple[Model, int]:
    """The document, imported and read back, and its revision. Raises NotImported."""
    screen.step(f"verge import gni {document.name}")
    began = time.monotonic()
    done = controller.verge("import", "gni", str(document))
    said = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    if done.returncode:
        raise NotImported("\n".join(said))
    for line in said:
        screen.note(line)
    model = read(controller.get("/v1/model"))
    revision = int(controller.get("/v1/convergence")["revision"])
    rules = sum(map(len, model.ingress.values()))
    counts = {
        "zone": len(model.zones),
        "node": len(model.nodes),
        "VM": len(model.vms),
        "group": len(model.ingress),
        "rule": rules,
        "elastic IP": len(model.elastic),
    }
    what = ", ".join(f"{number} {word}{'s' * (number != 1)}" for word, number in counts.items())
    screen.fact(f"revision {revision}, after {(time.monotonic() - began) * 1000:.0f} ms: {what}")
    return model, revision


def plan(screen: Screen, model: Model, most_nodes: int, most_vms: int) -> tuple[choice.Choice, site.Site]:
    """What is built, and what is not. Raises NotBuildable."""
    screen.step("The lab that this document asks for")
    chosen = choice.choose(model, most_nodes, most_vms)
    found = site.of(model, chosen)
    for picture in found.pictures:
        screen.note(picture)
    for left in chosen.left_out:
        screen.fact(f"left out: {left}")
    return chosen, found


def drive(stage: Stage, chosen: choice.Choice, revision: int) -> None:
    screen = stage.screen
    for vm in stage.vms:
        host = stage.site.hosts[vm.node]
        stage.lab.plug(host, interface=vm.interface, mac=vm.mac, ip=vm.ip)
    screen.note(
        f"built: {len(stage.lab.hosts)} hosts and switches, VMs: {len(stage.vms)}, after {screen.seconds():.1f} s"
    )
    screen.step(f"Node agents for {', '.join(chosen.nodes)}")
    took = [_start_agent(stage, node) for node in chosen.nodes]
    screen.note(f"ready, {max(took):.1f} s at most")
    stage.in_force(revision)
    reading = stage.reading()
    attempts = sample(reading, stage.vms)
    screen.step(f"{len(attempts)} flows with real packets, beside what the document admits")
    stage.check(attempts, reading)
    a_rule_is_revoked(stage, attempts)
    an_elastic_ip_moves(stage, attempts)


def _start_agent(stage: Stage, node: str) -> float:
    name = stage.site.hosts[node]
    state = stage.controller.directory / name
    state.mkdir()
    stage.controller.make_token(node, state)
    agent = stage.agents[node] = agent_process(
        node, stage.lab[name], state, str(stage.site.clc), stage.site.public_interfaces[node]
    )
    return agent.start()
