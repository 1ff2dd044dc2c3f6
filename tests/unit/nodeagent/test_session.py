"""The protocol, event by event: what the agent asks for next, what it accepts, and what it says."""

import orjson
import pytest

from nodeagent.session import WAIT_S, Answer, Current, Enforced, Offered, Retry, Session, read_delta, read_view
from tests.unit.nodeagent.views import body_of, etag_of, view_wire
from verge.contract.delta import diff
from verge.contract.etag import At, ETag
from verge.contract.report import Failure
from verge.contract.view import View

A, B = "http://a", "http://b"
OLD, NEW = view_wire(port=22), view_wire(port=80)
V5, V6 = etag_of(OLD, 5), etag_of(NEW, 6)


def session(*, servers=(A, B), held: ETag | None = None, seen: At | None = None) -> Session:
    return Session(node="nc-1", servers=servers, agent_version="1", boot_id="boot", held=held, seen=seen)


def whole(etag: object, wire: dict, **headers: str) -> Answer:
    body = body_of(wire)
    return Answer(200, {"etag": str(etag)} | headers, body, read_view(body), fetch_ms=0.5)


def unchanged(etag: object, **headers: str) -> Answer:
    return Answer(304, {"etag": str(etag)} | headers)


def ask(of: Session, answer: Answer, *, now: float = 0.0, took: float = 0.0, dice: float = 0.5):
    of.next_view_request(now)
    return of.answered(answer, now + took, dice)


class TestAsking:
    def test_a_first_start_asks_for_the_whole_view_at_once(self):
        assert session().next_view_request(0).headers() == {}

    def test_with_a_view_held_it_waits_for_something_newer_than_that(self):
        headers = session(held=V5, seen=At(1, 7)).next_view_request(0).headers()
        assert headers == {"If-None-Match": str(V5), "Prefer": f"wait={WAIT_S}", "Verge-Revision": "1.7"}

    def test_it_never_forgets_the_newest_revision_it_has_seen(self):
        it = session(held=V5)
        ask(it, unchanged(V5, **{"verge-revision": "1.9"}))
        ask(it, unchanged(V5, **{"verge-revision": "1.8"}))
        assert it.next_view_request(0).seen == At(1, 9)
        ask(it, unchanged(V5, **{"verge-revision": "2.1"}))
        assert it.next_view_request(0).seen == At(2, 1)

    def test_a_304_that_was_not_held_is_followed_by_a_pause(self):
        assert ask(session(held=V5), unchanged(V5), took=0.01, dice=0.5) == Current(pause_s=0.5)
        assert ask(session(held=V5), unchanged(V5), took=29.0) == Current(pause_s=0)


class TestAccepting:
    def test_a_newer_view_is_offered_with_its_bytes_and_held_from_then_on(self):
        it = session(held=V5)
        step = ask(it, whole(V6, NEW))
        assert isinstance(step, Offered)
        assert (step.etag, step.body, step.view.digest) == (V6, body_of(NEW), V6.digest)
        assert (it.held, it.standing) == (V6, "following")

    def test_weak_validators_compare_equal(self):
        it = session(held=V5)
        assert isinstance(ask(it, whole(f"W/{V6}", NEW)), Offered)
        assert it.held == V6

    def test_content_that_returns_to_what_it_was_is_a_new_version(self):
        back = ETag(1, 7, V5.digest)
        step = ask(session(held=V5), whole(back, OLD))
        assert isinstance(step, Offered)
        assert step.etag == back

    def test_the_view_already_held_is_nothing_new(self):
        assert isinstance(ask(session(held=V6), whole(V6, NEW)), Current)

    @pytest.mark.parametrize("older", [V5, ETag(1, 6, V5.digest)], ids=["older version", "same version, other digest"])
    def test_it_never_moves_back(self, older):
        it = session(held=V6)
        assert isinstance(ask(it, whole(older, OLD)), Retry)
        assert (it.held, it.standing) == (V6, "faulty")
        assert it.server == B

    def test_a_higher_epoch_is_newer_whatever_its_version(self):
        it = session(held=V6)
        raised = ETag(2, 1, V5.digest)
        assert isinstance(ask(it, whole(raised, OLD)), Offered)
        assert it.held == raised

    def test_a_304_to_a_request_without_a_base_is_a_fault(self):
        it = session()
        assert isinstance(ask(it, unchanged(V5)), Retry)
        assert it.standing == "faulty"


def following(**more) -> Session:
    """It holds OLD, and knows its content."""
    return Session(
        node="nc-1", servers=(A, B), agent_version="1", boot_id="boot", held=V5, view=View.parse(OLD), **more
    )


def delta(it: Session, etag: object, wire: dict, base: object = V5, content: dict | None = None) -> Answer:
    body = orjson.dumps(content or diff(View.parse(OLD), View.parse(wire)))
    headers = {"im": "verge-delta", "delta-base": str(base), "etag": str(etag)}
    return Answer(226, headers, body, read_delta(body, it.view))


WRONG_DELTAS = {
    "another base": {"base": ETag(1, 4, V5.digest)},
    "no base": {"base": "none"},
    "another content": {"etag": ETag(1, 6, "0" * 32)},
    "unreadable": {"content": {"set": {"zone": {}}, "unset": {}, "members": {}}},
    "not relative to what is held": {"content": {"set": {}, "unset": {"groups": ["sg-9"]}, "members": {}}},
    "no delta": {"content": NEW},
}


class TestDeltas:
    def test_one_is_asked_for_when_the_base_is_at_hand(self):
        assert following().next_view_request(0).headers()["A-IM"] == "verge-delta"
        assert "A-IM" not in following(deltas=False).next_view_request(0).headers()
        assert "A-IM" not in session(held=V5).next_view_request(0).headers()

    def test_it_leads_to_the_newer_view(self):
        it = following()
        step = ask(it, delta(it, V6, NEW))
        assert isinstance(step, Offered)
        assert (step.etag, step.view, step.base) == (V6, View.parse(NEW), V5)
        assert (it.held, it.view, it.standing) == (V6, step.view, "following")

    def test_what_it_leaves_alone_is_the_same_object(self):
        it = following()
        before = it.view
        ask(it, delta(it, V6, NEW))
        assert it.view.groups != before.groups
        assert it.view.instances is before.instances
        assert (it.view.network, it.view.zone, it.view.host) == (before.network, before.zone, before.host)
        assert it.view.wire.objects["instances"] is before.wire.objects["instances"]

    def test_an_empty_one_is_a_new_version_of_the_same_content(self):
        it = following()
        back = ETag(1, 7, V5.digest)
        step = ask(it, delta(it, back, OLD))
        assert isinstance(step, Offered)
        assert (it.held, step.view.digest) == (back, V5.digest)

    def test_it_is_stored_as_it_came_with_what_it_is_based_on(self):
        it = following()
        step = ask(it, delta(it, V6, NEW))
        assert read_delta(step.body, View.parse(OLD)) == View.parse(NEW)

    def test_the_view_already_held_is_nothing_new(self):
        it = following()
        again = delta(it, V6, NEW)
        ask(it, again)
        assert isinstance(ask(it, again), Current)
        assert (it.held, it.standing) == (V6, "following")

    def test_one_that_is_older_is_left_alone(self):
        it = following()
        older = delta(it, V5, NEW)
        ask(it, delta(it, V6, NEW))
        assert isinstance(ask(it, older), Retry)
        assert it.held == V6

    @pytest.mark.parametrize("wrong", WRONG_DELTAS.values(), ids=WRONG_DELTAS)
    def test_one_that_is_wrong_is_forgotten_and_the_whole_view_asked_for(self, wrong):
        it = following()
        assert isinstance(ask(it, delta(it, **{"etag": V6, "wire": NEW} | wrong)), Retry)
        assert (it.held, it.view, it.refused) == (V5, View.parse(OLD), None)
        assert it.next_report() is None
        assert it.next_view_request(0).headers().keys() == set()
        assert isinstance(ask(it, whole(V6, NEW)), Offered)
        assert it.next_view_request(0).headers()["A-IM"] == "verge-delta"

    def test_a_whole_view_that_is_wrong_after_that_is_reported(self):
        it = following()
        lie = ETag(1, 6, "0" * 32)
        ask(it, delta(it, lie, NEW))
        ask(it, whole(lie, NEW))
        assert it.next_report().report.attempted == lie
        request = it.next_view_request(0)
        assert request.bases == (V5, lie)
        assert request.base is None, "a server might choose the refused one"

    def test_one_that_was_not_asked_for_is_a_fault(self):
        it = following(deltas=False)
        assert isinstance(ask(it, delta(it, V6, NEW)), Retry)
        assert (it.held, it.standing) == (V5, "faulty")
        assert it.next_view_request(0).bases == ()


WRONG = {
    "other content": whole(ETag(1, 6, "0" * 32), NEW),
    "another node's": whole(etag_of(view_wire("nc-2"), 6), view_wire("nc-2")),
    "unreadable": whole(V6, NEW | {"zone": {}}),
    "another schema": whole(V6, NEW | {"schema": 2}),
    "not JSON": Answer(200, {"etag": str(V6)}, b"{", read_view(b"{")),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
class TestRefusing:
    def test_the_last_good_view_is_kept_and_the_whole_view_asked_for_once(self, wrong):
        it = session(held=V5)
        assert isinstance(ask(it, wrong), Retry)
        assert it.held == V5
        assert it.next_report() is None
        assert it.next_view_request(0).headers().keys() == set()

    def test_the_second_time_it_is_reported_and_something_newer_than_either_waited_for(self, wrong):
        it = session(held=V5)
        it.enforced(Enforced(V5, None, "applied"))
        ask(it, wrong)
        ask(it, wrong)
        refused = ETag.parse(wrong.headers["etag"])
        report = it.next_report().report
        assert (report.applied, report.attempted, report.state) == (V5, refused, "rejected")
        assert len(report.failures) == 1
        request = it.next_view_request(0)
        assert request.bases == (V5, refused)
        assert request.wait_s == WAIT_S
        assert request.applied is None

    def test_a_refused_view_that_stands_is_fetched_again_when_the_wait_ends(self, wrong):
        it = session(held=V5)
        ask(it, wrong)
        ask(it, wrong)
        assert ask(it, unchanged(it.refused), took=30) == Current()
        assert it.next_view_request(0).bases == (V5,)
        assert it.standing == "faulty"

    def test_a_good_newer_view_ends_it(self, wrong):
        it = session(held=V5)
        ask(it, wrong)
        ask(it, wrong)
        assert isinstance(ask(it, whole(ETag(1, 8, V6.digest), NEW)), Offered)
        assert it.refused is None
        assert it.next_view_request(0).bases == (it.held,)


class TestTrouble:
    @pytest.mark.parametrize(
        ("status", "standing"),
        [
            (401, "unauthorized"),
            (403, "forbidden"),
            (404, "removed"),
            (409, "faulty"),
            (302, "faulty"),
            (500, "unreachable"),
            (503, "unreachable"),
        ],
    )
    def test_the_view_is_kept_and_the_next_server_asked(self, status, standing):
        it = session(held=V5)
        step = ask(it, Answer(status, {}, detail="because"))
        assert isinstance(step, Retry)
        assert (it.held, it.standing, it.server) == (V5, standing, B)
        assert "because" in it.problem

    def test_delays_grow_to_five_seconds_with_full_jitter_and_start_again_after_success(self):
        it = session(held=V5)

        def delay(dice: float) -> float:
            it.next_view_request(0)
            return it.unreachable("refused", dice).delay_s

        assert [round(delay(1.0), 1) for _ in range(8)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0]
        assert delay(0.0) == 0.0
        assert delay(0.5) == 2.5
        ask(it, unchanged(V5), took=30)
        assert delay(1.0) == pytest.approx(0.5)

    def test_a_server_that_closes_the_connection_is_left_before_it_refuses(self):
        it = session(held=V5)
        ask(it, unchanged(V5, connection="close"), took=29.0)
        assert it.next_view_request(0).server == B

    def test_the_server_of_choice_is_tried_again_after_minutes_each_agent_at_its_own_time(self):
        def returned(dice, now):
            it = session(held=V5)
            it.next_view_request(0)
            it.unreachable("refused", dice)
            assert ask(it, unchanged(V5), now=10.0, took=29.0, dice=dice) == Current()
            ask(it, unchanged(V5), now=now, took=29.0, dice=dice)
            return it.next_view_request(now).server == A

        assert [returned(0.0, now) for now in (100, 305, 320)] == [False, False, True]
        assert [returned(0.999, now) for now in (320, 600, 620)] == [False, False, True]

    def test_a_server_that_is_the_only_one_is_given_the_time_it_asks_for(self):
        busy = Answer(503, {"retry-after": "8"}, detail="too many")
        assert ask(session(servers=(A,)), busy, dice=0.5).delay_s == 6.0
        assert ask(session(servers=(A, B)), busy, dice=0.5).delay_s == 0.25
        assert ask(session(servers=(A,)), Answer(503, {"retry-after": "9999"}), dice=0.0).delay_s == 15.0

    def test_with_one_server_it_stays_with_it(self):
        it = session(servers=(A,))
        it.unreachable("refused", 0.5)
        assert it.server == A


class TestTelling:
    def test_plain_success_is_said_with_the_next_request_and_reported_beside_it(self):
        it = session(held=V5)
        it.enforced(Enforced(V5, None, "applied", timings_ms={"apply": 0.4}))
        assert it.next_view_request(0).headers()["Verge-Applied"] == str(V5)
        report = it.next_report().report
        assert (report.applied, report.sequence, report.boot_id) == (V5, 1, "boot")
        assert report.timings_ms == {"apply": 0.4}

    def test_it_is_said_until_an_answer_shows_that_it_was_heard(self):
        it = session(held=V5)
        it.enforced(Enforced(V5, None, "applied"))
        it.next_view_request(0)
        it.unreachable("lost", 0.5)
        assert it.next_view_request(0).applied == V5
        it.answered(unchanged(V5), 30, 0.5)
        assert it.next_view_request(0).applied is None

    def test_a_report_that_was_taken_says_it_too(self):
        it = session(held=V5)
        it.enforced(Enforced(V5, None, "applied"))
        assert it.report_answered(it.next_report().report, 204, 0.5) is None
        assert it.next_report() is None
        assert it.next_view_request(0).applied is None

    def test_a_server_that_does_not_know_what_is_said_in_passing_is_still_followed(self):
        it = session(held=V5)
        it.enforced(Enforced(V5, None, "applied"))
        ask(it, Answer(409, {}, detail="an ETag from the future"))
        assert it.next_view_request(0).headers().keys() == {"If-None-Match", "Prefer"}
        assert it.next_report().report.applied == V5

    @pytest.mark.parametrize("state", ["degraded", "rejected", "pinned"])
    def test_anything_else_is_reported_only(self, state):
        it = session(held=V6)
        it.enforced(Enforced(V5, None, "applied"))
        it.enforced(Enforced(V5, V6, state, (Failure("instances/i-1", "ruleset", "no"),)))
        assert it.next_view_request(0).applied is None
        assert it.next_report().report.state == state

    def test_the_newest_report_replaces_the_older_and_numbers_ascend(self):
        it = session(held=V5)
        it.enforced(Enforced(V5, None, "applied"))
        first = it.next_report().report
        it.enforced(Enforced(V6, None, "applied"))
        assert it.report_answered(first, 204, 0.5) is None
        second = it.next_report().report
        assert second.applied == V6
        assert second.sequence > first.sequence
        assert it.next_view_request(0).applied == V6

    @pytest.mark.parametrize("status", [None, 401, 404, 409, 500, 503])
    def test_a_report_not_taken_is_sent_again(self, status):
        it = session(held=V5)
        it.enforced(Enforced(V5, None, "applied"))
        report = it.next_report().report
        assert it.report_answered(report, status, 1.0) == pytest.approx(0.5)
        assert it.report_answered(report, status, 1.0) == pytest.approx(1.0)
        assert it.next_report().report is report

    @pytest.mark.parametrize("status", [400, 422])
    def test_a_report_that_can_never_be_taken_is_dropped(self, status):
        it = session(held=V5)
        it.enforced(Enforced(V5, None, "applied"))
        assert it.report_answered(it.next_report().report, status, 1.0) is None
        assert it.next_report() is None
        assert it.next_view_request(0).applied == V5
