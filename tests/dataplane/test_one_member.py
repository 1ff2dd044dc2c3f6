"""A member more in a group of 20,000 costs one of everything, from the answer's bytes to the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from lab.build import Lab
from nodeagent.kernel.elements import messages
from nodeagent.nft.changes import AddElements
from nodeagent.session import Answer, Offered, Session, read_delta
from nodeagent.state import ownership
from nodeagent.state.rule import KeyType
from tests.dataplane.cloud import Node
from tests.dataplane.seen import observed
from tests.unit.nodeagent import wires
from tests.unit.nodeagent.wires import group, instance, rule
from verge.contract import members as members_module
from verge.contract.delta import diff
from verge.contract.etag import ETag
from verge.contract.members import Block, Members, format_address, parse_address
from verge.contract.rule import GroupId
from verge.contract.view import View

LARGE = GroupId("sg-1")
FIRST = parse_address("10.200.0.0")
NEW = parse_address("10.200.78.200")
"""Its block of 256 is there, and not full."""


@pytest.fixture
def node(flat: Lab) -> Iterator[Node]:
    node = Node(flat["nc-1"])
    yield node
    node.enforcement.close()


def network() -> View:
    """One instance; its group lets in what is of another, which has 20,000 members. Others have some."""
    groups = {
        f"sg-{n}": group(rule("tcp", 22, group=f"sg-{n + 1}"), rule("tcp", 80 + n, cidr="0.0.0.0/0")) for n in range(9)
    }
    members = {name: [f"10.111.102.{n}" for n in range(20)] for name in (*groups, "sg-9")}
    large = [format_address(FIRST + n) for n in range(20_000)]
    return wires.view({"i-1": instance(1, ["sg-0", "sg-1"])}, groups, {**members, LARGE: large})


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
    view = network()
    assert node.apply(view).state == "applied"
    assert node.apply(view).changes == 0
    session, newer = holding(view), changed(view, add=[NEW])

    blocks: list[int] = []
    monkeypatch.setattr(members_module.Block, "of", counting(blocks))
    body, then = take(session, newer)
    assert len(body) < 100, "one address on the wire"
    assert len(blocks) == 1, "one block of the set is hashed"

    before, after = view.members[LARGE], then.members[LARGE]
    assert after.difference(before) == ([NEW], [])
    assert sum(after._blocks[prefix] is not before._blocks.get(prefix) for prefix in after._blocks) == 1
    for part in ("host", "network", "zone", "instances", "groups"):
        assert getattr(then, part) is getattr(view, part)
    assert all(then.members[name] is view.members[name] for name in view.members if name != LARGE)

    sent: list[object] = []
    for kernel in (node.enforcement._ruleset._nft, node.enforcement._ruleset._fast):
        monkeypatch.setattr(kernel, "commit", recording(sent, kernel.commit))
    outcome = node.apply(then)
    assert (outcome.state, outcome.changes) == ("applied", 1)
    one = AddElements(ownership.IP, f"members/{LARGE}", (KeyType.IPV4,), ((NEW,),))
    assert sent == [messages((one,))]
    held = observed(node.host)[ownership.IP].sets[f"members/{LARGE}"].elements
    assert isinstance(held, Members)
    assert held == after


def recording(sent: list[object], commit: Callable[[Any], None]) -> Callable[[Any], None]:
    def recorded(transaction: Any) -> None:
        sent.append(transaction)
        commit(transaction)

    return recorded


def counting(blocks: list[int]) -> staticmethod[[int, object], Block]:
    make = Block.of

    def of(prefix: int, octets: object) -> Block:
        blocks.append(prefix)
        return make(prefix, octets)  # type: ignore[arg-type]

    return staticmethod(of)


def test_a_member_less_takes_one_element_away(node: Node) -> None:
    view = network()
    node.apply(view)
    gone = FIRST + 4711
    body, newer = take(holding(view), changed(view, remove=[gone]))
    assert len(body) < 100
    outcome = node.apply(newer)
    assert outcome.state == "applied"
    held = observed(node.host)[ownership.IP].sets[f"members/{LARGE}"].elements
    assert isinstance(held, Members)
    assert view.members[LARGE].difference(held) == ([gone], [])
