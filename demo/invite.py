"""What to look at afterwards, as lines that work when pasted into another terminal of this machine."""

import os
from dataclasses import dataclass

from demo.cloud import Controller
from demo.network import VMS
from demo.screen import Screen, paint

Lines = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Door:
    """`port`: of the view server, on 127.0.0.1. `outside`: the process whose child is the lab's first."""

    port: int
    outside: int


def invite(screen: Screen, lines: Lines) -> None:
    screen.say()
    screen.say("It stays up until Ctrl-C. To explore, in another terminal:", "bold")
    for what, line in lines:
        screen.say(f"  {paint(what, 'dim')}")
        screen.say(f"    {line}")


def to_three_hypervisors(controller: Controller, door: Door) -> Lines:
    get = f"curl -s -H {_token(controller)}"
    url = _url(door)
    return [
        *_to_the_server(controller, door, 3),
        *_to_a_node(controller, door, "nc-2", "nc-2"),
        (
            "close the web tier, and wait until it is in force",
            f"{get} -X PUT '{url}/v1/groups/sg-web?wait=applied' "
            '-d \'{"name": "web", "account": "000111222333", "ingress": []}\'',
        ),
        _a_shell(door, "web-1", VMS[0].interface),
    ]


def to_a_document(controller: Controller, door: Door, node: tuple[str, str], vm: tuple[str, str]) -> Lines:
    """`node`: its name and its host's; `vm`: its id and its interface."""
    get = f"curl -s -H {_token(controller)}"
    return [
        *_to_the_server(controller, door, 1),
        ("the document as a model", f"{get} {_url(door)}/v1/model"),
        *_to_a_node(controller, door, *node),
        _a_shell(door, *vm),
    ]


def _to_the_server(controller: Controller, door: Door, change: int) -> Lines:
    url, get = _url(door), f"curl -s -H {_token(controller)}"
    return [
        ("interactive API documentation", f"{url}/docs"),
        ("who has applied what", f"{get} {url}/v1/convergence"),
        ("the change log, and one change in full", f"{get} {url}/v1/updates/{change}"),
    ]


def _to_a_node(controller: Controller, door: Door, node: str, host: str) -> Lines:
    agent = controller.directory / host / "agent.sock"
    return [
        (f"what {node} must enforce", f"curl -s -H {_token(controller)} {_url(door)}/v1/nodes/{node}/view"),
        (f"the agent of {node}, on its hypervisor", f"curl -s --unix-socket {agent} http://agent/v1/status"),
        ("its ruleset, wanted and observed", f"curl -s --unix-socket {agent} http://agent/v1/ruleset"),
    ]


def _a_shell(door: Door, vm: str, interface: str) -> tuple[str, str]:
    namespaces = "-n -m -p" if os.getuid() == 0 else "-U --preserve-credentials -n -m -p"
    enter = f"nsenter -t $(pgrep -P {door.outside}) {namespaces}"
    return f"a shell inside the VM {vm}", f"{enter} ip netns exec {interface} bash"


def _url(door: Door) -> str:
    return f"http://127.0.0.1:{door.port}"


def _token(controller: Controller) -> str:
    return f'"Authorization: Bearer $(cat {controller.data / "admin.token"})"'
