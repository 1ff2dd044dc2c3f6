"""The store's promises, kept by a real Postgres: including when it, or its owner, is killed."""
