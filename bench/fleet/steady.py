"""Changes that keep coming: does everybody keep up, and does the server stay as it is?"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from bench.fleet.fan import wait_parked
from bench.fleet.latency import marks
from bench.fleet.model import Size, cloud, node_name, rule_change
from bench.fleet.poster import Poster
from bench.fleet.processes import ViewServer, agents
from bench.node.figures import Figure

POSTERS = 8
"""Each waits for its change to be in force, so as many as are under way at a time."""


async def measure(
    directory: Path, database_url: str, *, nodes: int, rate: float, seconds: float
) -> tuple[list[Figure], dict[str, Any]]:
    """`rate` changes a second, each of a group on fifty nodes and of other fifty than the one before."""
    fifties = nodes // 50
    with ViewServer(directory, database_url) as server:
        server.load(cloud(Size(nodes, nodes, min(2000, nodes), fifties=fifties)))
        tokens = await server.tokens([node_name(number) for number in range(nodes)])
        server.restart()
        with agents(server.port, tokens, "header") as fleet:
            wait_parked(server, nodes)
            memory = [server.resident_kb() / 1024]
            cpu = server.cpu_s()
            took = _drive(server, fifties, rate, seconds, memory)
            cpu = server.cpu_s() - cpu
            behind = server.metric('verge_nodes{state="lagging"}')
            lost = fleet.ask(do="state")
    half = len(took) // 2
    first, second = marks(took[:half]), marks(took[half:])
    figures = [
        Figure(
            f"{rate:g} changes/s for {seconds:g} s, {nodes:,} nodes: POST to all reported, p99",
            marks(took).p99,
            "ms",
            at_most=250,
        ),
        Figure("nodes behind at the end", behind, "", at_most=0),
    ]
    return figures, {
        "all, ms": marks(took).row(),
        "first half, ms": first.row(),
        "second half, ms": second.row(),
        "server memory, MB": {"before": round(memory[0]), "half way": round(memory[1]), "after": round(memory[2])},
        "server processor": {"share": round(cpu / seconds, 2)},
        "agents": {"lost": sum(lost["lost"].values()), "went back": lost["went_back"]},
    }


def _drive(server: ViewServer, fifties: int, rate: float, seconds: float, memory: list[float]) -> list[float]:
    """Milliseconds from POST to reported of each change, in their order; a change that is late does not hold up the next."""
    due: SimpleQueue[tuple[int, float]] = SimpleQueue()
    took: dict[int, float] = {}
    over = threading.Event()

    def post() -> None:
        with Poster(server) as poster:
            while not over.is_set() or not due.empty():
                try:
                    number, at = due.get(timeout=0.1)
                except Empty:
                    continue
                poster.post([rule_change(f"sg-fifty-{number % fifties}", number)], wait=True)
                took[number] = (time.monotonic() - at) * 1000

    threads = [threading.Thread(target=post) for _ in range(POSTERS)]
    for thread in threads:
        thread.start()
    began, count = time.monotonic(), int(rate * seconds)
    for number in range(count):
        at = began + number / rate
        time.sleep(max(0.0, at - time.monotonic()))
        due.put((number, at))
        if number == count // 2:
            memory.append(server.resident_kb() / 1024)
    over.set()
    for thread in threads:
        thread.join()
    memory.append(server.resident_kb() / 1024)
    return [took[number] for number in sorted(took)]
