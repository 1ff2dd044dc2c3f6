"""The view server as its clients see it: real Postgres, real HTTP."""
