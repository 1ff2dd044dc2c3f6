"""All of the node's figures in one run, each beside what is promised.

    make bench-node [ARGS="--only packets --only idle --rounds 30 --json"]

Without EDGE mode's tools (iptables, ipset, ebtables) its half is left out, and said so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from typing import Any

from bench.node import flood, forwarding, idle, moves, programming, sides
from bench.node.figures import Figure
from lab import namespaces

Part = Callable[[argparse.Namespace], tuple[list[Figure], dict[str, Any]]]
PARTS: dict[str, Part] = {
    "programming": lambda given: programming.measure(given.rounds, edge=given.edge),
    "packets": lambda given: forwarding.measure(given.rounds, edge=given.edge),
    "flood": lambda given: flood.measure(given.updates, edge=given.edge),
    "moves": lambda _: moves.measure(),
    "idle": lambda given: idle.measure(given.seconds),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.node", description=__doc__)
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="one part; may be repeated")
    parser.add_argument("--rounds", type=int, default=30, help="bursts on each side")
    parser.add_argument("--updates", type=int, default=1000, help="random changes under the flood")
    parser.add_argument("--seconds", type=float, default=20, help="for which an agent is idle")
    parser.add_argument("--no-edge", dest="edge", action="store_false", help="without the comparison")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if not namespaces.inside():
        print("run inside a lab: python -m lab.enter -- .venv/bin/python -m bench.node", file=sys.stderr)
        return 2
    if given.edge:
        try:
            sides.need_edge()
        except sides.Lacks as lacks:
            print(f"{lacks}\nbench: goes on without it", file=sys.stderr)
            given.edge = False
    told: dict[str, Any] = {"machine": _machine()}
    if not given.json:
        print("machine: " + ", ".join(f"{name} {value}" for name, value in told["machine"].items()))
    for name in given.only or PARTS:
        figures, details = PARTS[name](given)
        told[name] = {"figures": [figure.json() for figure in figures], "details": details}
        if not given.json:
            print(f"\n{name}")
            for what, value in details.items():
                print(f"      {what:<50}" + "  ".join(f"{key} {number}" for key, number in value.items()))
            print("\n".join(figure.line() for figure in figures), flush=True)
    if given.json:
        print(json.dumps(told, indent=1))
    return 0


def _machine() -> dict[str, Any]:
    load = os.getloadavg()[0]
    return {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "load": load,
    }


if __name__ == "__main__":
    sys.exit(main())
