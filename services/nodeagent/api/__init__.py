"""The agent's local REST API: shows what the agent knows, and takes a view by hand. I/O: HTTP on a unix socket or loopback.

It decides nothing: it reads `passes` and `session`, and calls `passes`. Imported after the first pass, so that FastAPI's
start costs no packet.
"""
