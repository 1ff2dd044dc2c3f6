"""A live migration with everything real: posted, prepared, moved, cut over; a session that is talked in all the while goes on."""

from __future__ import annotations

from lab.session import Session, Side, deliveries
from tests.networks.flat import FLAT
from tests.networks.live import live
from tests.networks.real import table_differences
from tests.networks.words import put


def test_the_whole_loop_moves_an_instance_and_its_sessions() -> None:
    web, app = FLAT.by_name("web-1"), FLAT.by_name("app-1")
    assert web is not None
    assert app is not None
    with live(FLAT) as running:
        running.post(FLAT.operations)
        guest, peer = running.lab[web.interface], running.lab[app.interface]
        with (
            Session.tcp(running.lab["outside"], guest, str(web.address), 80) as served,
            Session.tcp(guest, peer, str(app.address), 8000) as asked,
        ):
            running.post([put("instance", web.id, {**web.value, "migrating_to": "nc-2"})])
            gate = running.cloud.get(f"/v1/instances/{web.id}", wait="prepared")
            assert (gate["prepared"], gate["ready"]) == (True, True)
            running.lab.move(web.interface, "nc-2")
            early = {(session, side): session.send(side) for session in (served, asked) for side in Side}
            answer = running.post([put("instance", web.id, {**web.value, "node": "nc-2"})])
            assert answer["affected"] == ["nc-1"], "the grant, which wakes the target, is a change of its own"
            both = [(session, side) for session in (served, asked) for side in Side]
            assert all(deliveries(both, awaited=both, patience=10).values())
            assert all(number in session.delivered(side) for (session, side), number in early.items())
            assert (served.error, asked.error) == (None, None)
            assert running.cloud.get(f"/v1/instances/{web.id}", wait="ready")["ready"]
        assert table_differences(running.lab, FLAT) == []
        running.rulesets()
