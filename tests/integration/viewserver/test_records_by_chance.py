"""Random changes, polls, reports, lost reports and restarts: every answer of the records against a naive recomputation.

What is recomputed is kept by the test itself, as the nodes and the cloud know it: who was given which version, who told what in
which order. Times are compared by their order, since the test's clock is not Postgres's.
"""

import asyncio
import random

import pytest
from sqlalchemy import text

from tests.integration.viewserver.serving import serving
from tests.integration.viewserver.test_records import NODES, get, recorded
from tests.unit.viewserver.clouds import changed

STEPS, AT_ONCE = 24, 12
AFFECTS = {"i-web": "nc-1", "i-db": "nc-2", "i-far": "nc-3"}


class Naive:
    """Lists, and nothing clever."""

    def __init__(self):
        self.told = {node: [] for node in NODES}
        self.stored = {node: [] for node in NODES}
        """State and version that each node told, in order."""

    def first(self, seen, revision):
        return next((version for version in seen if version is not None and version >= revision), None)

    def applied(self, node, revision):
        return self.first([version for _, version, _ in self.stored[node]], revision)

    def rejections(self, node, revision):
        """Attempts that would have brought the change in, before anything did."""
        found, before = [], None
        for state, version, attempted in self.stored[node]:
            same = (state, version, attempted) == before
            if state == "rejected" and not same and attempted >= revision and (version or 0) < revision:
                found.append(attempted)
            before = (state, version, attempted)
        return found

    def spans(self, node):
        found = []
        for one in self.stored[node]:
            if not found or found[-1] != one:
                found.append(one)
        return found[::-1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 3])
async def test_every_answer_is_what_a_naive_recomputation_says(database_url, tmp_path, seed):
    dice, naive, token = random.Random(seed), Naive(), None
    left = STEPS
    while left:
        async with serving(database_url, tmp_path, admin_token=token) as server:
            if token is None:
                token = server.admin_token
                await server.cloud()
            for _ in range(min(left, AT_ONCE)):
                left -= 1
                await step(server, naive, dice)
            await compare(server, naive)
        async with serving(database_url, tmp_path, admin_token=token) as server:  # with no memory but Postgres's
            await compare(server, naive)


async def step(server, naive, dice):
    node = dice.choice(NODES)
    act = dice.random()
    if act < 0.35:
        key = dice.choice(list(AFFECTS))
        groups = dice.sample(["sg-web", "sg-app", "sg-idle"], dice.randint(1, 3))
        await server.update(changed(key, groups=groups))
        return
    answer = await server.view(node)
    etag, version = answer.headers["etag"], server.replica.held.versions[node]
    naive.told[node].append(version)
    before = naive.stored[node][-1][1] if naive.stored[node] else None
    if act < 0.5:
        return  # the report is lost
    if act < 0.65 and before != version:
        applied = next((one for one in reversed(server.replica.known_etags[node]) if one.version == before), None)
        failures = [{"object": "instances/i-web", "stage": "ruleset", "reason": "no"}]
        await server.report(
            node, str(applied) if applied else None, "rejected", attempted={"etag": etag}, failures=failures
        )
        naive.stored[node].append(("rejected", applied.version if applied else None, version))
    else:
        await server.report(node, etag)
        naive.stored[node].append(("applied", version, None))


_TOLD = text("SELECT node, max(version) AS version FROM answered GROUP BY node")


async def all_told(server, naive):
    """What nodes were told is written a moment after it was said."""
    wanted = {node: versions[-1] for node, versions in naive.told.items() if versions}
    async with asyncio.timeout(20):
        while True:
            async with server.application.server.database.begin() as conn:
                if {row.node: row.version for row in await conn.execute(_TOLD)} == wanted:
                    return
            await asyncio.sleep(0.01)


async def compare(server, naive):
    await all_told(server, naive)
    await recorded(server)
    listed = {one["revision"]: one for one in (await get(server, "/v1/updates", limit=1000))["updates"]}
    for revision, one in listed.items():
        found = await get(server, f"/v1/updates/{revision}")
        applied = {node: naive.applied(node, revision) for node in found["affected"]}
        told = {node: naive.first(naive.told[node], revision) for node in found["affected"]}
        for node in found["affected"]:
            row = found["nodes"][node] or {"applied_version": None, "told_at": None, "rejections": []}
            assert row["applied_version"] == applied[node], (revision, node)
            assert (row["told_at"] is not None) == (told[node] is not None), (revision, node)
            assert [each["attempted"] for each in row["rejections"]] == naive.rejections(node, revision), (
                revision,
                node,
            )
        assert found["applied"] == sum(version is not None for version in applied.values())
        assert found["missing"] == [node for node in found["affected"] if applied[node] is None]
        ranked = sorted(row["ms"] for row in found["nodes"].values() if row and row["ms"] is not None)
        assert found["ms"]["max"] == (ranked[-1] if ranked else None)
        assert one["summary"]["applied"] == found["applied"]
        assert one["summary"]["rejections"] == sum(
            any(state == "rejected" and attempted == revision for state, _, attempted in naive.stored[node])
            for node in NODES
        )
    for node in NODES:
        history = (await get(server, f"/v1/nodes/{node}/history"))["history"] if naive.stored[node] else []
        assert [(span["state"], span["version"], span["attempted"]) for span in history] == naive.spans(node)
    cloud = await get(server, "/v1/convergence")
    held = server.replica.held
    for late in cloud["laggards"]:
        mine = naive.applied(late["node"], 0) and [v for _, v, _ in naive.stored[late["node"]]][-1]
        behind = [r for r, one in listed.items() if late["node"] in one["affected"] and r > (mine or 0)]
        assert late["lag_versions"] == len(behind), late
    assert cloud["revision"] == held.revision
