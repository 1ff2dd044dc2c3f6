"""Outside the lab. `make demo`, or `python -m demo [--once] [--port 8470] [--topology NAME | --gni FILE]`."""

import argparse
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

from demo.setting import MODES, SETTINGS, Impossible
from lab import enter, lacks

PASSED_FD = 3
"""Where systemd's protocol for handing over sockets expects the first one."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="run the story and exit; 0 only if every expectation held")
    parser.add_argument("--port", type=int, default=8470, help="where the view server can be reached (127.0.0.1)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--topology", choices=sorted(SETTINGS), default="flat", help="the networks that the cloud lives on"
    )
    what.add_argument(
        "--gni", type=Path, metavar="FILE", help="build the cloud of a Eucalyptus global network information document"
    )
    parser.add_argument(
        "--gateway-mode", choices=MODES, default="impersonate", help="who the VMs' gateway is (not with --gni)"
    )
    parser.add_argument("--most-nodes", type=int, default=6, help="of a document, build so many hypervisors at most")
    parser.add_argument("--most-vms", type=int, default=60, help="of a document, build so many VMs at most")
    given = parser.parse_args()
    if given.gni and not os.access(given.gni, os.R_OK):
        parser.error(f"{given.gni} cannot be read")
    try:
        SETTINGS[given.topology](given.gateway_mode)
    except Impossible as reason:
        parser.error(f"--topology {given.topology} --gateway-mode {given.gateway_mode}: {reason}")
    if given.most_nodes < 1 or given.most_vms < 1:
        parser.error("at least one hypervisor and one VM")
    found = lacks.missing()
    if found:
        print("The demo cannot run here:", file=sys.stderr)
        for lack in found:
            print(f"  {lack}", file=sys.stderr)
        return 1
    directory = Path(tempfile.mkdtemp(prefix="verge-demo-"))
    directory.chmod(0o755)
    # Created here, so it belongs to this machine's network; the view server, which lives in the lab's, inherits it.
    outward = _listening(given.port)
    port = outward.getsockname()[1]
    if outward.fileno() != PASSED_FD:
        os.dup2(outward.fileno(), PASSED_FD)
    os.set_inheritable(PASSED_FD, True)  # noqa: FBT003 - os's own signature
    os.environ["VERGE_DEMO_FD"] = str(PASSED_FD)
    child = os.fork()
    if not child:
        command = [sys.executable, "-m", "demo.inside", str(directory), str(port), str(os.getpid())]
        command += [
            "--topology",
            given.topology,
            "--gateway-mode",
            given.gateway_mode,
            *(["--once"] if given.once else []),
        ]
        if given.gni:
            command += [
                "--gni",
                str(given.gni),
                "--most-nodes",
                str(given.most_nodes),
                "--most-vms",
                str(given.most_vms),
            ]
        os._exit(enter.enter(command))
    try:
        return _wait(child)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _wait(child: int) -> int:
    """Ctrl-C reaches the whole group; this process only waits for the others to leave in order."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: _pass_on(child, received))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _pass_on(child: int, number: int) -> None:
    if number != signal.SIGINT or not sys.stdin.isatty():
        os.kill(child, number)


def _listening(port: int) -> socket.socket:
    for candidate in (port, 0):
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(("127.0.0.1", candidate))
        except OSError:
            bound.close()
            continue
        return bound
    raise SystemExit("demo: no port on 127.0.0.1 can be had")


if __name__ == "__main__":
    sys.exit(main())
