"""The agent's side of the protocol with the view server, as a state machine. Pure: time and dice arrive as arguments.

    next_view_request ──▶ GET view ──▶ answered ──▶ Offered   a newer view, checked: realise it, then ask again
            ▲                              │──▶ Current   nothing newer: ask again (after a pause, if told so)
            └──────────────────────────────┴──▶ Retry     something is wrong: ask again after the delay

    enforced ──▶ next_report ──▶ PUT report ──▶ report_answered ──▶ None, or the delay until the next attempt

One view request is open at a time, and none while a view is being realised: the request that follows carries
`Verge-Applied`, so the server learns of plain success on the route that it must serve anyway, with the least delay, and
answers with whatever is newest by then. The report with timings and readiness goes out beside it on its own connection.
"""

from nodeagent.session.content import read_delta, read_view
from nodeagent.session.messages import (
    WAIT_S,
    Answer,
    Current,
    Enforced,
    Offered,
    ReportRequest,
    Retry,
    Standing,
    Step,
    Unreachable,
    ViewRequest,
)
from nodeagent.session.session import Session

__all__ = [
    "WAIT_S",
    "Answer",
    "Current",
    "Enforced",
    "Offered",
    "ReportRequest",
    "Retry",
    "Session",
    "Standing",
    "Step",
    "Unreachable",
    "ViewRequest",
    "read_delta",
    "read_view",
]
