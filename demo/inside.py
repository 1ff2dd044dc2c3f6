"""In the lab: build it, run the story, and stay up until Ctrl-C."""

import argparse
import os
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

from demo.cloud import Cloud, Controller, NotReady
from demo.document.site import NotBuildable
from demo.document.stage import Stage as DocumentStage
from demo.document.story import NotImported, drive, plan, take_over
from demo.invite import Door, Lines, invite, to_a_document, to_three_hypervisors
from demo.network import placed
from demo.screen import Screen
from demo.setting import SETTINGS
from demo.stage import Stage
from demo.story import tell
from lab.build import Lab
from lab.host import Host


def main() -> int:
    given = _arguments()
    leave = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    passed = int(os.environ["VERGE_DEMO_FD"]) if "VERGE_DEMO_FD" in os.environ else None
    screen = Screen()
    with ExitStack() as undo:
        try:
            act = _take_over_a_document if given.gni else _show_three_hypervisors
            lines = act(undo, screen, given, passed)
            _conclude(screen, given.directory)
            if not given.once:
                invite(screen, lines)
                leave.wait()
        except (NotReady, NotImported, NotBuildable) as reason:
            screen.say(str(reason), "red")
            return 1
        except KeyboardInterrupt:
            screen.say("\nleaving; nothing stays behind", "dim")
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    return 1 if screen.broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("outside", type=int, help="the process outside whose child is the lab's first")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--topology", default="flat")
    parser.add_argument("--gateway-mode", default="impersonate")
    parser.add_argument("--gni", type=Path)
    parser.add_argument("--most-nodes", type=int, default=6)
    parser.add_argument("--most-vms", type=int, default=60)
    return parser.parse_args()


def _show_three_hypervisors(undo: ExitStack, screen: Screen, given: argparse.Namespace, passed: int | None) -> Lines:
    setting = SETTINGS[given.topology](given.gateway_mode)
    lab = undo.enter_context(Lab(setting.topology))
    cloud = Cloud(lab, given.directory, passed, setting=setting)
    undo.callback(cloud.stop)
    screen.say("Verge: three hypervisors and six VMs on this machine's kernel", "bold")
    screen.note(f"{setting.what}; gateway mode {setting.mode}")
    vms = placed(setting)
    for vm in vms:
        lab.plug(vm.node, interface=vm.interface, mac=vm.mac, ip=vm.ip)
    screen.note(f"lab built: {len(lab.hosts)} hosts, {len(vms)} VMs, after {screen.seconds():.1f} s")
    screen.note(f"view server with its own Postgres ready after {cloud.server.start():.1f} s")
    cloud.make_tokens()
    took = [agent.start() for agent in cloud.agents.values()]
    screen.note(f"{len(took)} node agents ready, {max(took):.1f} s at most")
    tell(Stage(lab, cloud, screen, setting))
    return to_three_hypervisors(cloud, Door(given.port, given.outside))


def _take_over_a_document(undo: ExitStack, screen: Screen, given: argparse.Namespace, passed: int | None) -> Lines:
    """The view server comes first: what to build is asked of it. Its host becomes the lab's CLC."""
    clc = Host.create("clc")
    undo.callback(clc.delete)
    controller = Controller(clc, given.directory, "0.0.0.0", passed)  # noqa: S104 - in a namespace of its own
    undo.callback(controller.server.stop)
    screen.say(f"Verge: the cloud of {given.gni} on this machine's kernel", "bold")
    screen.note(f"view server with its own Postgres ready after {controller.server.start():.1f} s")
    model, revision = take_over(screen, controller, given.gni)
    chosen, site = plan(screen, model, given.most_nodes, given.most_vms)
    lab = undo.enter_context(Lab(site.topology, founded=[clc]))
    stage = DocumentStage(screen, controller, site, lab, chosen.vms)
    undo.callback(stage.stop)
    drive(stage, chosen, revision)
    node, vm = chosen.vms[0].node, chosen.vms[0]
    door = Door(given.port, given.outside)
    return to_a_document(controller, door, (node, site.hosts[node]), (vm.id, vm.interface))


def _conclude(screen: Screen, directory: Path) -> None:
    screen.say()
    verdict = f"{screen.held} of {screen.held + len(screen.broken)} expectations held, {screen.seconds():.1f} s"
    screen.say(verdict, "bold", "red" if screen.broken else "green")
    if not screen.broken:
        return
    for line in screen.broken:
        screen.say(f"  {line}", "red")
    for log in sorted(directory.glob("*.log")):
        screen.say(f"--- end of {log.name}", "dim")
        screen.say("\n".join(log.read_text(errors="replace").splitlines()[-12:]), "dim")


if __name__ == "__main__":
    sys.exit(main())
