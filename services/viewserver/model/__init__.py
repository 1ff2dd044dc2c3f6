"""The network: what a cloud says its zones, nodes, instances, security groups and elastic IPs are.

Pure: values in, values out; no await, clock, socket or log. A `Network` is immutable and shares structure with its
predecessors, so that a refused update is simply forgotten and an old revision is simply kept.
"""
