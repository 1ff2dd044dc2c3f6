"""Laws, on random input: one file for each."""
