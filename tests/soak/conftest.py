"""A Postgres for those soaks that need one."""

from tests.integration.conftest import database_url, postgres

__all__ = ["database_url", "postgres"]
