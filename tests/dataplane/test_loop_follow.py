"""The whole loop with real processes: what the cloud posts is what packets do, by whatever path, and nobody else is woken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import pytest

from demo.cloud import PORT
from lab.frames import TCP, Frame
from lab.topology import CLC
from lab.wire import Capture, capture
from tests.networks import generated
from tests.networks.flat import FLAT
from tests.networks.live import Live, live
from tests.networks.real import differences, flow, table_differences
from tests.networks.words import group, put
from tests.oracle.message import Message
from tests.oracle.objects import Operation


@pytest.fixture(scope="module", params=["deltas", "whole views"])
def cloud(request: pytest.FixtureRequest) -> Iterator[Live]:
    """The flat network, posted and in force; everything holds by either way of hearing of changes."""
    with live(FLAT, deltas=request.param == "deltas") as running:
        running.post(FLAT.operations)
        yield running


def test_what_was_posted_is_in_force_when_the_answer_comes(cloud: Live) -> None:
    assert table_differences(cloud.lab, FLAT) == []
    opened = {**FLAT.groups["sg-void"], "ingress": group("tcp 25 from sg-report")["ingress"]}
    mail = flow(cloud.lab, FLAT, "report", "stranger", Message.read("tcp 25"))
    still = flow(cloud.lab, FLAT, "report", "db", Message.read("tcp 5432"))
    assert cloud.post([put("group", "sg-void", opened)])["affected"] == ["nc-1"]
    assert differences({mail: True, still: True}) == []
    cloud.post([put("group", "sg-void", FLAT.groups["sg-void"])])
    assert differences({mail: False, still: True}) == []


def test_changes_come_the_way_that_is_tried_here(cloud: Live, request: pytest.FixtureRequest) -> None:
    def taken(form: str) -> float:
        return sum(cloud.metric(node, f'verge_agent_views_total{{form="{form}"}}') for node in cloud.cloud.agents)

    before = taken("delta"), taken("whole")
    cloud.post([put("group", "sg-void", group("tcp 26 from anywhere"))])
    cloud.post(FLAT.operations)
    after = taken("delta"), taken("whole")
    assert (after[0] > before[0], after[1] > before[1]) == (
        (True, False) if request.node.callspec.params["cloud"] == "deltas" else (False, True)
    )


def test_a_node_whose_view_did_not_change_is_not_woken(cloud: Live) -> None:
    """Nothing is said on the connection on which it waits: neither an answer nor a question."""
    with (
        capture(cloud.lab["nc-3"], "up0", speaks) as untouched,
        capture(cloud.lab["nc-1"], "up0", speaks) as touched,
    ):
        # First something for both, so that both have just asked and wait.
        cloud.post([put("group", "sg-web", group("tcp 80 from anywhere")), put("group", "sg-sctp", group())])
        waits = {node: Waiting.of(cloud, node, seen) for node, seen in (("nc-3", untouched), ("nc-1", touched))}
        for number in range(8):
            update = [put("group", "sg-icmp-any", group(f"icmp {number} from anywhere"))]
            assert cloud.post(update)["affected"] == ["nc-1"]
        assert waits["nc-1"].said_since(touched.frames), "the control: a node that is woken is seen to be"
        assert waits["nc-3"].said_since(untouched.frames) == []
    cloud.post(FLAT.operations)


def speaks(frame: Frame) -> bool:
    """A segment with something in it, between an agent and the view server."""
    if frame.protocol != TCP or PORT not in (frame.sport, frame.dport) or CLC not in (frame.src, frame.dst):
        return False
    return len(frame.payload) > (frame.payload[12] >> 4) * 4


@dataclass(frozen=True, slots=True)
class Waiting:
    """The question that a node has asked last, and its connection."""

    question: Frame

    @classmethod
    def of(cls, cloud: Live, node: str, seen: Capture) -> Waiting:
        etag = cloud.cloud.etags()[node].encode()
        asked = b"GET /v1/nodes/" + node.encode() + b"/view"
        question = seen.wait_for(lambda frame: asked in frame.payload and etag in frame.payload)
        assert question, f"{node} does not ask for what is newer than {etag!r}"
        return cls(question)

    def said_since(self, frames: list[Frame]) -> list[bytes]:
        at = next(number for number, frame in enumerate(frames) if frame.raw == self.question.raw)
        return [frame.payload[:200] for frame in frames[at + 1 :] if self.question.sport in (frame.sport, frame.dport)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_any_path_to_a_model_ends_in_the_same_views_and_rulesets(cloud: Live, seed: int) -> None:
    cloud.post(FLAT.operations)
    digests, rulesets = cloud.digests(), cloud.rulesets()
    chance = Random(seed)
    for update in detours(chance):
        cloud.offer(update)
    assert cloud.digests() != digests, "the detour led nowhere"
    come_back(cloud, chance)
    cloud.settled()
    assert cloud.digests() == digests
    assert cloud.rulesets() == rulesets
    assert table_differences(cloud.lab, FLAT) == []


def detours(chance: Random) -> Iterator[list[Operation]]:
    """Updates away from the flat network: other rules, other groups, instances that move, leave or cease to exist. Some
    are refused, since they would break the network: then nothing of them is kept."""
    yield [put("group", name, value) for name, value in generated.network(chance).groups.items()]
    for _ in range(12):
        yield [_detour(chance) for _ in range(chance.choice([1, 1, 2, 4]))]


def _detour(chance: Random) -> Operation:
    one, name = chance.choice(FLAT.vms), chance.choice(list(FLAT.groups))
    match chance.choice(["move", "move", "delete", "unplace", "regroup", "rules", "away"]):
        case "delete":
            return {"op": "delete", "kind": "instance", "id": one.id}
        case "move":
            return put("instance", one.id, {**one.value, "node": chance.choice(generated.NODES)})
        case "unplace":
            return put("instance", one.id, {**one.value, "node": None, "zone": "zone-a"})
        case "regroup":
            return put("instance", one.id, {**one.value, "groups": chance.sample(list(FLAT.groups), 2)})
        case "rules":
            return put("group", name, chance.choice(list(generated.network(chance).groups.values())))
        case _:
            return {"op": "delete", "kind": "group", "id": name}


def come_back(cloud: Live, chance: Random) -> None:
    """One object at a time and in random order; what is refused, because it leans on what is not there yet, comes later."""
    left = [[operation] for operation in FLAT.operations]
    # in one update, since they name each other
    left += [[{"op": "delete", "kind": "group", "id": name} for name in generated.GROUPS]]
    while left:
        chance.shuffle(left)
        refused = [update for update in left if not cloud.offer(update)]
        assert len(refused) < len(left), refused
        left = refused
