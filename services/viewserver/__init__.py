"""The view server: the authoritative network in Postgres, and every node's own view of it.

Data flows one way: `api` takes a request apart, `update` validates and commits it, `follow` keeps this replica's
network at the head of the change records, `compile` says which views changed, `waiting` wakes their nodes. `model` and
`compile` are pure.
"""
