"""What writing costs: one object, many writers, ten thousand operations, a hundred thousand instances at once."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Self

import httpx

from bench.fleet.latency import Marks, marks
from bench.fleet.model import Size, cloud, rule_change
from bench.fleet.poster import Poster
from bench.fleet.processes import ViewServer
from bench.node.figures import Figure

SMALL = Size(nodes=100, instances=1000, groups=200, touching=(10,))


def small_updates(
    directory: Path, database_url: str, *, changes: int, writers: int, seconds: float
) -> tuple[list[Figure], dict[str, Any]]:
    """Updates of one object by one writer, then by many at once; nobody is parked."""
    with ViewServer(directory, database_url) as server:
        server.load(cloud(SMALL))
        with Poster(server) as poster:
            alone = [poster.post([rule_change("sg-on-10", number)], wait=False) for number in range(changes)][5:]
        rate = _together(server, writers, seconds)
    commit, whole = marks(one.commit_ms for one in alone), marks(one.seconds * 1000 for one in alone)
    figures = [
        Figure("one-object update, commit p50", commit.p50, "ms", at_most=3),
        Figure(f"updates from {writers} writers", rate, "/s", at_least=500),
    ]
    return figures, {"commit_ms": commit.row(), "request_ms": whole.row()}


def _together(server: ViewServer, writers: int, seconds: float) -> float:
    """Updates a second, each of an object of the writer's own."""
    counts = [0] * writers
    until = time.monotonic() + seconds

    def write(writer: int) -> None:
        with Poster(server) as poster:
            while time.monotonic() < until:
                poster.post([rule_change(f"sg-{writer}", counts[writer])], wait=False)
                counts[writer] += 1

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - began)


def large_updates(directory: Path, database_url: str, size: Size) -> tuple[list[Figure], dict[str, Any]]:
    """A whole cloud by PUT /v1/model into an empty server, 10,000 operations more, and a start from what is stored.

    While they run another client asks for /healthz over and over: how long it waits is how long the loop is held up.
    """
    model = cloud(size)
    with ViewServer(directory, database_url) as server:
        with Heartbeat(server) as heartbeat:
            load_s, _ = server.load(model)
        after_load_mb = server.resident_kb() / 1024
        operations = [
            {"op": "put", "kind": "instance", "id": key, "value": {**value, "account": "000111222334"}}
            for key, value in list(model["instances"].items())[:10_000]
        ]
        with Poster(server) as poster:
            began = time.monotonic()
            poster.post(operations, wait=False)
            operations_s = time.monotonic() - began
        server.restart()
        ready_s, after_start_mb = server.ready_s, server.resident_kb() / 1024
    count = len(model["instances"])
    figures = [
        Figure(f"load of {count:,} instances through the API", load_s, "s", at_most=20),
        Figure("server afterwards", after_load_mb, "MB", at_most=600),
        Figure(f"{len(operations):,} operations in one update", operations_s, "s", at_most=2),
        Figure(f"start with {count:,} instances until ready", ready_s, "s", at_most=5),
    ]
    return figures, {
        "other requests meanwhile, ms": heartbeat.marks.row(),
        "server after a start, MB": {"resident": round(after_start_mb)},
    }


class Heartbeat:
    """Asks for /healthz, one request after the other, for as long as the block lasts."""

    def __init__(self, server: ViewServer) -> None:
        self._url = server.url
        self._took: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=120, trust_env=False) as client:
            while not self._over.wait(0.02):
                began = time.monotonic()
                client.get("/healthz").raise_for_status()
                self._took.append((time.monotonic() - began) * 1000)

    @property
    def marks(self) -> Marks:
        return marks(self._took)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
