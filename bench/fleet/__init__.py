"""What a fleet costs the view server: up to 10,000 simulated agents on real TCP, a real server, a real Postgres.

The agents have a process of their own and do nothing but the protocol, so that they are not what is measured; the floor
is the same agents parked at a server that only writes. Nothing here needs privileges or touches the kernel's network.
"""
