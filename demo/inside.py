"""In the lab: build it, run the story, and stay up until Ctrl-C."""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from demo.cloud import Cloud, NotReady
from demo.network import VMS
from demo.screen import Screen, paint
from demo.setting import SETTINGS
from demo.stage import Stage
from demo.story import tell
from lab.build import Lab


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("outside", type=int, help="the process outside whose child is the lab's first")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--topology", default="flat")
    given = parser.parse_args()
    leave = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    passed = int(os.environ["VERGE_DEMO_FD"]) if "VERGE_DEMO_FD" in os.environ else None
    screen = Screen()
    setting = SETTINGS[given.topology]()
    with Lab(setting.topology) as lab:
        cloud = Cloud(lab, given.directory, passed, setting=setting)
        try:
            _run(Stage(lab, cloud, screen, setting))
            if screen.broken:
                _complain(screen, given.directory)
            if given.once:
                return 1 if screen.broken else 0
            _invite(screen, cloud, given.port, given.outside)
            leave.wait()
        except NotReady as reason:
            screen.say(str(reason), "red")
            return 1
        except KeyboardInterrupt:
            screen.say("\nleaving; nothing stays behind", "dim")
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            cloud.stop()
    return 1 if screen.broken else 0


def _run(stage: Stage) -> None:
    lab, cloud, screen = stage.lab, stage.cloud, stage.screen
    screen.say("Verge: three hypervisors and six VMs on this machine's kernel", "bold")
    screen.note(stage.setting.what)
    for vm in VMS:
        lab.plug(vm.node, interface=vm.interface, mac=vm.mac, ip=vm.ip)
    screen.note(f"lab built: {len(lab.hosts)} hosts, {len(VMS)} VMs, after {screen.seconds():.1f} s")
    screen.note(f"view server with its own Postgres ready after {cloud.server.start():.1f} s")
    cloud.make_tokens()
    took = [agent.start() for agent in cloud.agents.values()]
    screen.note(f"{len(took)} node agents ready, {max(took):.1f} s at most")
    tell(stage)
    screen.say()
    verdict = f"{screen.held} of {screen.held + len(screen.broken)} expectations held, {screen.seconds():.1f} s"
    screen.say(verdict, "bold", "red" if screen.broken else "green")


def _complain(screen: Screen, directory: Path) -> None:
    for line in screen.broken:
        screen.say(f"  {line}", "red")
    for log in sorted(directory.glob("*.log")):
        screen.say(f"--- end of {log.name}", "dim")
        screen.say("\n".join(log.read_text(errors="replace").splitlines()[-12:]), "dim")


def _invite(screen: Screen, cloud: Cloud, port: int, outside: int) -> None:
    """What to look at, as lines that work when pasted into another terminal of this machine."""
    url = f"http://127.0.0.1:{port}"
    token = f'"Authorization: Bearer $(cat {cloud.data / "admin.token"})"'
    agent = cloud.directory / "nc-2" / "agent.sock"
    namespaces = "-n -m -p" if os.getuid() == 0 else "-U --preserve-credentials -n -m -p"
    screen.say()
    screen.say("It stays up until Ctrl-C. To explore, in another terminal:", "bold")
    for what, line in (
        ("interactive API documentation", f"{url}/docs"),
        ("who has applied what", f"curl -s -H {token} {url}/v1/convergence"),
        ("the change log, and one change in full", f"curl -s -H {token} {url}/v1/updates/3"),
        ("what nc-2 must enforce", f"curl -s -H {token} {url}/v1/nodes/nc-2/view"),
        (
            "close the web tier, and wait until it is in force",
            f"curl -s -H {token} -X PUT '{url}/v1/groups/sg-web?wait=applied' "
            '-d \'{"name": "web", "account": "000111222333", "ingress": []}\'',
        ),
        ("the agent of nc-2, on its hypervisor", f"curl -s --unix-socket {agent} http://agent/v1/status"),
        ("its ruleset, wanted and observed", f"curl -s --unix-socket {agent} http://agent/v1/ruleset"),
        (
            "a shell inside the VM web-1",
            f"nsenter -t $(pgrep -P {outside}) {namespaces} ip netns exec {VMS[0].interface} bash",
        ),
    ):
        screen.say(f"  {paint(what, 'dim')}")
        screen.say(f"    {line}")


if __name__ == "__main__":
    sys.exit(main())
