"""Whatever becomes of the answers on their way, the agent holds what the server had, never goes back, and gets there."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.session import Answer, Offered, Session, ViewRequest, read_delta, read_view
from tests.unit.nodeagent.views import view_wire
from verge.contract.delta import apply, diff
from verge.contract.etag import At, ETag
from verge.contract.view import View

MEMBERS = [f"10.1.{low % 3}.{low}" for low in range(12)]


def content(port: int, member_bits: int, instance: bool) -> View:
    wire = view_wire(port=port)
    wire["members"] = {"sg-2": [one for at, one in enumerate(MEMBERS) if member_bits >> at & 1]} if member_bits else {}
    wire["instances"] = wire["instances"] if instance else {}
    return View.parse(wire)


CONTENTS = st.builds(content, st.integers(1, 3), st.integers(0, 2 ** len(MEMBERS) - 1), st.booleans())


class Server:
    """The contract's "Reading a view" as a few lines: versions, an epoch, and a memory for the latest bases only."""

    def __init__(self, first: View) -> None:
        self.epoch, self.version, self.view = 1, 1, first
        self.bases: dict[ETag, View] = {self.etag: first}
        self.ever = {self.etag: first}

    @property
    def etag(self) -> ETag:
        return ETag(self.epoch, self.version, self.view.digest)

    def change(self, view: View) -> None:
        if view.digest == self.view.digest:
            return
        self.version, self.view = self.version + 1, view
        self.bases = dict([*self.bases.items(), (self.etag, view)][-3:])
        self.ever[self.etag] = view

    def there_and_back(self, view: View) -> None:
        """A→B→A: another version of the same content."""
        before = self.view
        self.change(view)
        self.change(before)

    def promote(self) -> None:
        """A standby takes over: what others remember is not what it does."""
        self.epoch += 1
        self.version = max(1, self.version - 2)
        self.bases = {self.etag: self.view}
        self.ever[self.etag] = self.view

    def answer(self, request: ViewRequest) -> Answer:
        headers = {"etag": str(self.etag), "verge-revision": str(At(self.epoch, self.version))}
        if self.etag in request.bases:
            return Answer(304, headers)
        known = [base for base in request.bases if base in self.bases]
        if request.base and known:
            body = orjson.dumps(diff(self.bases[known[0]], self.view))
            about = {"im": "verge-delta", "delta-base": str(known[0])}
            return Answer(226, headers | about, body, read_delta(body, request.base))
        body = self.view.to_bytes()
        return Answer(200, headers, body, read_view(body))


EVENTS = st.one_of(
    st.tuples(st.just("change"), CONTENTS),
    st.tuples(st.just("there and back"), CONTENTS),
    st.tuples(st.just("promote"), st.none()),
    st.tuples(st.just("ask"), st.none()),
    st.tuples(st.just("lose"), st.none()),
    st.tuples(st.just("an earlier answer"), st.integers(0, 100)),
    st.tuples(st.just("a wrong body"), CONTENTS),
)


def follow(events, deltas: bool) -> None:
    first = content(1, 3, instance=True)
    server = Server(first)
    session = Session(node="nc-1", servers=("http://a",), agent_version="1", boot_id="b", deltas=deltas)
    earlier: list[Answer] = []
    stored = first  # what a disk would hold that keeps whole views and folds the deltas' bytes into them

    def hear(request: ViewRequest, answer: Answer) -> None:
        nonlocal stored
        before = session.held
        step = session.answered(answer, 0.0, 0.5)
        if isinstance(step, Offered):
            assert step.etag == session.held
            assert before is None or (before.epoch, before.version) < (step.etag.epoch, step.etag.version)
            assert (step.base is None) == (answer.status == 200)
            stored = step.view if step.base is None else apply(stored, orjson.loads(step.body))
        else:
            assert session.held == before
        assert deltas or answer.status != 226 or not isinstance(step, Offered)
        if session.held:
            true = server.ever[session.held]
            assert session.view == true
            assert stored == true
            assert orjson.loads(session.view.to_bytes()) == orjson.loads(true.to_bytes())

    for event, about in events:
        match event:
            case "change":
                server.change(about)
            case "there and back":
                server.there_and_back(about)
            case "promote":
                server.promote()
            case "ask":
                request = session.next_view_request(0.0)
                earlier.append(server.answer(request))
                hear(request, earlier[-1])
            case "lose":
                earlier.append(server.answer(session.next_view_request(0.0)))
                session.unreachable("lost", 0.5)
            case "an earlier answer" if earlier:
                request = session.next_view_request(0.0)
                old = earlier[about % len(earlier)]
                # the body is folded into what is held now, as the client does it before anybody looks at Delta-Base
                folded = read_delta(old.body, request.base) if old.status == 226 and request.base else old.content
                hear(request, Answer(old.status, old.headers, old.body, folded))
            case "a wrong body":
                request = session.next_view_request(0.0)
                true = server.answer(request)
                if true.status != 304 and about.digest != server.view.digest:
                    hear(request, Answer(true.status, true.headers, about.to_bytes(), about))
                else:
                    session.unreachable("lost", 0.5)
    for _ in range(6):  # a good server, some questions later
        request = session.next_view_request(0.0)
        hear(request, server.answer(request))
    assert session.held == server.etag
    assert session.view == server.view


@given(st.lists(EVENTS, max_size=25))
def test_lost_repeated_and_reordered_answers_change_nothing(events):
    follow(events, deltas=True)


@given(st.lists(EVENTS, max_size=25))
def test_nor_do_they_without_deltas(events):
    follow(events, deltas=False)
