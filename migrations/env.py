"""Alembic's entry: runs inside the transaction, and under the lock, of `viewserver.store.migrate`."""

from alembic import context

from viewserver.store.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("run migrations with: verge-viewserver migrate")

context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
context.run_migrations()
