"""A member more in a group of 20,000 costs one of everything, from the answer's bytes to the kernel."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from bench.node_apply import network
from lab.build import Lab
from nodeagent.session import Answer, Offered, Session, read_delta
from nodeagent.state import ownership
from tests.dataplane.cloud import Node
from tests.dataplane.seen import observed
from verge.contract import members as members_module
from verge.contract.delta import diff
from verge.contract.etag import ETag
from verge.contract.members import Block, Members, parse_address
from verge.contract.rule import GroupId
from verge.contract.view import View

LARGE = GroupId("sg-1")
NEW = parse_address("10.200.78.200")
"""Its block of 256 is there, and not full."""


@pytest.fixture
def node(flat: Lab) -> Iterator[Node]:
    node = Node(flat["nc-1"])
    yield node
    node.enforcement.close()


def holding(view: View) -> Session:
    etag = ETag(1, 1, view.digest)
    return Session(node="nc-1", servers=("http://a",), agent_version="1", boot_id="b", held=etag, view=view)


def changed(view: View, **edit: list[int]) -> View:
    members = {**view.members, LARGE: view.members[LARGE].changed(**edit)}
    return View.of(view.wire, view.host, view.network, view.zone, view.instances, view.groups, members)


def take(session: Session, newer: View) -> tuple[bytes, View]:
    """The delta as it travels, and the view that comes of it."""
    request = session.next_view_request(0.0)
    assert request.base is not None
    body = orjson.dumps(diff(request.base, newer))
    headers = {"im": "verge-delta", "delta-base": str(session.held), "etag": str(ETag(1, 2, newer.digest))}
    step = session.answered(Answer(226, headers, body, read_delta(body, request.base)), 9.0, 0.5)
    assert isinstance(step, Offered)
    return body, step.view


def test_one_address_one_block_one_element(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    view = View.parse(network(20_000))
    assert node.apply(view).state == "applied"
    assert node.apply(view).changes == 0
    session, newer = holding(view), changed(view, add=[NEW])

    blocks: list[int] = []
    monkeypatch.setattr(members_module.Block, "of", counting(blocks))
    body, view_after = take(session, newer)
    assert len(body) < 100, "one address on the wire"
    assert len(blocks) == 1, "one block of the set is hashed"

    before, after = view.members[LARGE], view_after.members[LARGE]
    assert after.difference(before) == ([NEW], [])
    assert sum(after._blocks[prefix] is not before._blocks.get(prefix) for prefix in after._blocks) == 1
    for part in ("host", "network", "zone", "instances", "groups"):
        assert getattr(view_after, part) is getattr(view, part)
    assert all(view_after.members[name] is view.members[name] for name in view.members if name != LARGE)

    sent: list[str] = []
    kernel = node.enforcement._ruleset._nft
    commit = kernel.commit
    monkeypatch.setattr(kernel, "commit", lambda text: (sent.append(text), commit(text))[1])
    outcome = node.apply(view_after)
    assert (outcome.state, outcome.changes) == ("applied", 1)
    assert [text.split() for text in sent] == [
        f"add element ip verge members/{LARGE} {{ {members_module.format_address(NEW)} }}".split()
    ]
    held = observed(node.host)[ownership.IP].sets[f"members/{LARGE}"].elements
    assert isinstance(held, Members)
    assert held == after


def counting(blocks: list[int]) -> staticmethod[[int, object], Block]:
    make = Block.of

    def of(prefix: int, octets: object) -> Block:
        blocks.append(prefix)
        return make(prefix, octets)  # type: ignore[arg-type]

    return staticmethod(of)


def test_a_member_less_takes_one_element_away(node: Node) -> None:
    view = View.parse(network(20_000))
    node.apply(view)
    gone = parse_address("10.200.0.0") + 4711
    body, newer = take(holding(view), changed(view, remove=[gone]))
    assert len(body) < 100
    outcome = node.apply(newer)
    assert outcome.state == "applied"
    held = observed(node.host)[ownership.IP].sets[f"members/{LARGE}"].elements
    assert isinstance(held, Members)
    assert view.members[LARGE].difference(held) == ([gone], [])
