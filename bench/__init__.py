"""Reproducible benchmarks: each prints a table, and a ratio against a floor, a peer or the previous commit in the same run."""
