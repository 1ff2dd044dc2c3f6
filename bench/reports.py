"""Ten thousand nodes report one change: how soon it is stored, what it costs the fan-out, and what asking costs meanwhile.

    make bench-reports [ARGS="--nodes 2000 --instances 20000 --json"]

A real view server process on a real Postgres with fsync; the nodes are real HTTP over one keep-alive connection each, from
this process: a parked poll with a delta asked for, then a PUT of the report with timings, then the next poll. They
enforce nothing. Both processes, Postgres and whatever else runs share this machine's cores, so look at the ratios first.

    fan-out       a change that affects every node: from its commit until the last poll was answered (Postgres's clock), in
                  rounds in which the nodes report, in rounds in which they do not, and with 1,000 barriers waiting; and the
                  server's processor time from the POST until the last node has its view, which other load disturbs less
    stored        from when the last node sent its report until the last one was acknowledged, which is after its commit
    asked         GET /v1/convergence and the barrier, one after the other, in a cloud where one node in a hundred is behind
    feed          what the live feed costs of a core while changes are made, with one listener
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import httpx

from bench.reporting_node import Asker, Nodes
from viewserver.store.embedded import EmbeddedPostgres
from viewserver.store.engine import connect

KEY = "5a" * 32
ADMIN = "verge_bench_admin"
AT_ONCE = 5000
"""Operations in one update."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.reports", description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--instances", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    wanted = given.nodes + 4000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    import uvloop

    return uvloop.run(run(given.nodes, given.instances, given.rounds, as_json=given.json))


async def run(nodes: int, instances: int, rounds: int, *, as_json: bool) -> int:
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="verge-bench-")))
        directory.chmod(0o755)
        postgres = await stack.enter_async_context(EmbeddedPostgres(directory / "postgres"))
        server, url = serve(postgres.dsn, directory / "server")
        stack.callback(stop, server)
        await credentials(postgres.dsn, nodes)
        client = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=url,
                headers={"authorization": f"Bearer {ADMIN}"},
                timeout=120,
                limits=httpx.Limits(max_connections=None),
                trust_env=False,
            )
        )
        async with asyncio.timeout(30):
            while (await client.get("/v1/fences")).status_code == 401:  # until the tokens are read
                await asyncio.sleep(0.2)
        bench = Bench(client, Nodes(url, [name(index) for index in range(nodes)], token), postgres.dsn, server.pid)
        figures = await bench.measure(nodes, instances, rounds)
    print(json.dumps(figures, indent=1) if as_json else table(figures))
    return 0


class Bench:
    def __init__(self, client: httpx.AsyncClient, nodes: Nodes, dsn: str, pid: int) -> None:
        self.client = client
        self.nodes = nodes
        self.dsn = dsn
        self.pid = pid
        self.ports = 1

    async def measure(self, nodes: int, instances: int, rounds: int) -> dict[str, Any]:
        await self.fill(nodes, instances)
        said("the cloud is there")
        await self.nodes.connect()
        said("all nodes have reported it")
        quiet, reporting, waited, stored = [], [], [], []
        for number in range(rounds):
            if number % 2:  # whatever came before has the same effect on both
                reporting.append(await self.round(reports=True))
                quiet.append(await self.round(reports=False))
            else:
                quiet.append(await self.round(reports=False))
                reporting.append(await self.round(reports=True))
            stored.append(reporting[-1]["stored_s"])
            waited.append(await self.round(reports=True, barriers=1000))
            said("a round is over")
        asked = await self.ask(nodes)
        said("asked")
        feed = await self.feed()
        self.nodes.close()
        return {
            "nodes": nodes,
            "instances": instances,
            "fan_out_ms": {
                "without reports": _median(quiet, "fan_out_ms"),
                "with reports": _median(reporting, "fan_out_ms"),
                "with reports and 1,000 barriers": _median(waited, "fan_out_ms"),
            },
            "each_fan_out_ms": {
                "without reports": [one["fan_out_ms"] for one in quiet],
                "with reports": [one["fan_out_ms"] for one in reporting],
            },
            "fan_out_processor_ms": {
                "without reports": _median(quiet, "processor_ms"),
                "with reports": _median(reporting, "processor_ms"),
            },
            "slowdown_by_reports": _slower(quiet, reporting, "fan_out_ms"),
            "slowdown_by_reports_processor": _slower(quiet, reporting, "processor_ms"),
            "stored_after_last_s": statistics.median(stored),
            "reports_per_s": statistics.median(nodes / one["reported_s"] for one in reporting),
            "barriers_woken_s": _median(waited, "barriers_s"),
            "asked_ms": asked,
            "feed": feed,
        }

    async def fill(self, nodes: int, instances: int) -> None:
        network = {"dns_servers": ["10.0.0.2"], "public_ips": ["203.0.113.1"], "metadata": {"host": "10.0.0.3"}}
        zone = {"subnet": "10.0.0.0/8", "gateway": "10.0.0.1", "private_ips": ["10.1.0.0-10.15.255.255"]}
        operations = [_put("network", "network", network), _put("zone", "zone-a", zone), self._group()]
        base, host = int(IPv4Address("10.1.0.0")), int(IPv4Address("172.16.0.1"))
        for index in range(nodes):
            value = {"zone": "zone-a", "address": str(IPv4Address(host + index))}
            operations.append(_put("node", name(index), value))
        for index in range(instances):
            value = {
                "node": name(index % nodes),
                "mac": "d0:0d:" + ":".join(f"{byte:02x}" for byte in index.to_bytes(4, "big")),
                "private_ip": str(IPv4Address(base + index)),
                "groups": ["sg-all"],
                "account": "bench",
            }
            operations.append(_put("instance", f"i-{index:08x}", value))
        for first in range(0, len(operations), AT_ONCE):
            await self.post(operations[first : first + AT_ONCE])

    def _group(self) -> dict[str, Any]:
        self.ports += 1
        rule = {"protocol": "tcp", "from_port": self.ports, "to_port": self.ports, "cidr": "0.0.0.0/0"}
        return _put("group", "sg-all", {"name": "all", "account": "bench", "ingress": [rule]})

    async def post(self, operations: list[dict[str, Any]]) -> dict[str, Any]:
        answer = await self.client.post("/v1/updates", json={"operations": operations})
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    async def round(self, *, reports: bool, barriers: int = 0) -> dict[str, float]:
        """One rule changes for everybody."""
        nodes = self.nodes
        await nodes.parked()
        nodes.begin(reports=reports)
        revision = (await self.client.get("/v1/convergence")).json()["revision"] + 1
        askers = [await Asker.open(nodes, ADMIN) for _ in range(barriers)]
        barrier = f"/v1/convergence?revision={revision}&wait=60"
        waiting = [asyncio.ensure_future(asker.ask(barrier)) for asker in askers]
        if barriers:
            await self._waits("barrier", barriers)
        began, told = self._processor_ms(), []
        nodes.told = lambda: told.append(self._processor_ms())
        answer = await self.post([self._group()])
        assert answer["affected_nodes"] == len(nodes), answer["affected_nodes"]
        await nodes.done()
        result = {
            "stored_s": nodes.stored_after_last_s,
            "reported_s": nodes.reporting_s,
            "processor_ms": told[0] - began,
        }
        if waiting:
            assert all(b'"converged":true' in body for body in await asyncio.gather(*waiting))
            result["barriers_s"] = max(0.0, time.monotonic() - nodes.last_stored)
            for asker in askers:
                asker.close()
        result["fan_out_ms"] = await self._fan_out(answer["revision"], len(nodes))
        return result

    def _processor_ms(self) -> float:
        """That the server's main thread has used so far."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e6

    async def _waits(self, kind: str, number: int) -> None:
        async with asyncio.timeout(60):
            while f'verge_waits_open{{kind="{kind}"}} {number}.0' not in (await self.client.get("/metrics")).text:
                await asyncio.sleep(0.05)

    async def _fan_out(self, revision: int, nodes: int) -> float:
        """From the commit to the last of the answers, by the server's own record."""
        conn = await connect(self.dsn, "bench")
        try:
            async with asyncio.timeout(30):
                while True:
                    row = await conn.fetchrow(
                        "SELECT count(DISTINCT node) AS nodes, extract(epoch FROM max(a.at) - c.at) * 1000 AS ms"
                        " FROM changes AS c JOIN answered AS a ON a.version = c.revision WHERE c.revision = $1 GROUP BY c.at",
                        revision,
                    )
                    if row is not None and row["nodes"] == nodes:
                        return float(row["ms"])
                    await asyncio.sleep(0.1)
        finally:
            await conn.close()

    async def ask(self, nodes: int) -> dict[str, dict[str, float]]:
        """While one node in a hundred does not report."""
        self.nodes.begin(reports=True, mute=nodes // 100)
        revision = (await self.post([self._group()]))["revision"]
        await self.nodes.done()
        await asyncio.sleep(3)  # what the change left to be written is no part of what is asked here
        found = {}
        asker = await Asker.open(self.nodes, ADMIN)
        for what, path in (
            ("convergence", "/v1/convergence"),
            ("barrier, not in force", f"/v1/convergence?revision={revision}"),
            ("barrier, in force", f"/v1/convergence?revision={revision - 1}"),
            ("barrier, quorum 0.9", f"/v1/convergence?revision={revision}&quorum=0.9"),
            ("nothing (GET /healthz)", "/healthz"),
        ):
            took = []
            for _ in range(300):
                began = time.perf_counter()
                await asker.ask(path)
                took.append((time.perf_counter() - began) * 1000)
            ranked = sorted(took)
            found[what] = {"p50": statistics.median(ranked), "p99": ranked[int(len(ranked) * 0.99)]}
        return found

    async def feed(self, seconds: float = 10.0, each_s: float = 0.1) -> dict[str, float]:
        """With one listener; each change concerns one instance, and so one node."""
        self.nodes.begin(reports=True)

        async def listen() -> None:
            async with self.client.stream("GET", "/v1/events") as answer:
                async for _ in answer.aiter_bytes():
                    pass

        listener = asyncio.ensure_future(listen())
        await asyncio.sleep(5)  # the first picture has been told
        before, began, changes = await self._spent(), time.monotonic(), 0
        while time.monotonic() - began < seconds:
            value = {
                "node": name(changes),
                "mac": "d0:0d:" + ":".join(f"{byte:02x}" for byte in (0xF0000000 + changes).to_bytes(4, "big")),
                "private_ip": str(IPv4Address(int(IPv4Address("10.14.0.0")) + changes)),
                "groups": ["sg-all"],
                "account": "bench",
            }
            await self.post([_put("instance", f"i-feed{changes:04x}", value)])
            changes += 1
            await asyncio.sleep(max(0.0, began + changes * each_s - time.monotonic()))
        took = time.monotonic() - began
        spent = await self._spent() - before
        listener.cancel()
        return {"changes_per_s": changes / took, "share_of_a_core": spent / took}

    async def _spent(self) -> float:
        text = (await self.client.get("/metrics")).text
        found = next(line for line in text.splitlines() if line.startswith("verge_feed_seconds_total"))
        return float(found.split()[1])


def said(what: str) -> None:
    print(f"{time.strftime('%X')} {what}", file=sys.stderr, flush=True)


def serve(dsn: str, data: Path) -> "tuple[subprocess.Popen[str], str]":
    environment = {**os.environ, "VERGE_TOKEN_KEY": KEY, "DATABASE_URL": dsn, "VERGE_LOG_LEVEL": "warning"}
    command = [sys.executable, "-m", "viewserver", "serve", "--bind", "127.0.0.1:0", "--data-dir", str(data)]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line.startswith("verge-viewserver ready"):
        raise RuntimeError(f"the view server did not start: {line!r}")
    return server, line.split()[-1]


def stop(server: "subprocess.Popen[str]") -> None:
    server.terminate()
    server.wait(20)


async def credentials(dsn: str, nodes: int) -> None:
    """All at once: over HTTP, each token is a durable transaction."""
    rows = [("t-admin", "admin", None, ADMIN), *((f"t-{i}", "node", name(i), token(name(i))) for i in range(nodes))]
    conn = await connect(dsn, "bench")
    try:
        await conn.executemany(
            "INSERT INTO tokens (id, role, node, hash) VALUES ($1, $2, $3, $4)",
            [
                (key, role, node, hmac.digest(bytes.fromhex(KEY), secret.encode(), hashlib.sha256))
                for key, role, node, secret in rows
            ],
        )
        await conn.execute("NOTIFY verge_tokens")
    finally:
        await conn.close()


def name(index: int) -> str:
    return f"nc-{index:05d}"


def token(node: str) -> str:
    return f"verge_bench_{node}"


def _put(kind: str, key: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"op": "put", "kind": kind, "id": key, "value": value}


def _median(rounds: list[dict[str, float]], key: str) -> float:
    return statistics.median(one[key] for one in rounds)


def _slower(quiet: list[dict[str, float]], reporting: list[dict[str, float]], key: str) -> float:
    return _median(reporting, key) / _median(quiet, key) - 1


def table(figures: dict[str, Any]) -> str:
    lines = [f"{figures['nodes']} nodes, {figures['instances']} instances; one change for all of them, medians"]
    lines += [f"  fan-out, {what:<34}{ms:9.0f} ms" for what, ms in figures["fan_out_ms"].items()]
    lines += [
        f"  slowed down by the reports by              {figures['slowdown_by_reports'] * 100:9.1f} %",
        *(f"  server's processor time, {what:<17}{ms:9.0f} ms" for what, ms in figures["fan_out_processor_ms"].items()),
        f"  more of it with reports by                 {figures['slowdown_by_reports_processor'] * 100:9.1f} %",
        f"  all stored after the last was sent         {figures['stored_after_last_s']:9.2f} s",
        f"  reports a second                           {figures['reports_per_s']:9.0f}",
        f"  1,000 barriers answered after the last     {figures['barriers_woken_s']:9.2f} s",
    ]
    lines += [
        f"  {what:<34} p50 {ms['p50']:7.2f} ms   p99 {ms['p99']:7.2f} ms" for what, ms in figures["asked_ms"].items()
    ]
    feed = figures["feed"]
    lines.append(
        f"  live feed at {feed['changes_per_s']:.1f} changes a second         {feed['share_of_a_core'] * 100:9.2f} % of a core"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
