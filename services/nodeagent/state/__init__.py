"""What a node can hold: the ruleset as typed values, links, bridge flags, and how we know what is ours.

Pure: values only. `desired/` makes them from a view, `nft/` turns them into the kernel's language and back, `plan/`
compares them.
"""
