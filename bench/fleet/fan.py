"""Parked agents, and a change that touches some of them: POST → the last has its answer → the last report is stored.

Beside it, in the same run and with the same agents' code, the floor: the same bytes written to as many parked sockets.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.fleet.latency import Marks, marks
from bench.fleet.model import Size, cloud, node_name, rule_change
from bench.fleet.poster import Poster
from bench.fleet.processes import Spoken, ViewServer, agents, postgres_cpu_s

PATIENCE_S = 60
FLOOR_ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Fan:
    """Of one fleet and one width of change; milliseconds from the POST."""

    parked: int
    touched: int
    answered: Marks
    """The last touched agent has its answer; over the changes."""
    each: Marks
    """Any touched agent has its answer."""
    stored: Marks
    """The last report is stored: `POST …?wait=applied` has answered."""
    commit: Marks
    floor: Marks
    floor_bytes: int
    server_cpu_ms: float
    postgres_cpu_ms: float
    agents_cpu_ms: float
    bytes_per_answer: float

    @property
    def to_floor(self) -> float:
        return self.answered.p50 / self.floor.p50

    @property
    def stored_to_floor(self) -> float:
        return self.stored.p50 / self.floor.p50

    def row(self) -> dict[str, Any]:
        return {
            "parked": self.parked,
            "touched": self.touched,
            "answered_ms": self.answered.row(),
            "each_ms": self.each.row(),
            "stored_ms": self.stored.row(),
            "commit_ms": self.commit.row(),
            "floor_ms": self.floor.row(),
            "answered_to_floor": round(self.to_floor, 2),
            "stored_to_floor": round(self.stored_to_floor, 2),
            "bytes_per_answer": round(self.bytes_per_answer),
            "server_cpu_ms": round(self.server_cpu_ms, 1),
            "postgres_cpu_ms": round(self.postgres_cpu_ms, 1),
            "agents_cpu_ms": round(self.agents_cpu_ms, 1),
        }


@dataclass(frozen=True, slots=True)
class Fleet:
    """A server with so many agents parked."""

    fans: tuple[Fan, ...]
    parked_kb: float
    """Resident memory of the server for each parked agent."""
    connect_s: float


async def measure(
    directory: Path, database_url: str, size: Size, rounds: dict[int, int], reporting: str = "header"
) -> Fleet:
    """`rounds`: for each width of a change (a group in `size.touching`), how many changes."""
    with ViewServer(directory, database_url) as server:
        server.load(cloud(size))
        nodes = await server.tokens([node_name(number) for number in range(size.nodes)])
        server.restart()  # what the load needed for a while is not what a parked agent costs
        before = server.resident_kb()
        with agents(server.port, nodes, reporting) as fleet, Poster(server) as poster:
            wait_parked(server, size.nodes)
            connected = fleet.ask(do="state")
            parked_kb = (server.resident_kb() - before) / size.nodes
            fans = tuple(_fan(server, poster, fleet, nodes, touched, count) for touched, count in rounds.items())
    return Fleet(fans, parked_kb, connected["cpu_s"])


def wait_parked(server: ViewServer, count: int) -> None:
    """Until so many polls are held."""
    while server.metric('verge_waits_open{kind="view"}') < count:
        time.sleep(0.02)


def _fan(
    server: ViewServer, poster: Poster, fleet: Spoken, nodes: list[tuple[str, str]], touched: int, rounds: int
) -> Fan:
    last: list[float] = []
    each: list[float] = []
    stored: list[float] = []
    commit: list[float] = []
    heads: list[float] = []
    cpu = [0.0, 0.0, 0.0]
    for number in range(rounds + 1):
        wait_parked(server, len(nodes))
        fleet.tell(do="begin", answers=touched)
        fleet.hear()
        spent = _cpu(server, fleet)
        posted = poster.post([rule_change(f"sg-on-{touched}", number)], wait=True)
        found = fleet.ask(do="until", seconds=PATIENCE_S)
        if "late" in found or not posted.converged or len(found["answers"]) != touched:
            raise RuntimeError(
                f"{len(found['answers'])} answers for {touched} touched nodes; converged: {posted.converged}"
            )
        wait_parked(server, len(nodes))
        if not number:
            continue  # the first fills caches
        times = [(at - posted.began_ns) / 1e6 for _, at in found["answers"]]
        last.append(max(times))
        each += times
        stored.append(posted.seconds * 1000)
        commit.append(posted.commit_ms)
        heads.append(found["bytes"] / sum(found["statuses"].values()))
        cpu = [total + (now - then) * 1000 for total, now, then in zip(cpu, _cpu(server, fleet), spent, strict=True)]
    size = round(statistics.mean(heads))
    return Fan(
        len(nodes),
        touched,
        marks(last),
        marks(each),
        marks(stored),
        marks(commit),
        _floor(nodes, touched, size),
        size,
        *(total / rounds for total in cpu),
        bytes_per_answer=size,
    )


def _cpu(server: ViewServer, fleet: Spoken) -> tuple[float, float, float]:
    return server.cpu_s(), postgres_cpu_s(), fleet.ask(do="state")["cpu_s"]


def _floor(nodes: list[tuple[str, str]], touched: int, size: int) -> Marks:
    """Milliseconds until the last of as many agents, of as many parked ones, has as many bytes."""
    took = []
    with Spoken("bench.fleet.floor") as writer, agents(writer.hear()["port"], nodes, "none") as fleet:
        for number in range(FLOOR_ROUNDS + 1):
            fleet.ask(do="begin", answers=touched)
            began = writer.ask(do="fan", count=touched, bytes=size)["began"]
            found = fleet.ask(do="until", seconds=PATIENCE_S)
            if number:
                took.append((max(at for _, at in found["answers"]) - began) / 1e6)
    return marks(took)
