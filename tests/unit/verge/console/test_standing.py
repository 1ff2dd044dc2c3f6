"""What is said of convergence: the verdict, who is behind, and nothing that is not so."""

import pytest

from tests.unit.viewserver.recomputed import summary
from verge.console.outcome import Exit
from verge.console.standing import barrier_note, barrier_text, in_force_at
from verge.console.status import text as status_text
from viewserver.model.convergence import Standing


def standing(node, state="converged", version=5, applied=5, zone="zone-a", lag=0.0, reason=None, matters=True):
    behind = int(applied < version)
    return Standing(node, zone, state, version, applied, behind, lag, reason, matters)


def status(*standings, revision=5):
    return status_text(summary(revision, 1, list(standings)), colour=False)


def barrier(*, converged, affected=3, applied=3, laggards=(), **more):
    wire = [one.to_wire() for one in laggards]
    return {"converged": converged, "affected": affected, "applied": applied, "laggards": wire, "fences": [], **more}


def said(found, ending=Exit.OK):
    return barrier_text(found, "revision 5", 0.12, ending, colour=False)


def test_converged():
    assert status(standing("nc-1"), standing("nc-2")).splitlines()[:2] == [
        "revision 5  converged",
        "nodes     2 · 2 converged",
    ]


def test_laggards_are_named_with_their_reasons():
    shown = status(
        standing("nc-1"),
        standing("nc-2", "lagging", applied=3, lag=12.5, reason="applied 3, its view is at 5"),
        standing("nc-3", "rejected", applied=4, lag=3.0, reason="groups/sg-1: no space", zone="zone-b"),
    )
    assert "not converged: 2 nodes of 3" in shown
    assert "nodes     3 · 1 converged · 1 lagging · 1 rejected" in shown
    rows = [line.split() for line in shown.splitlines()]
    assert ["nc-2", "zone-a", "lagging", "3", "5", "12.5", "s", "applied", "3,", "its", "view", "is", "at", "5"] in rows
    assert ["nc-3", "zone-b", "rejected", "4", "5", "3.0", "s", "groups/sg-1:", "no", "space"] in rows
    assert ["zone-b", "1", "0", "0", "0", "1", "0", "0", "1", "3.0", "s"] in rows


def test_one_zone_needs_no_table_of_zones():
    assert "ZONE    NODES" not in status(standing("nc-1"), standing("nc-2", "lagging", applied=1))


def test_a_silent_node_that_had_applied_is_not_hidden():
    shown = status(standing("nc-1"), standing("nc-2", "silent", reason="not heard of since …"))
    assert "converged, but 1 node of 2 not heard of" in shown
    assert "nc-2" in shown


def test_nodes_that_hold_up_nothing_are_listed_apart():
    shown = status(standing("nc-1"), standing("nc-9", "never-seen", applied=0, matters=False))
    assert shown.splitlines()[0] == "revision 5  converged"
    assert "never seen, and hosting nothing: nc-9" in shown


def test_many_laggards_are_counted_where_they_are_not_named():
    shown = status(*(standing(f"nc-{number:03d}", "lagging", applied=1) for number in range(150)))
    assert "and 130 more: verge nodes" in shown


def test_an_empty_cloud_is_converged():
    assert status(revision=0) == "revision 0  converged\nnodes     0"


@pytest.mark.parametrize(
    ("version", "applied", "state", "holds"),
    [
        (3, 3, "silent", True),
        (3, 2, "lagging", False),
        (9, 5, "lagging", True),  # all of revision 5 is in force; it is behind on what came later
        (9, 4, "lagging", False),
        (3, 3, "degraded", False),
        (3, 0, "never-seen", False),
    ],
)
def test_what_is_in_force_at_a_revision(version, applied, state, holds):
    wire = standing("nc-1", state, version=version, applied=applied).to_wire()
    assert in_force_at(wire, 5, allow_degraded=False) is holds
    assert in_force_at(wire, 5, allow_degraded=True) is (holds or state == "degraded")


def test_the_end_of_a_wait():
    assert said(barrier(converged=True)) == "revision 5 is in force on all 3 nodes it affects (120 ms)"
    assert (
        said(barrier(converged=True, affected=1, applied=1))
        == "revision 5 is in force on the one node it affects (120 ms)"
    )
    assert (
        said(barrier(converged=True, affected=0, applied=0))
        == "revision 5 is in force as it is: it affects no node (120 ms)"
    )
    late = standing("nc-2", "lagging", applied=3, reason="applied 3, its view is at 5")
    assert "in force on 9 of 10 nodes, as many as asked for" in said(
        barrier(converged=True, affected=10, applied=9, laggards=[late])
    )
    shown = said(barrier(converged=False, affected=3, applied=2, laggards=[late]), Exit.DEADLINE)
    assert shown.startswith("revision 5 is not in force everywhere after 120 ms: 2 of 3 nodes\n")
    assert "nc-2" in shown
    assert "its view is at 5" in shown


def test_what_a_wait_says_beside_the_count():
    found = barrier(
        converged=False,
        affected=2,
        applied=2,
        fences=[{"address": "203.0.113.1", "waits_for": "nc-1"}],
        exceptions=["nc-4"],
        never_seen=["nc-9"],
    )
    shown = said(found, Exit.DEADLINE)
    assert "203.0.113.1 is held back until nc-1 gives it up" in shown
    assert "with an object of it closed on nc-4" in shown
    assert "not counted, since never seen and hosting nothing: nc-9" in shown


def test_progress_is_one_line():
    late = [standing(f"nc-{number}", "lagging", applied=1) for number in range(5)]
    note = barrier_note(
        barrier(
            converged=False,
            affected=9,
            applied=4,
            laggards=late,
            fences=[{"address": "203.0.113.1", "waits_for": "nc-1"}],
        )
    )
    assert note == (
        "4 of 9 nodes have applied it; waiting for nc-0 (lagging), nc-1 (lagging), nc-2 (lagging) and 2 more; "
        "203.0.113.1 held back until nc-1 gives it up"
    )
