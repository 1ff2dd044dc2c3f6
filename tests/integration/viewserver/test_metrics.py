"""What Prometheus scrapes: the names of docs/metrics.md, and that they count what happened."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.viewserver.serving import until
from tests.unit.viewserver.clouds import changed

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"


async def scrape(server):
    answer = await (await server.as_("operator")).get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    samples = [one for family in text_string_to_metric_families(answer.text) for one in family.samples]
    return {(one.name, *sorted(one.labels.values())): one.value for one in samples}


async def test_who_may_scrape(cloud):
    assert (await cloud.client(None).get("/metrics")).status_code == 401
    assert (await (await cloud.as_("cloud")).get("/metrics")).status_code == 403


async def test_every_name_is_documented_and_every_documented_name_is_there(cloud):
    text = (await cloud.admin.get("/metrics")).text
    names = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    documented = set(
        re.findall(r"^\| `((?:verge|process)_[a-z_]+)", DOCUMENT.read_text().split("## Node agent")[0], re.MULTILINE)
    )
    assert names == documented


async def test_they_count_what_happened(cloud):
    before = await scrape(cloud)
    assert before["verge_nodes", "never-seen"] == 3
    await cloud.apply("nc-1", "nc-2", "nc-3")
    answer = await cloud.update(changed("sg-web", ingress=[]))
    then = await scrape(cloud)
    assert then["verge_revision",] == 2
    assert then["verge_changes_total",] - before["verge_changes_total",] == 1
    assert then["verge_commit_seconds_count",] - before["verge_commit_seconds_count",] == 1
    assert then["verge_reports_total", "applied"] == 3
    assert then["verge_nodes", "lagging"] == len(answer["affected"])
    assert then["verge_lag_versions", "1"] == 1
    assert then["verge_lag_seconds", "1"] > 0
    assert then["verge_answers_total", "200", "view"] >= 3
    assert then["verge_answers_total", "200", "other"] > before["verge_answers_total", "200", "other"]
    assert then["verge_convergence_seconds_count",] == 1, "the first change has converged"

    await cloud.apply(*answer["affected"])
    await until(lambda: cloud.replica.spreads[2].complete)
    after = await scrape(cloud)
    assert after["verge_convergence_seconds_count",] == 2
    assert after["verge_convergence_seconds_sum",] > then["verge_convergence_seconds_sum",]
    assert after["verge_nodes", "converged"] == 3
    assert after["verge_lag_seconds", "1"] == 0


async def test_waits_are_counted_while_they_last(cloud):
    await cloud.apply("nc-1", "nc-2", "nc-3")
    poll = await cloud.park("nc-1")
    assert (await scrape(cloud))["verge_waits_open", "view"] == 1
    assert (await scrape(cloud))["verge_waits_open", "barrier"] == 0
    await cloud.update(changed("sg-web", ingress=[]))
    await poll
    assert (await scrape(cloud))["verge_waits_open", "view"] == 0


async def test_stages_repairs_and_fences_are_counted(cloud):
    await cloud.apply("nc-1", "nc-2", "nc-3")
    answer = await cloud.update(changed("sg-web", ingress=[]))
    [node, *_] = answer["affected"]
    etag = str(cloud.replica.held.etag(node))
    drift = {"at": "2026-01-01T00:00:00Z", "what": "table ip verge", "culprit": "nft (7)", "repaired_ms": 12.5}
    before = await scrape(cloud)
    await cloud.view(node)
    await cloud.report(node, etag, timings_ms={"plan": 1.5, "apply": 250}, drift=[drift], sessions_cut=3)
    after = await scrape(cloud)

    def more(*key):
        return after[key] - before[key]

    assert more("verge_stage_seconds_count", "apply") == more("verge_stage_seconds_count", "plan") == 1
    assert more("verge_stage_seconds_sum", "apply") == 0.25
    assert more("verge_stage_seconds_count", "reported") == more("verge_stage_seconds_count", "told") == 1
    assert (more("verge_drift_repaired_total"), more("verge_sessions_cut_total")) == (1, 3)
