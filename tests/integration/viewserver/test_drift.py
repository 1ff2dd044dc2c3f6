"""What nodes tell of changes that others made and they repaired."""

import pytest

from tests.integration.viewserver.test_reports import etag_of, node

ONE = {
    "at": "2026-01-02T03:04:05+00:00",
    "what": "elements deleted from ip verge local4",
    "culprit": "nft (pid 4711)",
    "repaired_ms": 12.4,
}


async def test_it_is_shown_with_the_node(cloud):
    etag = await etag_of(cloud, "nc-1")
    boot = {"version": "0.1", "boot_id": "b1"}
    await cloud.report("nc-1", str(etag), drift=[ONE, {**ONE, "culprit": None}], agent=boot, sequence=1)
    assert (await node(cloud, "nc-1"))["report"]["drift"] == [ONE, {**ONE, "culprit": None}]
    await cloud.report("nc-1", str(etag))  # success told with a view request says nothing of the host
    assert len((await node(cloud, "nc-1"))["report"]["drift"]) == 2
    await cloud.report("nc-1", str(etag), agent=boot, sequence=2)
    assert (await node(cloud, "nc-1"))["report"]["drift"] == []


@pytest.mark.parametrize(
    ("field", "value"), [("at", "yesterday"), ("at", "2026-01-02T03:04:05"), ("what", 1), ("repaired_ms", -1)]
)
async def test_what_is_no_such_thing_is_refused_with_its_place(cloud, field, value):
    etag = await etag_of(cloud, "nc-1")
    answer = await (await cloud.as_("node", "nc-1")).put(
        "/v1/nodes/nc-1/report",
        json={"applied": {"etag": str(etag)}, "state": "applied", "drift": [{**ONE, field: value}]},
    )
    assert answer.status_code in (400, 422)
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [f"/drift/0/{field}"]
