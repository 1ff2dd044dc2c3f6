"""Bring the tables to this version of the code. Safe to run by every replica at every start.

All of it is one transaction under an advisory lock: several replicas that start together take turns, and the second
finds nothing to do. A migration must work with the code that is still running elsewhere and gives up quickly on a lock
that a running replica holds, rather than queue everybody behind itself.
"""

import logging
from pathlib import Path

from sqlalchemy import Connection, text

from viewserver.store.engine import Database
from viewserver.store.errors import StoreError
from viewserver.store.records.partitions import prepare

log = logging.getLogger(__name__)

_TURN = 0x7665726765  # "verge", the advisory lock's key
_TURN_TIMEOUT = "120s"
_LOCK_TIMEOUT = "4s"


async def migrate(url: str) -> None:
    """Raises Unavailable when Postgres, the turn or a table's lock cannot be had; then nothing was changed."""
    async with Database(url, size=1) as database:
        await _migrate(database)
        async with database.begin() as conn:
            await conn.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
            await prepare(conn, (await conn.execute(text("SELECT clock_timestamp()"))).scalar_one())


async def _migrate(database: Database) -> None:
    async with database.begin() as conn:
        await conn.execute(text(f"SET LOCAL lock_timeout = '{_TURN_TIMEOUT}'"))
        await conn.execute(text(f"SET LOCAL statement_timeout = '{_TURN_TIMEOUT}'"))
        await conn.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": _TURN})
        await conn.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
        await conn.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    # Not at the top: it costs a tenth of a second, and only a start needs it.
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    present = set(MigrationContext.configure(connection).get_current_heads())
    if present - known:
        # A newer replica migrated; this older code goes on, as the rule for migrations allows.
        log.warning("the tables are at %s, which is newer than this version of Verge", ", ".join(sorted(present)))
        return
    command.upgrade(config, "head")


def migrations() -> Path:
    """Beside the package where it is installed, at the project's root in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for place in (package / "migrations", package.parents[1] / "migrations"):
        if (place / "env.py").is_file():
            return place
    raise StoreError(f"the migrations are neither in {package} nor at the root of its checkout: install Verge again")
