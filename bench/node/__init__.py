"""The node's figures: programming, packets, floods, a hundred thousand flows, idleness. `make bench-node`.

Why: what the data plane costs is promised as numbers, beside a bridge without rules and beside a rule set of EDGE mode's
shape with the same content. May touch the kernel of the lab that it runs in, and nothing else.
"""
