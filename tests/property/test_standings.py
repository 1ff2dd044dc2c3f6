"""What is counted as it happens is what counting everything again would give, whatever happens in which order.

Nodes report, fall back, fail, come, go, fall silent and connect again while the network changes; after each step the
cloud's convergence and the barrier on every remembered change are compared with a recomputation from each node's facts.
"""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.random_network import INSTANCES, NODES, histories, walk
from tests.property.test_replay import stored
from tests.unit.viewserver.recomputed import summary
from verge.contract.report import Failure
from viewserver import replica as room
from viewserver.api.barrier import Terms, _in_force, _now
from viewserver.compile.held import Held
from viewserver.model.change import Change
from viewserver.model.convergence import Told, barrier, standing
from viewserver.replica import Replica

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
OBJECTS = [f"instances/{key}" for key in INSTANCES[:2]] + ["groups/sg-1"]
NAMES = st.sampled_from(sorted(NODES))
EVENTS = st.lists(
    st.one_of(
        st.just(("commit",)),
        st.just(("commit",)),
        st.tuples(
            st.just("report"),
            NAMES,
            st.none() | st.integers(0, 3),
            st.sampled_from(["applied", "applied", "degraded", "rejected"]),
            st.lists(st.sampled_from(OBJECTS), max_size=2, unique=True),
        ),
        st.tuples(st.sampled_from(["connect", "disconnect"]), NAMES),
        st.tuples(st.just("pass"), st.sampled_from([0.5, 3.0])),
        st.just(("another epoch",)),
    ),
    max_size=40,
)


class Cloud:
    def __init__(self, monkeypatch):
        self.time = 1000.0
        monkeypatch.setattr(room, "time", SimpleNamespace(monotonic=lambda: self.time))
        clock = SimpleNamespace(now=self.now, at=lambda seconds: BEGAN + timedelta(seconds=seconds))
        self.replica = Replica(SimpleNamespace(start_grace_s=1.0, silence_grace_s=2.0), clock, Held.empty())
        self.open = set()

    def now(self):
        return BEGAN + timedelta(seconds=self.time)

    def commit(self, outcome):
        held = self.replica.held
        self.time += 0.01
        derived, affected = held.derived.advance(outcome.network, [(one.kind, one.id) for one in outcome.changed])
        records = stored(outcome.changed)
        self.replica.adopt(Change(held.revision + 1, held.epoch, self.now(), "cloud", records, affected), derived)
        self.time += 0.01  # whoever lacks it lags by something, from now on

    def report(self, node, back, state, failures):
        held = self.replica.held
        if held.network.node(node) is None:
            return
        applied = 0 if back is None else max(0, held.versions.get(node, 0) - back)
        failed = tuple(Failure(one, "ruleset", "no") for one in failures) if state != "applied" else ()
        self.replica.hear(node, Told(0 if back is None else held.epoch, applied, state, None, failed, {}, self.now()))

    def connection(self, node, *, opened):
        if opened and node not in self.open:
            self.open.add(node)
            self.replica.opened(node)
        elif not opened and node in self.open:
            self.open.remove(node)
            self.replica.closed_by(node)

    def another_epoch(self):
        held = self.replica.held
        self.replica.begin_epoch(Held(held.epoch + 1, held.revision, held.derived, held.versions))

    def check(self):
        replica, now = self.replica, self.now()
        every = {facts.node: facts for facts in replica.facts()}
        standings = [standing(facts, now) for facts in every.values()]
        held = replica.held
        assert replica.standings.cloud(now, 2).to_wire(held.revision, held.epoch, now) == summary(
            held.revision, held.epoch, standings, 2
        )
        for recent in replica.recent.values():
            for terms in (Terms(), Terms(allow_degraded=True), Terms(quorum=0.5)):
                wanted = barrier(
                    recent.revision,
                    replica.facts(recent.affected),
                    recent.touched,
                    now,
                    quorum=terms.quorum,
                    allow_degraded=terms.allow_degraded,
                )
                assert _now(replica, recent, terms) == wanted
                assert _in_force(replica, recent, terms) == wanted.converged


@settings(deadline=None)
@given(histories, EVENTS)
def test_counts_are_what_counting_again_gives(history, events):
    with pytest.MonkeyPatch.context() as monkeypatch:
        cloud = Cloud(monkeypatch)
        commits = (outcome for _, outcome in walk(history) if outcome.changed)
        for event in events:
            match event:
                case ("commit",):
                    if outcome := next(commits, None):
                        cloud.commit(outcome)
                case ("report", node, back, state, failures):
                    cloud.report(node, back, state, failures)
                case ("connect" | "disconnect" as what, node):
                    cloud.connection(node, opened=what == "connect")
                case ("pass", seconds):
                    cloud.time += seconds
                case ("another epoch",):
                    cloud.another_epoch()
            cloud.check()
