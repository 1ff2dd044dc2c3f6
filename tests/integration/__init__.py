"""Tests against what the services really talk to: a real Postgres, real HTTP. They touch temporary directories only."""
