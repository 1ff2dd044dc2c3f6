"""The whole loop with real processes that die: row 26. What is in the kernel stays in force, what is on disk comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random

import pytest

from demo.cloud import NotReady, Process
from lab.session import Session, Side
from tests.networks.flat import FLAT
from tests.networks.live import Live, live
from tests.networks.real import differences, flow, host, table_differences
from tests.networks.traffic import Pair, Traffic
from tests.networks.words import put, rule
from tests.oracle.message import Message
from tests.oracle.objects import Operation

KILLS = 16
LONGEST_LIFE = 1.2
"""Seconds from start to kill: an agent is ready after about half of it, so half of the kills hit one that is starting."""

PAIRS = [
    Pair("web-1", "web-2", 514, allowed=True),
    Pair("db", "web-2", 514, allowed=True),
    Pair("web-2", "app-1", 8000, allowed=True),
    Pair("report", "web-2", 514, allowed=False),
    Pair("loner", "web-2", 514, allowed=False),
    Pair("outside", "db", 53, allowed=False),
]
"""Into nc-2, within it and out of it."""


@pytest.fixture(scope="module")
def cloud() -> Iterator[Live]:
    """The flat network, posted and in force."""
    with live(FLAT) as running:
        running.post(FLAT.operations)
        yield running


@pytest.mark.slow
def test_an_agent_is_killed_again_and_again_while_updates_come(cloud: Live) -> None:
    """0 lost, 0 leaked, at whatever moment: starting, reading the kernel, applying, or waiting."""
    chance = Random(26)
    agent = cloud.cloud.agents["nc-2"]
    client, server = (host(cloud.lab, FLAT, name) for name in ("app-1", "db"))
    with Session.tcp(client, server, FLAT.address("db"), 5432) as session:
        with Traffic(cloud.lab, FLAT, PAIRS) as traffic:
            for number in range(KILLS):
                agent.kill()
                assert cloud.offer(unrelated(number))
                live_for(agent, chance.uniform(0, LONGEST_LIFE))
                assert cloud.offer(unrelated(number + 1))
                time.sleep(chance.uniform(0, 0.03))  # the moment of the kill is what is drawn
            agent.kill()
        assert traffic.sent > 1000
        assert traffic.faults == []
        assert all(session.passes(side, wait=3) for side in Side)
    agent.start()
    cloud.settled()
    cloud.post(FLAT.operations)
    cloud.rulesets()
    assert table_differences(cloud.lab, FLAT) == []


def unrelated(number: int) -> list[Operation]:
    """A change for nc-2, of groups that the traffic uses and of rules that it does not: one opens, and the next one, which
    revokes something, has the sessions of db and web-2 judged again."""
    extra = [rule(f"tcp {6000 + number} from sg-report")] if number % 2 else []
    changed = ("sg-db", "sg-ops")
    return [
        put("group", name, {**FLAT.groups[name], "ingress": [*FLAT.groups[name]["ingress"], *extra]})
        for name in changed
    ]


def live_for(agent: Process, seconds: float) -> None:
    """Start it. If it is not ready after these seconds, it has been killed while starting."""
    began = time.monotonic()
    try:
        agent.start(patience=seconds)
    except NotReady:
        assert time.monotonic() - began >= seconds, "it died by itself"
        return
    time.sleep(max(0.0, began + seconds - time.monotonic()))


def test_a_node_that_boots_while_the_server_is_away_enforces_what_its_disk_holds(cloud: Live) -> None:
    agent = cloud.cloud.agents["nc-2"]
    cloud.cloud.server.kill()
    agent.kill()
    cloud.lab["nc-2"].nft("flush ruleset")
    forbidden = flow(cloud.lab, FLAT, "outside", "db", Message.read("tcp 5432"))
    assert differences({forbidden: True}) == [], "the control: without rules it passes"
    agent.start()
    assert table_differences(cloud.lab, FLAT) == []
    assert cloud.agent("nc-2", "/v1/status")["server"]["standing"] == "unreachable"
    cloud.cloud.restart_server()
    cloud.post([put("group", "sg-db", {**FLAT.groups["sg-db"], "ingress": [rule("tcp 5432 from anywhere")]})])
    assert differences({forbidden: True}) == []
    cloud.post(FLAT.operations)
    assert differences({forbidden: False}) == []
