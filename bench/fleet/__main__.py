"""All of the view server's figures in one run, each beside what is promised and, where there is one, beside its floor.

    make bench-fleet [ARGS="--only fan --agents 100,1000 --json"]

Parts: `fan` (parked agents, and a change that touches all or a hundred), `steady` (20 changes a second), `write` (one object,
many writers), `bulk` (100,000 instances at once), `compile` (a change to what nodes are told, without I/O). Writes
bench/results/fleet.{json,md,svg} with `--keep`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.fleet import compiling, fan, report, steady, writing
from bench.fleet.machine import description
from bench.fleet.model import Size
from bench.node.figures import Figure
from viewserver.store.embedded import EmbeddedPostgres

Told = tuple[list[Figure], dict[str, Any]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.fleet", description=__doc__)
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="one part; may be repeated")
    parser.add_argument("--agents", default="10,100,1000,10000", help="sizes of the fleet for `fan`, by commas")
    parser.add_argument("--rounds", type=int, default=20, help="changes of each width, fewer for ten thousand agents")
    parser.add_argument("--reporting", choices=["header", "put"], default="header", help="how agents report")
    parser.add_argument("--seconds", type=float, default=60, help="for which `steady` goes on")
    parser.add_argument("--instances", type=int, default=100_000, help="for `bulk` and `compile`")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", action="store_true", help="write bench/results/fleet.*")
    given = parser.parse_args()
    machine = description()
    told: dict[str, Any] = {"command": " ".join(["bench.fleet", *sys.argv[1:]]), "machine": machine, "parts": {}}
    if not given.json:
        print("machine: " + ", ".join(f"{name} {value}" for name, value in machine.items()), flush=True)
    for name in given.only or PARTS:
        figures, details = asyncio.run(PARTS[name](given))
        told["parts"][name] = {"figures": [figure.json() for figure in figures], "details": details}
        if not given.json:
            print(f"\n{name} (load {os.getloadavg()[0]:.1f})")
            for what, value in details.items():
                print(f"      {what:<50}" + "  ".join(f"{key} {number}" for key, number in value.items()))
            print("\n".join(figure.line() for figure in figures), flush=True)
    machine["load_after"] = round(os.getloadavg()[0], 1)
    if given.json:
        print(json.dumps(told, indent=1))
    if given.keep:
        report.write(told, Path(__file__).parents[1] / "results")
    return 0


@asynccontextmanager
async def database() -> AsyncIterator[tuple[Path, str]]:
    """A directory for a view server, and a new Postgres with fsync."""
    with tempfile.TemporaryDirectory(prefix="verge-fleet-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "server").mkdir()
        async with EmbeddedPostgres(directory / "postgres") as postgres:
            yield directory / "server", postgres.dsn


async def _fan(given: argparse.Namespace) -> Told:
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    for count in (int(text) for text in given.agents.split(",")):
        if 2 * count + 500 > description()["descriptors"] * 2:
            raise SystemExit(f"{count} agents need more descriptors than this system allows a process")
        widths = {count: given.rounds if count < 5000 else max(3, given.rounds // 4)}
        if count > 100:
            widths[100] = given.rounds
        async with database() as (directory, url):
            size = Size(count, count, min(2000, count), touching=tuple(widths))
            fleet = await fan.measure(directory, url, size, widths, given.reporting)
        for one in fleet.fans:
            details[f"{one.parked:,} parked, {one.touched:,} touched"] = one.row()
            figures += _judged(one)
        figures.append(Figure(f"{count:,} parked: memory for each", fleet.parked_kb, "KB", at_most=16))
    return figures, details


def _judged(one: fan.Fan) -> list[Figure]:
    name = f"{one.parked:,} parked, {one.touched:,} touched"
    everyone, many = one.touched == one.parked, one.parked >= 10_000
    return [
        Figure(f"{name}: last answered", one.to_floor, "x", at_most=3 if everyone and many else None),
        Figure(f"{name}: last reported and stored", one.stored_to_floor, "x", at_most=8 if everyone and many else None),
        Figure(
            f"{name}: POST to last reported, p99",
            one.stored.p99,
            "ms",
            at_most=50 if one.touched == 100 and many else 500 if everyone and one.parked == 1000 else None,
        ),
    ]


async def _steady(given: argparse.Namespace) -> Told:
    async with database() as (directory, url):
        return await steady.measure(directory, url, nodes=1000, rate=20, seconds=given.seconds)


async def _write(given: argparse.Namespace) -> Told:
    async with database() as (directory, url):
        return writing.small_updates(directory, url, changes=given.rounds * 10, writers=8, seconds=5)


async def _bulk(given: argparse.Namespace) -> Told:
    async with database() as (directory, url):
        return writing.large_updates(directory, url, Size(1000, given.instances, placement="packed"))


async def _compile(given: argparse.Namespace) -> Told:
    sizes = [
        Size(1000, 1000, placement="packed", touching=(50,)),
        Size(1000, given.instances, placement="packed", touching=(50,)),
        Size(1000, given.instances, placement="random", touching=(50,)),
    ]
    return compiling.measure(sizes, given.rounds * 10)


PARTS: dict[str, Callable[[argparse.Namespace], Awaitable[Told]]] = {
    "fan": _fan,
    "steady": _steady,
    "write": _write,
    "bulk": _bulk,
    "compile": _compile,
}


if __name__ == "__main__":
    sys.exit(main())
