"""HTTP: takes requests apart, calls a use case, puts answers together. Knows every status code; decides nothing.

`hot` answers the agents' view requests outside FastAPI, for its cost per parked request; everything else is a FastAPI
route. `problems` is the one place where errors become statuses.
"""
