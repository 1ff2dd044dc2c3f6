"""What Prometheus scrapes of an agent: the names of docs/metrics-agent.md, and that they count what happened."""

import asyncio
import re
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from nodeagent.api.app import make_app
from tests.integration.agent_server import ViewServer
from tests.integration.test_agent_follow import ONE, TWO, agent_of, kernel, passed, running
from tests.unit.nodeagent.views import etag_of

__all__ = ["agent_of", "kernel"]
DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics-agent.md"


async def text_of(agent) -> str:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app(agent)), base_url="http://agent") as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.text


async def scrape(agent):
    samples = [one for family in text_string_to_metric_families(await text_of(agent)) for one in family.samples]
    return {(one.name, *one.labels.values()): one.value for one in samples}


async def test_every_name_is_documented_and_every_documented_name_is_there(agent_of):
    async with ViewServer().serving() as server:
        await server.publish(ONE)
        async with running(agent_of(server.url)) as agent:
            await passed(agent, lambda: agent.passes.in_force)
            names = set(re.findall(r"^# TYPE (\S+) ", await text_of(agent), re.MULTILINE))
    documented = set(re.findall(r"^\| `((?:verge|process)_[a-z_]+)", DOCUMENT.read_text(), re.MULTILINE))
    assert names == documented


async def test_they_count_what_happened(agent_of, kernel):
    async with ViewServer().serving() as server:
        await server.publish(ONE)
        async with running(agent_of(server.url)) as agent:
            await server.until(lambda: server.reports)
            before = await scrape(agent)
            assert before["verge_agent_view_version", "applied"] == 1
            assert before["verge_agent_state", "applied"] == 1
            assert before["verge_agent_server", "following"] == 1
            assert before["verge_agent_instances", "ready"] == 1
            assert before["verge_agent_views_total", "whole"] == 1
            kernel.refused = {etag_of(TWO, 2).digest}
            await server.publish(TWO)
            await server.until(lambda: server.newest["state"] == "rejected")
            await passed(agent, lambda: agent.passes.told.state == "rejected")
            after = await scrape(agent)
            assert (after["verge_agent_view_version", "held"], after["verge_agent_view_version", "applied"]) == (2, 1)
            assert after["verge_agent_state", "rejected"] == 1
            assert after["verge_agent_failures",] == 1
            assert after["verge_agent_passes_total", "rejected"] >= 1
            form = "delta" if agent.settings.deltas else "whole"
            assert after["verge_agent_views_total", form] == 1 + (form == "whole")
            assert after["verge_agent_changes_total",] >= before["verge_agent_changes_total",] >= 1
            assert after["verge_agent_pass_seconds_total", "apply"] >= before["verge_agent_pass_seconds_total", "apply"]
            assert after["process_resident_memory_bytes",] > 1e6


async def test_reports_that_are_not_taken_are_counted(agent_of):
    async with ViewServer().serving() as server:
        await server.publish(ONE)
        async with running(agent_of(server.url)) as agent:
            await server.until(lambda: server.reports)
            server.failing = 503
            agent.session.enforced(agent.passes.told)
            agent.news.set()
            async with asyncio.timeout(15):
                while not agent.session.reporting.failed:
                    await asyncio.sleep(0.01)
            assert (await scrape(agent))["verge_agent_reports_failed_total",] >= 1
            server.failing = None
            told = len(server.reports)
            await server.until(lambda: len(server.reports) > told)
            async with asyncio.timeout(15):
                while (await scrape(agent))["verge_agent_reports_sent_total",] < 2:
                    await asyncio.sleep(0.01)
