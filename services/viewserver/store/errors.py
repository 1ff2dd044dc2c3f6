"""The store's errors, and how the driver's become them. The tree is drawn in the package's docstring."""

import asyncpg
import sqlalchemy.exc
from asyncpg import exceptions as pg


class StoreError(Exception):
    """Postgres did not do what was asked."""


class Unavailable(StoreError):
    """Nothing is wrong with the request; the same again may succeed."""


class OutcomeUnknown(Unavailable):
    """The connection broke while committing: an idempotency key, or a look at the head, tells what happened."""


class Conflict(StoreError):
    """A uniqueness rule of the tables, or the head's revision, refuses the write."""


class HistoryPruned(StoreError):
    """The change records after the revision asked for are not all there any more."""


class PostgresMissing(StoreError):
    """No binaries of a fitting version on this machine."""


class PostgresFailed(StoreError):
    """The embedded server did not come up, or its data directory is somebody else's."""


_RETRY = (
    pg.PostgresConnectionError,
    pg.InternalClientError,
    pg.CannotConnectNowError,
    pg.AdminShutdownError,
    pg.CrashShutdownError,
    pg.TooManyConnectionsError,
    pg.QueryCanceledError,
    pg.LockNotAvailableError,
    pg.IdleInTransactionSessionTimeoutError,
    pg.SerializationError,
    pg.DeadlockDetectedError,
    pg.ReadOnlySQLTransactionError,  # a primary that was demoted under us
    pg.InsufficientResourcesError,
    asyncpg.InterfaceError,
    OSError,
    TimeoutError,
)


def translated(error: BaseException) -> StoreError | None:
    """The store's error for one of the driver's, of SQLAlchemy's or of the socket's; None for anybody else's."""
    if isinstance(error, StoreError):
        return None
    cause: BaseException = error
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        cause = error.orig.__cause__ or error.orig
    if isinstance(cause, pg.IntegrityConstraintViolationError):
        return Conflict(cause.detail or str(cause))
    if isinstance(cause, (*_RETRY, sqlalchemy.exc.TimeoutError)):
        return Unavailable(f"{type(cause).__name__}: {cause}")
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated:
        return Unavailable(str(cause))
    return None
