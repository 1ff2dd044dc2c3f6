"""A Postgres of our own, for a view server that was given no DATABASE_URL.

Touches the view server's data directory, a short runtime directory for the socket, and processes: postgres is a
direct child of ours, so nobody else's process is ever mistaken for it.

    DIR/postgres/         the cluster (PGDATA); laid out as postgres.new/ and then renamed, so it is whole or absent
    DIR/postgres.log
    DIR/.viewserver.lock  held by the view server that owns DIR
    DIR/.postgres.lock    inherited by postgres and all its backends: as long as one of them lives, it is held
    /run/verge-…/         pg_hba.conf, pg_ident.conf, and the socket in a directory that only postgres's user enters

There is no password and no TCP port. Postgres asks the kernel who is at the other end of the socket, and lets in the
user that the view server runs as.
"""

from viewserver.store.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
