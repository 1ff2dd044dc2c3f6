"""What outlives the process: the network's rows and revisions, change records, reports, credentials.

Touches Postgres, and only Postgres; with no DATABASE_URL it also runs one (`embedded`). Decides nothing about the
network: values come from and go to the use cases, which own every transaction.

    StoreError
    ├── Unavailable         no Postgres to talk to, or it gave up on us; try again
    │   └── OutcomeUnknown  … while committing: it may have been kept
    ├── Conflict            the rows say no: somebody was first, or a uniqueness rule holds
    ├── HistoryPruned       the change records asked for are no longer kept; load instead
    └── PostgresMissing, PostgresFailed   the embedded server cannot be run; the message says what to do
"""

from viewserver.store.errors import (
    Conflict,
    HistoryPruned,
    OutcomeUnknown,
    PostgresFailed,
    PostgresMissing,
    StoreError,
    Unavailable,
)

__all__ = [
    "Conflict",
    "HistoryPruned",
    "OutcomeUnknown",
    "PostgresFailed",
    "PostgresMissing",
    "StoreError",
    "Unavailable",
]
